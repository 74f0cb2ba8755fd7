import type { TabToHost } from '../../worker/host/port-protocol.ts';
import type { HostPort } from '../environment.ts';

/**
 * Two ends of a port within one page. What the tab posts has arrived when `postMessage` returns, so that nothing is on
 * its way when the page goes; what the host posts arrives behind the present task's microtasks, so that a tab is never
 * called back from its own call. The host's last words arrive, also when it closes right behind them.
 *
 * Nothing is cloned: tabs post copies, and what a host posts was parsed for this tab alone.
 *
 * @param arrived Called with what the tab has posted, when the host has it.
 */
export function localPorts(arrived: (message: TabToHost) => void): { tab: HostPort; host: HostPort } {
  let isOpen = true;
  const tab: HostPort = {
    onmessage: null,
    postMessage(data) {
      if (!isOpen) return;
      host.onmessage?.({ data });
      arrived(data as TabToHost);
    },
    close() {
      isOpen = false;
      tab.onmessage = null;
    },
  };
  const host: HostPort = {
    onmessage: null,
    postMessage(data) {
      if (!isOpen) return;
      queueMicrotask(() => {
        tab.onmessage?.({ data });
      });
    },
    close() {
      isOpen = false;
    },
  };
  return { tab, host };
}

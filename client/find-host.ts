import { PORT_PROTOCOL } from '../worker/host/port-protocol.ts';
import type { HostAddress, HostToTab } from '../worker/host/port-protocol.ts';
import type { FoundHost } from './environment.ts';
import { loadLeaderTab } from './load-leader-tab.ts';

/** How long a worker may take to speak, in seconds. */
const HOST_LIMIT_S = 8;

/** Where servers of ours have the worker's script. */
const WORKER_PATH = '/.well-known/webgram/';

/** File name of the worker's script, which names the build. */
export const BUILD = __WEBGRAM_WORKER_FILE__;

/**
 * Finds the host of this browser: a SharedWorker, whose script comes from the server when that has the page's origin, and
 * from `options.worker` otherwise or when the first cannot be had; and where none of them runs and speaks within 8 s, one
 * of the tabs, for which more is loaded.
 *
 * @param address WebSocket address of the server.
 * @param worker Where the page has the script.
 * @param moved The host that serves this browser now, as the one before has said.
 * @throws with the reason, when there is neither.
 */
export async function findHost(
  address: string,
  worker?: string | URL,
  moved?: HostAddress,
): Promise<FoundHost> {
  if (moved?.script) return start(moved.script, moved.build);
  let reason = moved?.why;
  if (reason === undefined) {
    const served = new URL(WORKER_PATH + BUILD, address.replace(/^ws/, 'http'));
    for (const script of [served, worker]) {
      if (script === undefined) continue;
      try {
        return await start(script, BUILD);
      } catch (error) {
        reason = `${String(script)} ${(error as Error).message}`;
      }
    }
  }
  const { findLeader } = await loadLeaderTab();
  return findLeader(reason!, BUILD);
}

function start(script: string | URL, name: string): Promise<FoundHost> {
  return new Promise((resolve, reject) => {
    // The same options everywhere and always: the browser refuses a worker of the same name with others.
    const options = { name, extendedLifetime: true };
    const worker = new SharedWorker(script, options);
    const { port } = worker;
    let seconds = 0;
    // Counted, because a page that was busy itself has not yet seen what has come meanwhile.
    const timer = setInterval(() => {
      if (++seconds === HOST_LIMIT_S) fail('is silent');
    }, 1000);
    const fail = (reason: string): void => {
      clearInterval(timer);
      port.close();
      reject(new Error(reason));
    };
    worker.onerror = () => {
      fail('cannot be run');
    };
    port.onmessage = ({ data }: MessageEvent<HostToTab>) => {
      if (data.kind !== 'welcome') return;
      if (data.protocol < PORT_PROTOCOL) {
        // The worker of this page's own build takes the storage over.
        fail('is older');
        return;
      }
      clearInterval(timer);
      resolve({ port, welcome: data, why: 'SharedWorker' });
    };
  });
}

import { EndableHub } from './endable-hub.ts';
import * as later from './later.ts';
import type { HubPlatform } from './hub.ts';

/** A host in the same process as its tabs: for Node, and for tests. */
export interface InProcessHost {
  readonly hub: EndableHub;
  /** Returns a tab's end of a new port. It keeps a Node process alive until it is closed. */
  connect(): MessagePort;
  close(): void;
}

/** Starts a host in this process. */
export function createInProcessHost(platform: Omit<HubPlatform, 'kind'>): InProcessHost {
  const hub = new EndableHub({ loadLater: () => Promise.resolve(later), ...platform, kind: 'in-process' });
  return {
    hub,
    connect() {
      const { port1, port2 } = new MessageChannel();
      hub.connect(port1);
      return port2;
    },
    close() {
      hub.close();
    },
  };
}

import { hold, watchLock } from '../worker/host/web-locks.ts';
import type { PageListener, TabEnvironment } from './environment.ts';
import { findHost } from './find-host.ts';
import { loadLeaderTab } from './load-leader-tab.ts';

/** The environment of a page. */
export function browserEnvironment(address: string, worker?: string | URL): TabEnvironment {
  // Of a version of what is noted.
  const prefix = `webgram-left-1 ${address} `;
  return {
    findHost: (moved) => findHost(address, worker, moved),
    holdLock,
    watchLock,
    listen,
    leave: (left) => {
      try {
        localStorage[prefix + left[0]] = JSON.stringify(left);
      } catch {
        // There is none, or it is full: what is lost is not told.
      }
    },
    takeNotes: async (ask) => {
      for (const key in localStorage) {
        if (key.startsWith(prefix)) return (await loadLeaderTab()).takeLeft(prefix, ask);
      }
      return undefined;
    },
  };
}

async function holdLock(name: string): Promise<() => void> {
  if (!isSecureContext) throw new Error('no https');
  // A host that hangs may have got it, when it was let go.
  return hold(name, { steal: true });
}

function listen({ wake, hide, show }: PageListener): () => void {
  const controller = new AbortController();
  const options = { signal: controller.signal };
  const shown = (): void => {
    if (!document.hidden) wake();
  };
  addEventListener('online', wake, options);
  addEventListener('focus', wake, options);
  document.addEventListener('visibilitychange', shown, options);
  addEventListener('pagehide', hide, options);
  addEventListener(
    'pageshow',
    ({ persisted }) => {
      if (persisted) show();
    },
    options,
  );
  return () => {
    controller.abort();
  };
}

import { hold, watchLock } from '../worker/host/web-locks.ts';
import type { PageListener, TabEnvironment } from './environment.ts';
import { hostFinder } from './find-host.ts';
import { loadLeaderTab } from './own-files.ts';

/** The environment of a page. */
export function browserEnvironment(address: string, worker?: string | URL): TabEnvironment {
  // Of a version of what is noted.
  const prefix = `webgram-left-1 ${address} `;
  return {
    findHost: hostFinder(address, worker),
    holdLock,
    watchLock,
    listen,
    pin: pinOf(address),
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

/** A tab keeps its session storage when it is reloaded. */
function pinOf(address: string): NonNullable<TabEnvironment['pin']> {
  const name = `webgram ${address}`;
  let storage: Storage | undefined;
  try {
    storage = sessionStorage;
  } catch {
    // Frames in a sandbox have none.
  }
  return {
    get: () => (storage?.[name] as string | undefined) || undefined,
    set: (identity) => {
      if (storage) storage[name] = identity ?? '';
    },
  };
}

async function holdLock(name: string): Promise<() => void> {
  if (!isSecureContext) throw new Error('no https');
  // A host that hangs may have got it, when it was let go.
  return hold(name, { steal: true });
}

function listen({ wake, hide, show, seen }: PageListener): () => void {
  const controller = new AbortController();
  const options = { signal: controller.signal };
  addEventListener('online', wake, options);
  addEventListener('focus', wake, options);
  document.addEventListener(
    'visibilitychange',
    () => {
      seen();
      if (!document.hidden) wake();
    },
    options,
  );
  addEventListener('pagehide', hide, options);
  // Once more: Firefox ends a script that runs while the tab is closed, wherever it stands, and goes on with the next.
  addEventListener('pagehide', () => hide(), options);
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

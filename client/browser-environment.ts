import { hold, watchLock } from '../worker/host/web-locks.ts';
import type { PageListener, TabEnvironment } from './environment.ts';
import { hostFinder } from './find-host.ts';

/** The environment of a page. */
export function browserEnvironment(address: string, worker?: string | URL): TabEnvironment {
  return {
    findHost: hostFinder(address, worker),
    holdLock,
    watchLock,
    listen,
    pin: pinOf(address),
  };
}

/** A tab keeps its session storage when it is reloaded. Frames in a sandbox have none. */
function pinOf(address: string): NonNullable<TabEnvironment['pin']> {
  const name = `webgram ${address}`;
  return {
    get() {
      try {
        return sessionStorage.getItem(name);
      } catch {
        return null;
      }
    },
    set(identity) {
      try {
        sessionStorage.setItem(name, identity ?? '');
      } catch {
        // For this page alone, then.
      }
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

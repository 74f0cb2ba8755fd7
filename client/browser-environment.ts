import type { PageListener, TabEnvironment } from './environment.ts';
import { findHost } from './find-host.ts';

/** The environment of a page. */
export function browserEnvironment(address: string, worker?: string | URL): TabEnvironment {
  return { findHost: (moved) => findHost(address, worker, moved), holdLock, watchLock, listen };
}

function holdLock(name: string): Promise<() => void> {
  return new Promise((resolve, reject) => {
    if (!isSecureContext) throw new Error('needs https or localhost');
    // A host that hangs may have got it, when it was let go. Held until the promise is settled, which the caller does.
    navigator.locks.request(name, { steal: true }, () => new Promise<void>(resolve)).catch(reject);
  });
}

function watchLock(name: string, gone: () => void): () => void {
  const controller = new AbortController();
  const { signal } = controller;
  navigator.locks
    .request(name, { mode: 'shared', signal }, () => {
      if (!signal.aborted) gone();
    })
    .catch((error: unknown) => {
      // Aborted: nobody watches any more.
      if (!signal.aborted) throw error;
    });
  return () => {
    controller.abort();
  };
}

function listen({ wake, hide, show }: PageListener): () => void {
  const controller = new AbortController();
  const options = { signal: controller.signal };
  const shown = (): void => {
    if (document.visibilityState === 'visible') wake();
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

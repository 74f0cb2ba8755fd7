/**
 * Holds a Web Lock.
 *
 * @param lost Called when it was taken away, or cannot be had.
 * @returns Lets it go.
 * @throws when it cannot be had, or when `options.signal` has ended the wait.
 * @see https://developer.mozilla.org/docs/Web/API/LockManager/request
 */
export function hold(name: string, options: LockOptions, lost?: () => void): Promise<() => void> {
  return new Promise((held, failed) => {
    const holding = navigator.locks.request(name, options, () => new Promise<void>(held));
    holding.catch(failed);
    if (lost) holding.catch(lost);
  });
}

/** Calls `gone` once when nobody holds the lock. @returns Stops watching. */
export function watchLock(name: string, gone: () => void): () => void {
  const controller = new AbortController();
  const { signal } = controller;
  navigator.locks
    .request(name, { mode: 'shared', signal }, () => {
      if (!signal.aborted) gone();
    })
    .catch((error: unknown) => {
      // Aborted: nobody watches any more. Anything else must not go unnoticed: who holds it would live for ever.
      if (!signal.aborted) throw error;
    });
  return () => {
    controller.abort();
  };
}

/** A value now (Node's synchronous crypto) or later (WebCrypto). */
export type MaybePromise<T> = T | PromiseLike<T>;

/** Calls `next` with the value: at once when it is there, otherwise when it has come. */
export function whenReady<T, R>(value: MaybePromise<T>, next: (value: T) => R): R | PromiseLike<R> {
  return isPromiseLike(value) ? value.then(next) : next(value);
}

export function isPromiseLike<T>(value: MaybePromise<T>): value is PromiseLike<T> {
  return typeof value === 'object' && value !== null && 'then' in value && typeof value.then === 'function';
}

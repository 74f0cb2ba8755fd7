/** Longest wait of the first retry, in milliseconds. */
export const BACKOFF_MIN_MS = 500;
/** Longest wait of any retry, in milliseconds. */
export const BACKOFF_MAX_MS = 20_000;

/**
 * Returns how long to wait before retry number `attempt`: exponential back-off with full jitter, so that
 * clients that were cut off together do not come back together.
 *
 * @param attempt 0 for the first retry.
 * @param random A number in [0, 1), fresh for each call.
 * @returns Milliseconds, between 0 and min(20 s, 0.5 s · 2^attempt).
 * @see https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/
 */
export function delayMs(attempt: number, random: number): number {
  const ceiling = Math.min(BACKOFF_MAX_MS, BACKOFF_MIN_MS * 2 ** attempt);
  return ceiling * random;
}

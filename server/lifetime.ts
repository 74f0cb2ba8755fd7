/** How long sessions last. `Infinity` is for ever. */
export interface Lifetime {
  /** A session that nobody uses ends after this time, in ms. Default 400 days, as long as browsers keep cookies. */
  idleLifetimeMs: number;
  /** A session ends this long after it was created, used or not, in ms. Default: never. */
  absoluteLifetimeMs: number;
}

const DAY_MS = 86_400_000;

export const DEFAULT_LIFETIME: Readonly<Lifetime> = Object.freeze({
  idleLifetimeMs: 400 * DAY_MS,
  absoluteLifetimeMs: Infinity,
});

/**
 * How long a tombstone stays, in ms: far longer than anything in flight, and as long as a client by default keeps an
 * identity without use, so that it learns what became of it.
 */
export const TOMBSTONE_MS = 400 * DAY_MS;

/** When a session ends that was last used at `usedMs`, in ms since 1970; `undefined` for never. */
export function endOfLife(
  { idleLifetimeMs, absoluteLifetimeMs }: Lifetime,
  createdMs: number,
  usedMs: number,
): number | undefined {
  const endMs = Math.min(usedMs + idleLifetimeMs, createdMs + absoluteLifetimeMs);
  return endMs <= Number.MAX_SAFE_INTEGER ? Math.floor(endMs) : undefined;
}

/** An end is written again when it has moved by this much, in ms; what a crash may take from a session. */
export function extensionStepMs({ idleLifetimeMs }: Lifetime): number {
  return Math.min(60_000, Math.max(1_000, idleLifetimeMs / 100));
}

/** @throws {RangeError} */
export function parseLifetime(options: Partial<Lifetime>): Lifetime {
  const { idleLifetimeMs, absoluteLifetimeMs } = { ...DEFAULT_LIFETIME, ...options };
  for (const [name, value] of Object.entries({ idleLifetimeMs, absoluteLifetimeMs })) {
    if (typeof value !== 'number' || !(value > 0)) {
      throw new RangeError(`'${name}' must be a number above 0, or Infinity, got ${String(value)}`);
    }
  }
  return { idleLifetimeMs, absoluteLifetimeMs };
}

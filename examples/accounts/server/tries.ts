/** Keys that are remembered. */
const MAX_KEYS = 10_000;

/** So many tries at once, and one more whenever some time has passed; for each key. */
export class Tries {
  readonly #burst: number;
  readonly #refillMs: number;
  readonly #clock: () => number;
  /** When the key will have all its tries again, ms since 1970; least recently tried first. */
  readonly #fullAtMs = new Map<string, number>();

  constructor({ burst, refillMs, clock }: { burst: number; refillMs: number; clock: () => number }) {
    this.#burst = burst;
    this.#refillMs = refillMs;
    this.#clock = clock;
  }

  /** @returns How long to wait for the next try, in ms; 0 when this one was taken. */
  take(key: string): number {
    const nowMs = this.#clock();
    const fullAtMs = Math.max(nowMs, this.#fullAtMs.get(key) ?? 0) + this.#refillMs;
    const waitMs = fullAtMs - nowMs - this.#burst * this.#refillMs;
    if (waitMs > 0) return waitMs;
    this.#remember(key, fullAtMs);
    return 0;
  }

  /** Gives a try back that was no guess. */
  giveBack(key: string): void {
    const fullAtMs = this.#fullAtMs.get(key);
    if (fullAtMs !== undefined) this.#remember(key, fullAtMs - this.#refillMs);
  }

  #remember(key: string, fullAtMs: number): void {
    this.#fullAtMs.delete(key);
    this.#fullAtMs.set(key, fullAtMs);
    if (this.#fullAtMs.size <= MAX_KEYS) return;
    const [oldest = ''] = this.#fullAtMs.keys();
    this.#fullAtMs.delete(oldest);
  }
}

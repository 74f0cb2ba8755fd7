import type { Clock } from '../platform.ts';

/** A clock that stands still until it is set forward. */
export class ManualClock implements Clock {
  #nowMs = 1_700_000_000_000;
  #timers = new Set<{ atMs: number; callback: () => void }>();

  nowMs(): number {
    return this.#nowMs;
  }

  after(delayMs: number, callback: () => void): () => void {
    const timer = { atMs: this.#nowMs + delayMs, callback };
    this.#timers.add(timer);
    return () => {
      this.#timers.delete(timer);
    };
  }

  get pending(): number {
    return this.#timers.size;
  }

  /** Moves on, and runs what has become due, in order, each at its time. */
  advance(ms: number): void {
    const endMs = this.#nowMs + ms;
    for (;;) {
      const due = [...this.#timers].filter(({ atMs }) => atMs <= endMs).sort((a, b) => a.atMs - b.atMs)[0];
      if (due === undefined) break;
      this.#nowMs = Math.max(this.#nowMs, due.atMs);
      this.#timers.delete(due);
      due.callback();
    }
    this.#nowMs = endMs;
  }

  /** The machine slept: time has passed, and only then do timers fire. */
  sleep(ms: number): void {
    this.#nowMs += ms;
    this.advance(0);
  }
}

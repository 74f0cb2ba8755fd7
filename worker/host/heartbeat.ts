import type { Clock } from './platform.ts';

/** How long a socket may take to answer when the page comes back, in ms. */
export const PROBE_LIMIT_MS = 3_000;
/** Probes that come closer together than this, in ms, are one: many tabs may wake at once. */
const PROBE_PAUSE_MS = 1_000;
/** A timer that fires so much too late, in ms, means that the machine slept. */
const SLEPT_MS = 10_000;

export interface HeartbeatOptions {
  clock: Clock;
  /** Silence after which a ping is sent, in ms. */
  pingMs: number;
  /** How long to wait for a sign of life after it, in ms. */
  pongTimeoutMs: number;
  ping: (n: number) => void;
  /** Nothing has come. */
  silent: () => void;
}

/**
 * Finds out when the other end of a socket is gone: after sleep or a change of network a socket stays open, and no
 * event comes.
 *
 * Pings when either direction was silent, because servers give up silent links as well.
 */
export class Heartbeat {
  readonly #options: HeartbeatOptions;
  #heardMs: number;
  #sentMs: number;
  #pingedMs = 0;
  #pings = 0;
  /** A ping went out, and nothing has come since. */
  #isAwaited = false;
  #cancelPing: () => void = () => undefined;
  #cancelSilence: () => void = () => undefined;

  constructor(options: HeartbeatOptions) {
    this.#options = options;
    this.#heardMs = this.#sentMs = options.clock.nowMs();
    this.#watch();
  }

  heard(): void {
    this.#heardMs = this.#options.clock.nowMs();
    this.#isAwaited = false;
  }

  sent(): void {
    this.#sentMs = this.#options.clock.nowMs();
  }

  /** Finds out within 3 s whether the other end still answers. */
  probe(): void {
    // The wall clock may have been set.
    const sinceMs = Math.abs(this.#options.clock.nowMs() - this.#pingedMs);
    if (sinceMs >= PROBE_PAUSE_MS) this.#ping(PROBE_LIMIT_MS);
  }

  stop(): void {
    this.#cancelPing();
    this.#cancelSilence();
  }

  #watch(): void {
    const { clock, pingMs, pongTimeoutMs } = this.#options;
    const silentMs = clock.nowMs() - Math.max(this.#pingedMs, Math.min(this.#heardMs, this.#sentMs));
    if (silentMs >= pingMs) this.#ping(pongTimeoutMs);
    // Between 0 and the interval, whatever the wall clock does.
    const waitMs = silentMs >= pingMs ? pingMs : pingMs - Math.max(0, silentMs);
    const dueMs = clock.nowMs() + waitMs;
    this.#cancelPing = clock.after(waitMs, () => {
      if (clock.nowMs() - dueMs > SLEPT_MS) this.#ping(PROBE_LIMIT_MS);
      this.#watch();
    });
  }

  #ping(limitMs: number): void {
    const { clock, ping, silent } = this.#options;
    this.#pingedMs = clock.nowMs();
    this.#isAwaited = true;
    ping(this.#pings++);
    this.#cancelSilence();
    this.#cancelSilence = clock.after(limitMs, () => {
      if (this.#isAwaited) silent();
    });
  }
}

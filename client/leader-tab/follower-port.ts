import type { HostToTab, TabToHost } from '../../worker/host/port-protocol.ts';
import type { HostPort } from '../environment.ts';

/** How long a leader may be silent before it is asked for a sign of life, in ms. */
const SILENCE_MS = 4_000;
/** How long it may take to give one, in ms. */
const PONG_LIMIT_MS = 3_000;
/** A timer that fires so much too late, in ms, says that this tab was asleep itself. */
const SLEPT_MS = 1_000;

/**
 * A tab's port to the tab that leads: a channel that only the two of them know. It finds out when the other end no
 * longer answers, also when its timers are throttled: whatever is posted after a silence asks for a sign of life.
 */
export class FollowerPort implements HostPort {
  // eslint-disable-next-line @typescript-eslint/no-explicit-any -- as `HostPort` has it
  onmessage: ((event: any) => void) | null = null;
  readonly #channel: BroadcastChannel;
  readonly #silent: () => void;
  #heardMs = performance.now();
  #timer: ReturnType<typeof setTimeout> | undefined;
  #isAsked = false;

  /**
   * @param name Of the channel.
   * @param silent The leader gives no sign of life. Called again as long as it gives none.
   */
  constructor(name: string, silent: () => void) {
    this.#silent = silent;
    this.#channel = new BroadcastChannel(name);
    this.#channel.onmessage = (event: MessageEvent<HostToTab>) => {
      this.#heard();
      this.onmessage?.(event);
    };
    this.#watch();
  }

  postMessage(message: TabToHost): void {
    this.#channel.postMessage(message);
    if (!this.#isAsked && performance.now() - this.#heardMs >= SILENCE_MS) this.#ask();
  }

  close(): void {
    clearTimeout(this.#timer);
    this.#channel.close();
  }

  #heard(): void {
    this.#heardMs = performance.now();
    if (!this.#isAsked) return;
    this.#isAsked = false;
    this.#watch();
  }

  #watch(): void {
    clearTimeout(this.#timer);
    const waitMs = Math.max(0, SILENCE_MS - (performance.now() - this.#heardMs));
    this.#timer = setTimeout(() => {
      if (performance.now() - this.#heardMs >= SILENCE_MS) this.#ask();
      else this.#watch();
    }, waitMs);
  }

  #ask(): void {
    this.#isAsked = true;
    this.#channel.postMessage({ kind: 'ping' } satisfies TabToHost);
    const dueMs = performance.now() + PONG_LIMIT_MS;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      // What has come meanwhile is still to be handled.
      if (performance.now() - dueMs <= SLEPT_MS) this.#silent();
      this.#ask();
    }, PONG_LIMIT_MS);
  }
}

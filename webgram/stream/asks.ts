import { AskError, WebgramError, type WireError } from '../errors.ts';

export interface AskOptions {
  /** How long to wait for the answer while active, in ms. Default 10 s. */
  timeoutMs?: number | undefined;
  signal?: AbortSignal | undefined;
}

export const ASK_TIMEOUT_MS = 10_000;

interface Pending {
  resolve(value: unknown): void;
  reject(error: Error): void;
  remainingMs: number;
  startedAtMs: number;
  timer?: ReturnType<typeof setTimeout>;
  forget(): void;
}

/**
 * Asks that wait for their answer.
 *
 * The time-out counts only while the asks are active: waiting for a link is not the other side's silence. Every
 * promise settles: with the answer, or with `WEBGRAM_TIMEOUT`, `WEBGRAM_ABORTED`, or what `rejectAll` was given;
 * in those three cases nobody knows whether the other side has handled the ask.
 */
export class Asks<Key extends string | number> {
  readonly #pending = new Map<Key, Pending>();
  readonly #abandoned: (key: Key) => void;
  #active = false;

  /** @param abandoned Called with an ask that timed out or was aborted, so that the other side can be told. Default: nobody is. */
  constructor(abandoned: (key: Key) => void = () => undefined) {
    this.#abandoned = abandoned;
  }

  /** @returns Settles with the answer. An answer that is an error rejects with an `AskError` of its code. */
  add(key: Key, options: AskOptions = {}): Promise<unknown> {
    const { timeoutMs = ASK_TIMEOUT_MS, signal } = options;
    return new Promise((resolve, reject) => {
      const aborted = (): void => {
        this.#giveUp(key, new WebgramError('WEBGRAM_ABORTED', 'aborted', { cause: signal?.reason }));
      };
      const pending: Pending = {
        resolve,
        reject,
        remainingMs: timeoutMs,
        startedAtMs: 0,
        forget: () => {
          clearTimeout(pending.timer);
          signal?.removeEventListener('abort', aborted);
          this.#pending.delete(key);
        },
      };
      this.#pending.set(key, pending);
      signal?.addEventListener('abort', aborted, { once: true });
      if (signal?.aborted) aborted();
      else if (this.#active) this.#start(key, pending);
    });
  }

  /** @returns Whether anybody still waited for it. */
  settle(key: Key, error: WireError | null, value: unknown): boolean {
    const pending = this.#pending.get(key);
    if (pending === undefined) return false;
    pending.forget();
    if (error === null) pending.resolve(value);
    else pending.reject(new AskError(error.code, error.message, error.data, { received: true }));
    return true;
  }

  setActive(active: boolean): void {
    if (active === this.#active) return;
    this.#active = active;
    for (const [key, pending] of this.#pending) {
      if (active) this.#start(key, pending);
      else {
        clearTimeout(pending.timer);
        pending.remainingMs -= performance.now() - pending.startedAtMs;
      }
    }
  }

  /** Nothing is asked that was not answered. */
  get isEmpty(): boolean {
    return this.#pending.size === 0;
  }

  rejectAll(error: Error): void {
    for (const pending of this.#pending.values()) {
      pending.forget();
      pending.reject(error);
    }
  }

  #start(key: Key, pending: Pending): void {
    if (pending.remainingMs === Infinity) return;
    pending.startedAtMs = performance.now();
    pending.timer = setTimeout(() => {
      this.#giveUp(key, new WebgramError('WEBGRAM_TIMEOUT', 'no answer', { retryable: true }));
    }, pending.remainingMs);
  }

  #giveUp(key: Key, error: WebgramError): void {
    const pending = this.#pending.get(key);
    if (pending === undefined) return;
    pending.forget();
    this.#abandoned(key);
    pending.reject(error);
  }
}

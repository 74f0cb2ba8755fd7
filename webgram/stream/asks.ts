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
  /** Its time counts from now on, or no longer. */
  setActive(active: boolean): void;
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

  /** @param abandoned Called with an ask that timed out or was aborted, so that the other side can be told. */
  constructor(abandoned: (key: Key) => void) {
    this.#abandoned = abandoned;
  }

  /** @returns Settles with the answer. An answer that is an error rejects with an `AskError` of its code. */
  add(key: Key, { timeoutMs = ASK_TIMEOUT_MS, signal }: AskOptions = {}): Promise<unknown> {
    return new Promise((resolve, reject) => {
      let remainingMs = timeoutMs;
      let startedAtMs = 0;
      let timer: ReturnType<typeof setTimeout> | undefined;
      const forget = (): void => {
        clearTimeout(timer);
        signal?.removeEventListener('abort', aborted);
        this.#pending.delete(key);
      };
      const giveUp = (error: WebgramError): void => {
        forget();
        this.#abandoned(key);
        reject(error);
      };
      const aborted = (): void => {
        giveUp(new WebgramError('WEBGRAM_ABORTED', 'aborted', { cause: signal?.reason }));
      };
      const setActive = (active: boolean): void => {
        if (remainingMs === Infinity) return;
        clearTimeout(timer);
        if (active) {
          startedAtMs = performance.now();
          timer = setTimeout(() => {
            giveUp(new WebgramError('WEBGRAM_TIMEOUT', 'no answer', { retryable: true }));
          }, remainingMs);
        } else remainingMs -= performance.now() - startedAtMs;
      };
      this.#pending.set(key, { resolve, reject, setActive, forget });
      signal?.addEventListener('abort', aborted);
      if (signal?.aborted) aborted();
      else if (this.#active) setActive(true);
    });
  }

  /** @returns Whether anybody still waited for it. */
  settle(key: Key, error: WireError | null | undefined, value: unknown): boolean {
    const pending = this.#pending.get(key);
    if (pending === undefined) return false;
    pending.forget();
    if (error) pending.reject(new AskError(error.code, error.message, error.data, { received: true }));
    else pending.resolve(value);
    return true;
  }

  setActive(active: boolean): void {
    if (active === this.#active) return;
    this.#active = active;
    for (const pending of this.#pending.values()) pending.setActive(active);
  }

  /** Nothing is asked that was not answered. */
  get isEmpty(): boolean {
    return !this.#pending.size;
  }

  rejectAll(error: Error): void {
    for (const pending of this.#pending.values()) {
      pending.forget();
      pending.reject(error);
    }
  }
}

import { WebgramError } from 'webgram';

type Settle<T> = (error: Error | null, value?: T) => void;

/** Promises that wait for the same thing. All of them settle. */
export class Waiters<T> {
  readonly #waiting = new Set<Settle<T>>();

  /** @returns Rejects with `WEBGRAM_ABORTED` when the signal is aborted first. */
  add(signal?: AbortSignal): Promise<T> {
    return new Promise((resolve, reject) => {
      const settle: Settle<T> = (error, value) => {
        this.#waiting.delete(settle);
        signal?.removeEventListener('abort', abort);
        if (error === null) resolve(value as T);
        else reject(error);
      };
      const abort = (): void => {
        settle(new WebgramError('WEBGRAM_ABORTED', 'aborted', { cause: signal?.reason }));
      };
      this.#waiting.add(settle);
      if (signal?.aborted) abort();
      else signal?.addEventListener('abort', abort);
    });
  }

  resolve(value: T): void {
    for (const settle of this.#waiting) settle(null, value);
  }

  reject(error: Error): void {
    for (const settle of this.#waiting) settle(error);
  }
}

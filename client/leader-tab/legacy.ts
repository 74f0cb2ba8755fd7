import { parseUnfinished, type Unfinished } from '../../worker/host/unfinished.ts';
import { watchLock } from '../../worker/host/web-locks.ts';

/**
 * What leaders before this one have left to be finished for tabs. It is begun when a tab's lock is free, for only then it
 * has gone: the one of a leader that was frozen, or one that is just between two leaders, speaks for itself.
 */
export class Legacy {
  readonly #finish: (unfinished: Unfinished) => void;
  /** Waits for the end of a tab, by tabID. */
  readonly #waiting = new Map<string, { unfinished: Unfinished; stop: () => void }>();
  /** The attach and the last number of what was taken, by tabID: several tabs may tell the same. */
  readonly #taken = new Map<string, { counter: number; last: number }>();
  /** Locks of tabs that have said hello to this leader, which knows more of them. */
  readonly #here = new Set<string>();

  /** @param finish The tab has gone. */
  constructor(finish: (unfinished: Unfinished) => void) {
    this.#finish = finish;
  }

  /** What still waits for the end of a tab. */
  get waiting(): Unfinished[] {
    return [...this.#waiting.values()].map(({ unfinished }) => unfinished);
  }

  /** @param data Anything at all. */
  add(data: unknown): void {
    for (const unfinished of parseUnfinished(data)) this.#add(unfinished);
  }

  /** The tab with that lock has come. */
  cameHere(lock: string): void {
    this.#here.add(lock);
    for (const { unfinished } of this.#waiting.values()) {
      if (unfinished.lock === lock) this.#stop(unfinished.attach.tabID);
    }
  }

  end(): void {
    for (const tabID of this.#waiting.keys()) this.#stop(tabID);
  }

  #add(unfinished: Unfinished): void {
    const { lock, attach, ups } = unfinished;
    const { tabID, counter } = attach;
    const last = ups.at(-1)?.seq ?? attach.oldest - 1;
    const taken = this.#taken.get(tabID);
    const isKnown = taken !== undefined && counter <= taken.counter && last <= taken.last;
    if (isKnown || this.#here.has(lock)) return;
    this.#taken.set(tabID, { counter, last });
    this.#stop(tabID);
    const stop = watchLock(lock, () => {
      this.#waiting.delete(tabID);
      this.#finish(unfinished);
    });
    this.#waiting.set(tabID, { unfinished, stop });
  }

  #stop(tabID: string): void {
    this.#waiting.get(tabID)?.stop();
    this.#waiting.delete(tabID);
  }
}

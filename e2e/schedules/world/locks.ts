import type { Actor, Step } from './actor.ts';

interface Watch {
  readonly lock: string;
  readonly watcher: Actor;
  readonly gone: () => void;
}

/** The Web Locks of one browser. That a lock is free is told by a step of whoever watches it. */
export class Locks {
  readonly #holders = new Map<string, Actor>();
  #watches: Watch[] = [];

  /** @returns Releases it. */
  hold(lock: string, holder: Actor): () => void {
    this.#holders.set(lock, holder);
    return () => {
      if (this.#holders.get(lock) === holder) this.#holders.delete(lock);
    };
  }

  isHeld(lock: string): boolean {
    return this.#holders.get(lock)?.isAlive === true;
  }

  /** @param gone Called once, when nobody holds it. @returns Stops watching. */
  watch(lock: string, watcher: Actor, gone: () => void): () => void {
    const watch = { lock, watcher, gone };
    this.#watches.push(watch);
    return () => {
      this.#watches = this.#watches.filter((one) => one !== watch);
    };
  }

  addSteps(steps: Step[]): void {
    for (const watch of this.#watches) {
      const { lock, watcher, gone } = watch;
      if (!watcher.isAlive || watcher.isFrozen || this.isHeld(lock)) continue;
      const run = (): void => {
        this.#watches = this.#watches.filter((one) => one !== watch);
        gone();
      };
      steps.push({ actor: watcher, what: `gets the lock ${lock}`, run });
    }
  }
}

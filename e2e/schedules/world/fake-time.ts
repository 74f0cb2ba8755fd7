import type { Actor, Step } from './actor.ts';

/** Where the clock of every schedule begins, in ms since 1970. */
export const START_MS = 1_700_000_000_000;

interface Timer {
  readonly owner: Actor;
  readonly callback: () => void;
  dueMs: number;
  readonly everyMs: number | undefined;
  /** Which timer of its owner it is. */
  readonly n: number;
  isSet: boolean;
}

/**
 * Clock and timers of a schedule, in place of the process's: a timer belongs to the actor whose step has set it, fires
 * when the scheduler says so, and never when its owner is dead.
 */
export class FakeTime {
  nowMs = START_MS;
  #timers: Timer[] = [];
  #made = 0;
  readonly #owner: () => Actor;

  /** @param owner Whose step is being taken. */
  constructor(owner: () => Actor) {
    this.#owner = owner;
  }

  set(callback: () => void, delayMs = 0, isRepeated = false): Timer & { unref(): unknown; ref(): unknown } {
    const everyMs = isRepeated ? delayMs : undefined;
    // Timers of browsers and Node take whole ms, and their clocks tell them.
    const dueMs = this.nowMs + Math.max(0, Math.trunc(delayMs));
    const due = { owner: this.#owner(), callback, dueMs, everyMs };
    const timer = { ...due, n: ++this.#made, isSet: true, unref: () => timer, ref: () => timer };
    this.#timers.push(timer);
    return timer;
  }

  clear(timer: unknown): void {
    if (typeof timer === 'object' && timer !== null) (timer as Timer).isSet = false;
  }

  /** For each actor that runs, its timer that is due first, if it is due by now. */
  addSteps(steps: Step[]): void {
    const first: Timer[] = [];
    for (const timer of this.#live()) {
      if (timer.dueMs > this.nowMs || timer.owner.isFrozen) continue;
      const at = first.findIndex(({ owner }) => owner === timer.owner);
      if (at < 0) first.push(timer);
      else if (timer.dueMs < first[at]!.dueMs) first[at] = timer;
    }
    for (const timer of first) {
      const run = (): void => {
        this.#fire(timer);
      };
      steps.push({ actor: timer.owner, what: 'is told the time', content: () => String(timer.n), run });
    }
  }

  #fire(timer: Timer): void {
    if (timer.everyMs === undefined) timer.isSet = false;
    else timer.dueMs = this.nowMs + timer.everyMs;
    timer.callback();
  }

  /** When the next timer of an actor that runs is due, in ms; `undefined` when there is none. */
  get nextMs(): number | undefined {
    let nextMs: number | undefined;
    for (const { dueMs, owner } of this.#live()) {
      if (!owner.isFrozen && (nextMs === undefined || dueMs < nextMs)) nextMs = dueMs;
    }
    return nextMs;
  }

  #live(): readonly Timer[] {
    const isLive = ({ isSet, owner }: Timer): boolean => isSet && owner.isAlive;
    if (!this.#timers.every(isLive)) this.#timers = this.#timers.filter(isLive);
    return this.#timers;
  }
}

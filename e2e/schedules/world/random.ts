import { randomFrom } from '../../../server/testing/random.ts';

/** Chance from a seed: the same seed gives the same numbers on every machine. */
export class Random {
  /** In [0, 1). */
  readonly next: () => number;

  constructor(seed: number) {
    // Neighbouring seeds must not begin alike.
    this.next = randomFrom(Math.imul(seed, 2_654_435_761));
  }

  /** @returns Whether something happens that has that probability. */
  chance(probability: number): boolean {
    return this.next() < probability;
  }

  /** From 0 to below `end`. */
  below(end: number): number {
    return Math.floor(this.next() * end);
  }

  pick<T>(list: readonly T[]): T {
    if (list.length === 0) throw new RangeError('nothing to pick from');
    return list[this.below(list.length)]!;
  }
}

import type { Limits } from '../limits.ts';

/** A message that the other end has not acknowledged yet. */
export interface Kept<At, M> {
  at: At;
  message: M;
  bytes: number;
}

/**
 * The sending half of a stream: keeps what was sent, in order, until the other end acknowledges it.
 *
 * It does not number: the tab numbers 1, 2, 3 …, the server by life.
 */
export class Outbox<At, M> {
  readonly #limits: Pick<Limits, 'maxUnackedBytes' | 'maxUnackedCount'>;
  readonly #isCovered: (at: At, acknowledged: At) => boolean;
  #kept: Kept<At, M>[] = [];
  #bytes = 0;

  constructor(
    limits: Pick<Limits, 'maxUnackedBytes' | 'maxUnackedCount'>,
    isCovered: (at: At, acknowledged: At) => boolean,
  ) {
    this.#limits = limits;
    this.#isCovered = isCovered;
  }

  /** Over the mark in bytes or count. */
  get isFull(): boolean {
    return this.#bytes >= this.#limits.maxUnackedBytes || this.#kept.length >= this.#limits.maxUnackedCount;
  }

  /** Oldest first. */
  get kept(): readonly Kept<At, M>[] {
    return this.#kept;
  }

  add(at: At, message: M, bytes: number): void {
    this.#kept.push({ at, message, bytes });
    this.#bytes += bytes;
  }

  /**
   * Forgets everything up to and including `acknowledged`.
   *
   * @returns How many messages were forgotten.
   */
  acknowledge(acknowledged: At): number {
    let covered = 0;
    for (let oldest; (oldest = this.#kept[0]) && this.#isCovered(oldest.at, acknowledged); covered += 1) {
      this.#bytes -= oldest.bytes;
      this.#kept.shift();
    }
    return covered;
  }

  /** Forgets everything. @returns How many messages were forgotten. */
  clear(): number {
    const count = this.#kept.length;
    this.#kept = [];
    this.#bytes = 0;
    return count;
  }
}

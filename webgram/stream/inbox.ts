/** Plain data of an inbox: everything up to `handled`, and the numbers in `ahead`, has been handled. */
export interface Marks {
  handled: number;
  ahead: number[];
}

/**
 * The receiving half of a tab's stream at the server: takes each number once and in order, and remembers what
 * was handled.
 *
 * Marks are a watermark and a set, because concurrent handlers finish out of order.
 */
export class Inbox {
  #received: number;
  #handled: number;
  readonly #ahead: Set<number>;

  constructor(marks: Marks = { handled: 0, ahead: [] }) {
    this.#handled = marks.handled;
    this.#received = marks.handled;
    this.#ahead = new Set(marks.ahead);
  }

  /** Highest number taken; every number up to it was taken. */
  get received(): number {
    return this.#received;
  }

  /** Highest number up to which everything was handled. */
  get handled(): number {
    return this.#handled;
  }

  /**
   * Takes the next number.
   *
   * @returns `take`: handle it; `handled`: it was handled in an earlier life, nothing is to be done;
   * `duplicate`: taken before; `hole`: a number before it is missing, it was not taken.
   */
  take(seq: number): 'take' | 'handled' | 'duplicate' | 'hole' {
    if (seq <= this.#received) return 'duplicate';
    if (seq !== this.#received + 1) return 'hole';
    this.#received = seq;
    if (!this.#ahead.has(seq)) return 'take';
    this.mark(seq);
    return 'handled';
  }

  /**
   * Takes every number up to `through` without a message: the tab holds none of them any more.
   *
   * @returns Whether there was any.
   */
  skip(through: number): boolean {
    if (through <= this.#received) return false;
    this.#received = through;
    return true;
  }

  /** Marks everything up to `through` as handled, for numbers that were skipped. */
  markThrough(through: number): void {
    if (through <= this.#handled) return;
    this.#handled = through;
    for (const seq of this.#ahead) if (seq <= through) this.#ahead.delete(seq);
    this.#advance();
  }

  /** Marks a taken number as handled. */
  mark(seq: number): void {
    if (seq <= this.#handled) return;
    this.#ahead.add(seq);
    this.#advance();
  }

  #advance(): void {
    while (this.#ahead.delete(this.#handled + 1)) this.#handled += 1;
    // What was handled in an earlier life was received there.
    if (this.#received < this.#handled) this.#received = this.#handled;
  }

  get marks(): Marks {
    return { handled: this.#handled, ahead: [...this.#ahead].sort((a, b) => a - b) };
  }
}

import type { NumberedUp } from '../../worker/host/stream-copy.ts';
import type { Unfinished } from '../../worker/host/unfinished.ts';

/** What a tab keeps for the next leader, be it another or itself: what those before it have left. */
export class LeftBehind {
  #left: Unfinished[] = [];
  /** The one that leads, and what it leaves if it dies without a word. */
  #leader: { incarnation: string; unfinished: Unfinished[] } | undefined;

  /** Keeps what was left to anybody. */
  add(unfinished: readonly Unfinished[]): void {
    this.#left.push(...unfinished);
  }

  /** A tab leads, and would leave this. @returns What was left by those before it, which it may not have heard. */
  leads(incarnation: string, unfinished: Unfinished[]): Unfinished[] {
    const isKnown = this.#leader?.incarnation === incarnation;
    if (isKnown) this.#leader = undefined;
    const left = this.takeAll();
    this.#leader = { incarnation, unfinished };
    return left;
  }

  /** A client of the leader's own has sent more. */
  more(incarnation: string, tabID: string, ups: readonly NumberedUp[]): void {
    if (this.#leader?.incarnation !== incarnation) return;
    this.#leader.unfinished.find(({ attach }) => attach.tabID === tabID)?.ups.push(...ups);
  }

  /** A leader no longer leads, and leaves this. */
  gone(incarnation: string, unfinished: readonly Unfinished[]): void {
    // Another one leads already, and has heard it as well.
    if (this.#leader !== undefined && this.#leader.incarnation !== incarnation) return;
    this.#left = this.takeAll();
    this.add(unfinished);
  }

  /** Returns everything, as if nobody led, and keeps nothing. */
  takeAll(): Unfinished[] {
    const all = [...this.#left, ...(this.#leader?.unfinished ?? [])];
    this.#left = [];
    this.#leader = undefined;
    return all;
  }
}

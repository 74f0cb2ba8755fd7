/** The numbers of tabs on one link, from 1. None is given twice, so that nothing reaches a later tab of its number. */
export class TabNumbers {
  readonly #byTabID = new Map<string, number>();
  readonly #byNumber = new Map<number, string>();
  #next = 1;

  /** Returns the tab's number, a new one if it has none. */
  give(tabID: string): number {
    const known = this.#byTabID.get(tabID);
    if (known !== undefined) return known;
    const number = this.#next++;
    this.#byTabID.set(tabID, number);
    this.#byNumber.set(number, tabID);
    return number;
  }

  numberOf(tabID: string): number | undefined {
    return this.#byTabID.get(tabID);
  }

  tabOf(number: number): string | undefined {
    return this.#byNumber.get(number);
  }

  retire(tabID: string): void {
    const number = this.#byTabID.get(tabID);
    this.#byTabID.delete(tabID);
    if (number !== undefined) this.#byNumber.delete(number);
  }
}

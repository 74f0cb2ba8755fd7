import type { TabDown, TabUp } from 'webgram';
import type { StreamCopy } from './stream-copy.ts';

/**
 * Finishes for tabs that have gone: attaches in a tab's name, hands on what it had handed over, waits for the
 * acknowledgements, then detaches. See PROTOCOL.md, "Streams".
 */
export class Departures {
  readonly #copies = new Map<string, StreamCopy>();
  readonly #send: (tabID: string, up: TabUp) => void;
  readonly #finished: (tabID: string) => void;
  readonly #strayed: (copy: StreamCopy) => void;
  /** The identity that the present link proves. */
  #localID: string | undefined;

  /**
   * @param send Sends over the present link, giving the tab a number if it has none there.
   * @param finished Called when a departure is over; its number can be retired.
   * @param strayed Called behind that with one that is not of the identity that the link proves.
   */
  constructor(
    send: (tabID: string, up: TabUp) => void,
    finished: (tabID: string) => void,
    strayed: (copy: StreamCopy) => void,
  ) {
    this.#send = send;
    this.#finished = finished;
    this.#strayed = strayed;
  }

  get copies(): StreamCopy[] {
    return [...this.#copies.values()];
  }

  get count(): number {
    return this.#copies.size;
  }

  has(tabID: string): boolean {
    return this.#copies.has(tabID);
  }

  add(copy: StreamCopy): void {
    this.#copies.set(copy.tabID, copy);
    if (this.#localID !== undefined) this.#begin(copy, this.#localID);
  }

  /** Takes a message of the tab that came in after its death was noticed. */
  addLate(tabID: string, up: TabUp): boolean {
    const copy = this.#copies.get(tabID);
    if (copy === undefined || !('seq' in up)) return false;
    copy.add(up);
    if (this.#localID !== undefined) this.#send(tabID, up);
    return true;
  }

  /** The tab was not dead after all (it was frozen, or in the back-forward cache) and speaks for itself again. */
  cancel(tabID: string): void {
    this.#copies.delete(tabID);
  }

  /** A new link can take envelopes. */
  linked(localID: string): void {
    this.#localID = localID;
    for (const copy of this.copies) this.#begin(copy, localID);
  }

  unlinked(): void {
    this.#localID = undefined;
  }

  receive(tabID: string, down: TabDown): void {
    const copy = this.#copies.get(tabID);
    if (copy === undefined) return;
    copy.receive(down);
    this.#finishIfSettled(copy);
  }

  #begin(copy: StreamCopy, localID: string): void {
    if (copy.isOfAnother(localID)) {
      this.cancel(copy.tabID);
      this.#finished(copy.tabID);
      this.#strayed(copy);
    } else this.#attach(copy);
  }

  #attach(copy: StreamCopy): void {
    const { attach, ups, tabID } = copy;
    copy.refusal = undefined;
    this.#send(tabID, { ...attach, oldest: copy.oldest, info: { ...attach.info, departed: true } });
    for (const up of ups) this.#send(tabID, up);
    this.#finishIfSettled(copy);
  }

  #finishIfSettled(copy: StreamCopy): void {
    const { tabID, attach, refusal, isSettled } = copy;
    if (!isSettled && refusal === undefined) return;
    this.#copies.delete(tabID);
    // A refused stream has ended already, or belongs to a later attach.
    if (refusal === undefined) this.#send(tabID, { kind: 'detach', counter: attach.counter, why: 'gone' });
    this.#finished(tabID);
  }
}

import type { AttachRefusal, TabDown, TabUp } from 'webgram';

export type TabAttach = Extract<TabUp, { kind: 'attach' }>;
export type NumberedUp = Extract<TabUp, { seq: number }>;

/**
 * The host's copy of a tab's stream: the last attach and the ups that nobody has acknowledged, so that it can finish
 * for a tab that has gone. The tab remains the owner; losing the copy loses nothing while the tab lives.
 */
export class StreamCopy {
  readonly tabID: string;
  /** The Web Lock that the tab holds as long as it lives. */
  readonly lock: string;
  #attach: TabAttach;
  #ups = new Map<number, NumberedUp>();
  #last: number;
  #acknowledged: number;
  /** How the server has refused the last attach. */
  refusal: AttachRefusal | undefined;
  /** The identity in whose session the server has taken the stream up; `undefined` before it has. */
  localID: string | undefined;

  constructor(attach: TabAttach, lock: string) {
    this.tabID = attach.tabID;
    this.lock = lock;
    this.#attach = attach;
    // A tab holds what is not acknowledged, and nothing else.
    this.#last = this.#acknowledged = attach.oldest - 1;
  }

  /** The stream as another host has known it. */
  static of(
    attach: TabAttach,
    lock: string,
    ups: readonly NumberedUp[],
    localID: string | undefined,
  ): StreamCopy {
    const copy = new StreamCopy(attach, lock);
    copy.localID = localID;
    for (const up of ups) copy.add(up);
    return copy;
  }

  /** Whether what was handed over may have been handled in the session of another identity. */
  isOfAnother(localID: string): boolean {
    return this.localID !== undefined && this.localID !== localID;
  }

  get attach(): TabAttach {
    return this.#attach;
  }

  /** Ups that are to be offered again, in order. */
  get ups(): NumberedUp[] {
    return [...this.#ups.values()].sort((a, b) => a.seq - b.seq);
  }

  /** Lowest number that is to be offered again; the next one when there is none. */
  get oldest(): number {
    return this.ups[0]?.seq ?? this.#last + 1;
  }

  /** Everything that was handed over is acknowledged. */
  get isSettled(): boolean {
    return this.#acknowledged >= this.#last;
  }

  /** Takes a later attach of the same tab. The tab offers its ups again behind it, unless it has gone by then. */
  attachAgain(attach: TabAttach): void {
    const timeMs = Math.max(attach.seen.timeMs, this.#attach.seen.timeMs);
    this.#attach = { ...attach, seen: { ...attach.seen, timeMs } };
    this.#last = Math.max(this.#last, attach.oldest - 1);
    this.#acknowledge(attach.oldest - 1);
    this.refusal = undefined;
  }

  add(up: NumberedUp): void {
    if (up.seq > this.#last) this.#last = up.seq;
    if (up.seq > this.#acknowledged) this.#ups.set(up.seq, up);
  }

  /**
   * Notes a server time that was heard behind an attach of this stream, for a server that asks later how old the stream
   * is; the tab may never have heard of one.
   */
  heard(timeMs: number): void {
    const { seen } = this.#attach;
    if (timeMs > seen.timeMs) this.#attach = { ...this.#attach, seen: { ...seen, timeMs } };
  }

  receive(down: TabDown): void {
    if (down.kind === 'ack') {
      this.heard(down.timeMs);
      this.#acknowledge(down.ack);
    } else if (down.kind === 'send' || down.kind === 'ask' || down.kind === 'answer') {
      this.#acknowledge(down.ack);
    } else if (down.kind === 'attached' && down.counter === this.#attach.counter) {
      this.refusal = typeof down.outcome === 'string' ? down.outcome : undefined;
      // What the server has forgotten must not look young when its tab, which has not heard of that, comes back.
      if (this.refusal === undefined) this.heard(down.timeMs);
    }
  }

  #acknowledge(seq: number): void {
    if (seq <= this.#acknowledged) return;
    this.#acknowledged = seq;
    for (const held of this.#ups.keys()) if (held <= seq) this.#ups.delete(held);
  }
}

import {
  encodeJson,
  decodeJson,
  Inbox,
  isCovered,
  jsonCodec,
  Outbox,
  START,
  utf8Length,
  WebgramError,
  type EncodedBody,
  type Limits,
  type LineageEntry,
  type Position,
} from 'webgram';
import type { SessionLink } from './session-link.ts';

/** A message to a tab, encoded when it was sent, so that later changes to its arguments do not reach it. */
export interface Sent {
  kind: 'send' | 'ask' | 'answer';
  /** The ask that an answer answers. */
  asked?: number;
  /** The list that follows the acknowledgement in the envelope. */
  body: EncodedBody;
  /** For one tab of the session: should this one end without having acknowledged it, another one takes it. */
  isForOne?: boolean;
}

/** Stands where a message was that another tab has taken: an answer that nobody waits for. */
const TAKEN = {
  kind: 'answer',
  asked: Number.MAX_SAFE_INTEGER,
  body: jsonCodec.encodeBody([null, null], () => 'nothing'),
} as const;

/** A message that waits for the commit it depends on. */
export interface Held extends Sent {
  /** Leaves when this commit of the present life is confirmed; 0: at once. */
  barrier: number;
}

export interface Attachment {
  link: SessionLink;
  tab: number;
}

/** 1: all bodies are JSON text. 2: some are CBOR, in bytes. The lowest that will do is written. */
type RowVersion = 1 | 2;

/** What a stream's row holds. */
interface StreamRow {
  v: RowVersion;
  counter: number;
  handled: number;
  ahead: number[];
  ended: boolean;
  seenMs: number;
  /** It is that of a durable queue. */
  queue?: true;
  /** All unacknowledged downs. */
  downs: [
    life: number,
    n: number,
    kind: Sent['kind'],
    asked: number | null,
    body: EncodedBody['data'],
    /** Present when it is. Of a stream that has ended only these are kept, for the tab that takes them. */
    isForOne?: true,
  ][];
}

/**
 * The server's end of one tab's stream.
 *
 * It keeps the books: what was taken, handled and acknowledged, and which downs have left over the present
 * attachment. When something may leave is the session's to say.
 */
export class SessionStream {
  readonly tabID: string;
  /**
   * It is that of a durable queue (tab 0): nobody is there to be sent to, so it stands where the stream of a tab stands
   * that has gone, and every mark is committed before it is acknowledged.
   */
  readonly isQueue: boolean;
  readonly inbox: Inbox;
  readonly outbox: Outbox<Position, Held>;
  /** Of the latest attach; a lower one is refused. */
  counter: number;
  attachment: Attachment | null = null;
  /** Generation of the link of the latest attach. */
  attachedBy = 0;
  /** The host finishes for a tab that has gone. */
  isDeparted: boolean;
  /** Nothing is sent any more, and it cannot be attached again. */
  hasEnded: boolean;
  /** Server time of the last moment at which it was attached. */
  seenMs: number;
  /** What its row says of that; while there is no row, when the stream began. */
  rowMs: number;
  /** Messages that were taken and wait for their handlers. */
  queued = 0;
  /** Handlers of its messages that are under way, and what waits for the end of concurrent ones. */
  running = 0;
  whenIdle: (() => void) | undefined;
  /** Larger than that of every tab that was shown before; 0 while nobody sees it. */
  shown = 0;
  /** Messages for one tab that this one has ended without acknowledging, until another takes them. */
  readonly orphans: Sent[] = [];
  /** Its state differs from its row. */
  isDirty = false;
  /** There is a row. */
  isStored: boolean;

  /** Number of the last down of the present life. */
  #lastDown = 0;
  /** What the tab has said last that it has received. */
  #acknowledged: Position = START;
  /** How many of the outbox have left over this attachment. */
  #left = 0;
  /** Handled watermarks, each to be acknowledged once its commit is confirmed. */
  #acks: { handled: number; barrier: number }[] = [];
  #releasedAck: number;
  #toldAck = 0;
  #toldCommit: LineageEntry | null = null;

  constructor(tabID: string, limits: Limits, row?: StreamRow, isQueue = row?.queue ?? false) {
    this.tabID = tabID;
    this.isQueue = this.isDeparted = isQueue;
    this.outbox = new Outbox(limits, isCovered);
    this.inbox = new Inbox(row);
    this.counter = row?.counter ?? 0;
    this.hasEnded = row?.ended ?? isQueue;
    this.seenMs = this.rowMs = row?.seenMs ?? 0;
    this.isStored = row !== undefined;
    this.#releasedAck = this.inbox.handled;
    for (const [life, n, kind, asked, data, isForOne] of row?.downs ?? []) {
      const body = { data, bytes: typeof data === 'string' ? utf8Length(data) : data.length };
      const message: Sent = { kind, body };
      if (asked !== null) message.asked = asked;
      if (isForOne) message.isForOne = true;
      if (this.hasEnded) this.orphans.push(message);
      else this.outbox.add({ life, n }, { ...message, barrier: 0 }, body.bytes);
    }
  }

  get isAttached(): boolean {
    return this.attachment !== null;
  }

  /** A tab that is there and listens. */
  get isOnline(): boolean {
    return this.attachment !== null && !this.isDeparted && !this.hasEnded;
  }

  /** Takes up a stream that the tab knows and this server does not: everything before `oldest` is done. */
  begin(oldest: number, life: number, received: Position): void {
    this.inbox.skip(oldest - 1);
    this.inbox.markThrough(oldest - 1);
    this.#releasedAck = oldest - 1;
    if (received.life === life) this.#lastDown = received.n;
  }

  /** @param oldest Lowest up that the tab still holds: it knows that those before are handled. */
  attach(attachment: Attachment, counter: number, received: Position, oldest: number): void {
    this.attachment = attachment;
    this.attachedBy = attachment.link.generation;
    this.shown = 0;
    this.counter = counter;
    this.isDirty = true;
    this.outbox.acknowledge(received);
    this.#left = 0;
    this.#toldAck = oldest - 1;
    this.#toldCommit = null;
  }

  acknowledge(received: Position): void {
    // All that comes in one frame says the same.
    if (received.life === this.#acknowledged.life && received.n === this.#acknowledged.n) return;
    this.#acknowledged = received;
    const count = this.outbox.acknowledge(received);
    if (count === 0) return;
    this.#left = Math.max(0, this.#left - count);
    this.isDirty = true;
  }

  /**
   * Numbers and keeps a message until its commit is confirmed and the tab has acknowledged it.
   *
   * @param message Its own from now on: not copied.
   */
  push(message: Sent, life: number, barrier: number): Position {
    this.#lastDown += 1;
    const at = { life, n: this.#lastDown };
    const held = message as Held;
    held.barrier = barrier;
    this.outbox.add(at, held, held.body.bytes);
    this.isDirty = true;
    return at;
  }

  /** Marks a message as handled; the acknowledgement waits for that commit. */
  markHandled(seq: number, barrier: number): void {
    this.inbox.mark(seq);
    this.#holdAck(barrier);
  }

  markSkipped(through: number, barrier: number): void {
    this.inbox.markThrough(through);
    this.#holdAck(barrier);
  }

  #holdAck(barrier: number): void {
    this.isDirty = true;
    const last = this.#acks.at(-1);
    if (last?.barrier === barrier) last.handled = this.inbox.handled;
    else this.#acks.push({ handled: this.inbox.handled, barrier });
  }

  /**
   * Sends what may leave: downs whose commit is confirmed, in order, then the acknowledgement of what is
   * handled for good, which never overtakes the replies of what it covers.
   *
   * @param commit Newest confirmed commit of the session: the same object until there is another.
   * @returns False when the link cannot carry the next message: it was sent for another one.
   */
  flush(confirmed: number, commit: LineageEntry | null, timeMs: number): boolean {
    while (this.#acks[0] !== undefined && this.#acks[0].barrier <= confirmed) {
      this.#releasedAck = Math.max(this.#releasedAck, this.#acks.shift()!.handled);
    }
    if (this.attachment === null) return true;
    const { link, tab } = this.attachment;
    const { kept } = this.outbox;
    let end = this.#left;
    while (end < kept.length && kept[end]!.message.barrier <= confirmed) end += 1;
    // The tab must know of a commit no later than of what that commit let go.
    if (end > this.#left && commit !== this.#toldCommit) {
      link.send({ kind: 'ack', tab, ack: this.#toldAck, com: commit, timeMs });
      this.#toldCommit = commit;
    }
    for (; this.#left < end; this.#left += 1) {
      const { at, message } = kept[this.#left]!;
      const isLast = this.#left === end - 1;
      if (isLast) this.#toldAck = this.#releasedAck;
      if (!link.sendMessage(message.kind, tab, at, this.#toldAck, message.asked, message.body)) return false;
    }
    if (this.#releasedAck > this.#toldAck || commit !== this.#toldCommit) {
      this.#toldAck = this.#releasedAck;
      this.#toldCommit = commit;
      link.send({ kind: 'ack', tab, ack: this.#releasedAck, com: commit, timeMs });
    }
    return true;
  }

  /** Ends the stream: nothing more is sent to the tab. */
  end(nowMs: number): void {
    this.hasEnded = true;
    this.isDirty = true;
    this.seenMs = nowMs;
    this.#clear();
    this.attachment = null;
  }

  /** Drops what would be sent, for a tab that has gone. */
  depart(): void {
    this.isDeparted = true;
    this.hasEnded = true;
    this.isDirty = true;
    this.#clear();
  }

  #clear(): void {
    for (const { message } of this.outbox.kept) if (message.isForOne) this.orphans.push(message);
    this.outbox.clear();
    this.#left = 0;
  }

  /** Gives up the messages for one tab, so that another takes them; the tab, should it come back, gets nothing there. */
  giveUp(): void {
    for (const { message } of this.outbox.kept) {
      if (!message.isForOne) continue;
      this.orphans.push({ ...message });
      delete message.isForOne;
      Object.assign(message, TAKEN);
      this.isDirty = true;
    }
  }

  toRow(): string {
    const { handled, ahead } = this.inbox.marks;
    // Where one that was left would have stood is of no use any more.
    const kept = this.hasEnded
      ? this.orphans.map((message) => ({ at: { life: 0, n: 0 }, message }))
      : this.outbox.kept;
    const row: StreamRow = {
      v: kept.every(({ message }) => typeof message.body.data === 'string') ? 1 : 2,
      counter: this.counter,
      handled,
      ahead,
      ended: this.hasEnded,
      seenMs: this.seenMs,
      ...(this.isQueue ? { queue: true } : {}),
      downs: kept.map(({ at, message: { kind, asked, body, isForOne } }) => [
        at.life,
        at.n,
        kind,
        asked ?? null,
        body.data,
        ...(isForOne ? ([true] as const) : ([] as const)),
      ]),
    };
    return encodeJson(row);
  }
}

/** @throws {WebgramError} `WEBGRAM_STORE_CORRUPT` when the row is none of ours. */
export function parseStreamRow(text: string): StreamRow {
  const row = decodeJson(text) as Partial<StreamRow> | null;
  const isRow =
    typeof row === 'object' &&
    (row?.v === 1 || row?.v === 2) &&
    Number.isSafeInteger(row.counter) &&
    Number.isSafeInteger(row.handled) &&
    Array.isArray(row.ahead) &&
    typeof row.ended === 'boolean' &&
    typeof row.seenMs === 'number' &&
    (row.queue === undefined || row.queue === true) &&
    Array.isArray(row.downs);
  if (!isRow) throw new WebgramError('WEBGRAM_STORE_CORRUPT', 'a stream row has an unknown shape');
  return row as StreamRow;
}

import type { WireError } from '../errors.ts';
import type { Limits } from '../limits.ts';
import type {
  AttachedEnvelope,
  DownEnvelope,
  LineageEntry,
  Outcome,
  OutcomeReason,
  Position,
  UpEnvelope,
} from '../wire/envelope.ts';
import { Outbox } from './outbox.ts';
import { isCovered, START } from './position.ts';

type OfTab<E> = E extends { tab: number } ? Omit<E, 'tab'> : never;
/** An up envelope before the host has given it the tab's number on the link. */
export type TabUp = OfTab<UpEnvelope>;
/** A down envelope without the tab's number. */
export type TabDown = OfTab<DownEnvelope>;

type Message = Extract<TabUp, { kind: 'send' | 'ask' | 'answer' }>;
type Unnumbered = Message extends infer M ? (M extends Message ? Omit<M, 'seq' | 'ack'> : never) : never;
type Sequenced = Extract<TabDown, { kind: 'send' | 'ask' | 'answer' }>;

/** What a tab's stream tells the tab. */
export interface TabStreamListener {
  /** Carries an envelope towards the server, for the link of that number (0: none is known yet). */
  post(link: number, envelope: TabUp): void;
  /** A message has arrived: each once and in order, but for those that are best effort. */
  message(type: string, args: unknown[]): void;
  /** The server asks; answer with `answer(asked, …)`. */
  ask(asked: Position, type: string, args: unknown[]): void;
  answered(asked: number, error: WireError | null, value: unknown): void;
  /** The server has taken the stream up on this link; the outcome tells of a stream before this one as well. */
  attached(outcome: Outcome): void;
  /** What was kept fell from over the mark to nothing. */
  hasRoom(): void;
  /** The server does not know the stream any more: whether what it had not acknowledged was handled is unknown. */
  forgotten(): void;
  /** The server's application closed this connection. */
  closed(why: string): void;
}

/** Downs after which an acknowledgement leaves without waiting for the end of the task. */
const ACK_AT_ONCE = 64;

/**
 * The tab's end of its stream: numbers what it sends, keeps it until an acknowledgement covers it, offers it
 * again on every attach, and takes what comes once and in order.
 *
 * Nothing here knows what carries the envelopes. The rules are those of PROTOCOL.md, "Streams".
 */
export class TabStream {
  readonly #listener: TabStreamListener;
  readonly #newTabID: () => string;
  #tabID: string;
  #counter = 0;
  #link = 0;
  /** The latest attach was answered. */
  #attached = false;
  #next = 1;
  readonly #outbox: Outbox<number, Message>;
  #received: Position = START;
  /** Newest server time heard of; 0 before any. */
  #seenTimeMs = 0;
  #seenLife = 0;
  #committed: LineageEntry | null = null;
  #ackDue = 0;
  /** All that is kept was added since `rest`, and no attach that the server may have taken stood before it. */
  #isWhole = false;
  /** Where a hole was met last; meeting it again without progress means that it does not fill. */
  #hole: Position | null = null;
  /** Why a new stream had to be begun: `retention` or `overflow`. */
  #reason: OutcomeReason | undefined;
  /** Messages that the server had not acknowledged then. */
  #lost = 0;

  /** @param newTabID Makes 16 random bytes in base64url, for this document alone. */
  constructor(
    listener: TabStreamListener,
    limits: Pick<Limits, 'maxUnackedBytes' | 'maxUnackedCount'>,
    newTabID: () => string,
  ) {
    this.#listener = listener;
    this.#newTabID = newTabID;
    this.#tabID = newTabID();
    this.#outbox = new Outbox(limits, (at, acknowledged) => at <= acknowledged);
  }

  get tabID(): string {
    return this.#tabID;
  }

  /** Unacknowledged messages are over the mark in bytes or count. */
  get isFull(): boolean {
    return this.#outbox.isFull;
  }

  /** The last attach, and from where to before what number nothing is acknowledged; `undefined` when all is. */
  get left(): [tabID: string, counter: number, oldest: number, next: number] | undefined {
    const [first] = this.#outbox.kept;
    return first && [this.#tabID, this.#counter, first.at, this.#next];
  }

  /** @returns False when what is unacknowledged is over the mark; the message was taken all the same. */
  send(type: string, args: unknown[], bytes: number): boolean {
    this.#add({ kind: 'send', type, args }, bytes);
    return !this.isFull;
  }

  /** @returns The ask's number, which its answer names. */
  ask(type: string, args: unknown[], bytes: number): number {
    return this.#add({ kind: 'ask', type, args }, bytes);
  }

  answer(asked: Position, error: WireError | null, value: unknown, bytes: number): void {
    this.#add({ kind: 'answer', asked, error, value }, bytes);
  }

  cancel(asked: number): void {
    this.#post({ kind: 'cancel', asked });
  }

  /** Best effort: not numbered, and dropped while the stream is not attached. */
  volatile(type: string, args: unknown[]): void {
    if (this.#attached) this.#post({ kind: 'volatile', type, args });
  }

  /**
   * Attaches over a link: to be called with 0 for every new host, and with the number of every new link.
   * What is unacknowledged is offered again behind it.
   */
  attach(link: number): void {
    if (this.#link) this.#isWhole = false;
    this.#link = link;
    this.#attached = false;
    this.#counter += 1;
    const { kept } = this.#outbox;
    this.#ackDue = 0;
    this.#post({
      kind: 'attach',
      tabID: this.#tabID,
      counter: this.#counter,
      received: this.#received,
      oldest: kept[0]?.at ?? this.#next,
      seen: {
        timeMs: this.#seenTimeMs,
        life: this.#seenLife,
        commit: this.#committed?.[0] === this.#seenLife ? this.#committed[1] : 0,
      },
      info: {},
    });
    for (const { message } of kept) this.#post({ ...message, ack: this.#received });
  }

  /**
   * The page was away for a while. If the server has ended the stream meanwhile, what is added from now on goes with the
   * next one, unless something from before is outstanding.
   *
   * @param isAnswered Nothing that was asked is.
   */
  rest(isAnswered: boolean): void {
    this.#link = 0;
    this.#isWhole = isAnswered && !this.#outbox.kept.length;
  }

  /** Takes what has come over a link; what belongs to another attachment than the latest is ignored. */
  receive(link: number, envelope: TabDown): void {
    if (link !== this.#link) return;
    if (envelope.kind === 'attached') {
      if (envelope.counter === this.#counter) this.#onAttached(envelope);
      return;
    }
    if (!this.#attached) return;
    if ('seq' in envelope) this.#take(envelope);
    else if (envelope.kind === 'ack') {
      this.#committed = envelope.com ?? this.#committed;
      this.#seenTimeMs = Math.max(this.#seenTimeMs, envelope.timeMs);
      this.#acknowledge(envelope.ack);
    } else if (envelope.kind === 'volatile') this.#listener.message(envelope.type, envelope.args);
    else if (envelope.kind === 'detach' && envelope.counter === this.#counter) {
      if (envelope.why === 'overflow') this.#restart('overflow');
      else this.#listener.closed(envelope.why);
    }
    // The answer to what is cancelled comes too late, which harms nobody.
  }

  #post(envelope: TabUp): void {
    this.#listener.post(this.#link, envelope);
  }

  #add(said: Unnumbered, bytes: number): number {
    const seq = this.#next++;
    const message: Message = { ...said, seq, ack: this.#received };
    this.#outbox.add(seq, message, bytes);
    this.#ackDue = 0;
    this.#post(message);
    return seq;
  }

  #onAttached({ outcome, life, timeMs, lineage }: Omit<AttachedEnvelope, 'tab'>): void {
    // A stale attach of ours was overtaken by a later one, whose answer is still to come.
    if (outcome === 'stale') return;
    // Also of a refusal, or what begins anew would be as old as what was forgotten.
    this.#seenTimeMs = Math.max(this.#seenTimeMs, timeMs);
    this.#seenLife = life;
    if (outcome === 'forgotten') {
      // It may be another session by now, which knows nothing of that one's commits.
      this.#seenLife = 0;
      this.#committed = null;
      this.#restart('retention');
      return;
    }
    this.#attached = true;
    this.#isWhole = false;
    // Why the session is another one says more.
    if (outcome.resumed) outcome.reason = this.#reason ?? outcome.reason;
    outcome.gap.sent += this.#lost;
    this.#reason = undefined;
    this.#lost = 0;
    if (this.#committed && !holds(lineage, this.#committed)) {
      this.#committed = null;
      outcome.reason = 'store-lost';
    }
    this.#listener.attached(outcome);
  }

  #take(envelope: Sequenced): void {
    const { seq } = envelope;
    if (isCovered(seq, this.#received)) {
      this.#acknowledgeSoon();
      return;
    }
    const isNext = seq.life === this.#received.life ? seq.n === this.#received.n + 1 : true;
    if (!isNext) {
      this.#onHole();
      return;
    }
    this.#received = seq;
    this.#acknowledge(envelope.ack);
    this.#acknowledgeSoon();
    if (envelope.kind === 'send') this.#listener.message(envelope.type, envelope.args);
    else if (envelope.kind === 'ask') this.#listener.ask(seq, envelope.type, envelope.args);
    else this.#listener.answered(envelope.asked, envelope.error, envelope.value);
  }

  /** A message is missing, which no path of ours should do: attach again once, then begin anew. */
  #onHole(): void {
    const before = this.#hole;
    this.#hole = this.#received;
    if (before && isCovered(this.#received, before)) this.#restart('overflow');
    else this.attach(this.#link);
  }

  #acknowledge(seq: number): void {
    const wasFull = this.isFull;
    this.#outbox.acknowledge(seq);
    if (wasFull && !this.isFull) this.#listener.hasRoom();
  }

  /** Acknowledges at the end of the task, so that one acknowledgement or message covers many. */
  #acknowledgeSoon(): void {
    this.#ackDue += 1;
    if (this.#ackDue === 1) setTimeout(() => this.#sendAck());
    else if (this.#ackDue >= ACK_AT_ONCE) this.#sendAck();
  }

  #sendAck(): void {
    if (!this.#ackDue || !this.#attached) return;
    this.#ackDue = 0;
    this.#post({ kind: 'ack', ack: this.#received });
  }

  #restart(reason: OutcomeReason): void {
    this.#reason = reason;
    this.#tabID = this.#newTabID();
    this.#counter = 0;
    this.#received = START;
    this.#hole = null;
    if (!this.#isWhole) {
      this.#lost += this.#outbox.clear();
      this.#next = 1;
      this.#listener.forgotten();
    }
    this.#isWhole = false;
    this.attach(this.#link);
  }
}

function holds(lineage: readonly LineageEntry[], [life, commit]: LineageEntry): boolean {
  return lineage.some(([heldLife, last]) => heldLife === life && last >= commit);
}

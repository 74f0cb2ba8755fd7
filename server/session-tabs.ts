import {
  WebgramError,
  type AnyApp,
  type AppShape,
  type AttachEnvelope,
  type Outcome,
  type Position,
} from 'webgram';
import type { Committer } from './committer.ts';
import type { Conn } from './conn.ts';
import type { SessionContext } from './session-context.ts';
import type { SessionLink } from './session-link.ts';
import { SessionStream, type Sent } from './session-stream.ts';

/** Tab number of an identity's durable queue. */
const QUEUE = 0;
/** A tab that is there gets a new row after this part of the retention. */
const RENEWED_AFTER = 1 / 8;

export interface SessionTabsOptions<A extends AppShape> {
  life: number;
  context: Pick<SessionContext, 'clock' | 'limits' | 'retention' | 'handlers'>;
  /** By tabID. */
  streams: Map<string, SessionStream>;
  committer: Committer;
  /** Returns the application's view of a stream. */
  connect: (stream: SessionStream, address: SessionLink['address']) => Conn<A>;
  /** A tab has come while no other was there. */
  visited: () => void;
  /** A stream has a conn now: the application is to be told, in the stream's turn. */
  activate: (stream: SessionStream) => void;
  /** The tab knows that everything through this number is handled: to be marked in the stream's turn. */
  skip: (stream: SessionStream, through: number) => void;
  /** Something is to be committed, as soon as no handler is under way. */
  commitSoon: () => void;
}

/**
 * The tabs of a session: their streams, the conns that the application sees of them, and the numbers that they have
 * on the present link; also the output gate, through which messages to them leave behind the commits they depend on.
 */
export class SessionTabs<A extends AppShape = AnyApp> {
  readonly #options: SessionTabsOptions<A>;
  readonly #streams: Map<string, SessionStream>;
  /** The application's view of a stream, while it has one; also of that of the durable queue, which is no tab. */
  readonly #conns = new Map<SessionStream, Conn<A>>();
  /** Streams by their number on the present link; numbers are never given twice. */
  readonly #byNumber = new Map<number, SessionStream>();
  /** A tab has been here in this life. */
  #hasHadTab = false;
  #hasLeft = false;
  /** Those that have left something for another tab to take. */
  readonly #orphaned: Set<SessionStream>;
  /** How often a tab was shown. */
  #shown = 0;

  constructor(options: SessionTabsOptions<A>) {
    this.#options = options;
    this.#streams = options.streams;
    this.#orphaned = new Set([...options.streams.values()].filter(({ orphans }) => orphans.length > 0));
  }

  get conns(): Conn<A>[] {
    return this.connected.map((stream) => this.#conns.get(stream)!);
  }

  /** Streams of tabs that have a conn. */
  get connected(): SessionStream[] {
    return [...this.#conns.keys()].filter(({ isQueue }) => !isQueue);
  }

  /** A tab has said whether anybody sees it. */
  show(stream: SessionStream, isVisible: boolean): void {
    if (isVisible) this.#shown += 1;
    stream.shown = isVisible ? this.#shown : 0;
  }

  /** The tab for a message that is for one: there, and shown last, if there is one of that kind. */
  get best(): SessionStream | undefined {
    const rank = ({ isOnline, shown }: SessionStream): number => (isOnline ? 1 + shown : 0);
    let best: SessionStream | undefined;
    for (const stream of this.connected) {
      if (stream.hasEnded) continue;
      if (best === undefined || rank(stream) > rank(best)) best = stream;
    }
    return best;
  }

  connOf(stream: SessionStream): Conn<A> | undefined {
    return this.#conns.get(stream);
  }

  /** The stream that is attached under that number, if one still is. */
  at(tab: number): SessionStream | undefined {
    const stream = this.#byNumber.get(tab);
    return stream?.attachment?.tab === tab ? stream : undefined;
  }

  // ---- attaching

  /** Numbers are those of another link from now on. */
  renumber(): void {
    this.#byNumber.clear();
  }

  /**
   * Binds a tab number of the link to a stream, a new one where need be, and answers; a refusal is answered as well.
   *
   * @throws {WebgramError} `WEBGRAM_BAD_FRAME` when it breaks the protocol; the link is to be closed then.
   */
  attach(link: SessionLink, attach: AttachEnvelope): void {
    const { tab, tabID, counter, received, oldest, seen, info } = attach;
    const { context, life } = this.#options;
    const isQueue = tab === QUEUE;
    const isDeparted = info.departed === true && !isQueue;
    const before = this.#byNumber.get(tab);
    if (before !== undefined && before.tabID !== tabID) {
      throw new WebgramError('WEBGRAM_BAD_FRAME', 'a tab number was given twice on one link');
    }
    let stream = this.#streams.get(tabID);
    if (stream !== undefined && stream.isQueue !== isQueue) {
      throw new WebgramError('WEBGRAM_BAD_FRAME', 'a tabID is that of a tab or of the queue, not of both');
    }
    // Whoever has the session's link drains the queue, and what has become of its messages is known as long as the
    // session lives.
    const isOlder =
      stream !== undefined &&
      !isQueue &&
      (isDeparted
        ? counter < stream.counter || (counter === stream.counter && link.generation < stream.attachedBy)
        : counter <= stream.counter);
    if (isOlder) {
      this.#answer(link, attach, 0, 'stale');
      return;
    }
    const isForgotten = stream === undefined ? this.#isForgotten(seen) : stream.hasEnded && !isDeparted;
    if (isForgotten && !isQueue) {
      this.#answer(link, attach, 0, 'forgotten');
      return;
    }
    const { maxTabs } = context.limits;
    if (before === undefined && !isQueue && this.#countAttached() >= maxTabs) {
      throw new WebgramError('WEBGRAM_BAD_FRAME', `more than ${maxTabs} tabs on one link`);
    }
    const isNewStream = stream === undefined;
    if (stream === undefined) {
      stream = new SessionStream(tabID, context.limits, undefined, isQueue);
      stream.begin(oldest, life, received);
      stream.rowMs = context.clock();
      this.#streams.set(tabID, stream);
    }
    this.#byNumber.set(tab, stream);
    stream.attach({ link, tab }, counter, received, oldest);
    stream.seenMs = context.clock();
    if (isDeparted) stream.depart();
    if (stream.inbox.skip(oldest - 1)) this.#options.skip(stream, oldest - 1);
    this.#answer(link, attach, stream.inbox.received, this.#outcomeFor(stream, link, isNewStream));
    let conn = this.#conns.get(stream);
    if (conn === undefined) {
      conn = this.#options.connect(stream, link.address);
      this.#conns.set(stream, conn);
      if (!isQueue) this.#options.activate(stream);
    }
    conn.setOnline(stream.isOnline, link.address);
    this.#options.commitSoon();
    this.flush(stream);
    if (isDeparted) this.#handOver(stream);
    for (const orphaned of this.#orphaned) this.#handOver(orphaned);
  }

  /** Gives what a tab has left for another one to that, in one commit with its leaving this one. */
  #handOver(from: SessionStream): void {
    const { committer, commitSoon } = this.#options;
    if (from.orphans.length > 0) this.#orphaned.add(from);
    const to = this.best;
    if (to === undefined || from.orphans.length === 0) return;
    this.#orphaned.delete(from);
    from.isDirty = true;
    if (from.isStored) committer.wantWithoutData();
    for (const message of from.orphans.splice(0)) this.push(to, message, committer.lastBarrier);
    commitSoon();
    this.flush(to);
  }

  #answer(
    link: SessionLink,
    { tab, counter }: AttachEnvelope,
    received: number,
    outcome: Outcome | 'stale' | 'forgotten',
  ): void {
    const { life, context, committer } = this.#options;
    const { lineage } = committer;
    link.send({ kind: 'attached', tab, counter, received, outcome, life, timeMs: context.clock(), lineage });
  }

  #outcomeFor(stream: SessionStream, link: SessionLink, isNewStream: boolean): Outcome {
    const gap = { sent: 0, received: 0 };
    if (stream.isQueue) return { resumed: !isNewStream, reason: isNewStream ? 'new' : 'resumed', gap };
    const hadTab = this.#hasHadTab;
    this.#hasHadTab = true;
    if (!isNewStream) return { resumed: true, reason: 'resumed', gap };
    for (const other of this.#streams.values()) {
      if (other !== stream && other.isOnline) return { resumed: true, reason: 'joined', gap };
    }
    if (link.isFirst && !hadTab) return { resumed: false, reason: 'new', gap };
    if (!stream.isDeparted) this.#options.visited();
    return { resumed: true, reason: 'resumed', gap };
  }

  #isForgotten({ timeMs, life }: AttachEnvelope['seen']): boolean {
    // A tab that has never been attached knows no server time, and there is nothing of it to have forgotten.
    if (life === 0 && timeMs === 0) return false;
    const { clock, retention } = this.#options.context;
    return clock() - timeMs > retention.streamRetentionMs / 2;
  }

  #countAttached(): number {
    let count = 0;
    for (const { isAttached, isQueue } of this.#streams.values()) if (isAttached && !isQueue) count += 1;
    return count;
  }

  // ---- the output gate

  /**
   * Numbers and keeps a message until that commit is confirmed and the tab has acknowledged it.
   *
   * @returns `undefined` when the stream has ended, or ends now because it holds too much.
   */
  push(stream: SessionStream, message: Sent, barrier: number): Position | undefined {
    if (this.#hasLeft) return undefined;
    if (stream.hasEnded) {
      // It has ended since the tab was chosen.
      if (!message.isForOne) return undefined;
      const to = this.best;
      if (to === undefined) {
        stream.orphans.push(message);
        stream.isDirty = true;
        this.#orphaned.add(stream);
        return undefined;
      }
      const at = this.push(to, message, barrier);
      this.flush(to);
      return at;
    }
    if (stream.outbox.isFull) {
      this.close(stream, 'overflow');
      return message.isForOne ? this.push(stream, message, barrier) : undefined;
    }
    return stream.push(message, this.#options.life, barrier);
  }

  /** Sends what may leave now. What the tab's new link cannot carry cuts its stream off, and the tab is told. */
  flush(stream: SessionStream): void {
    const { committer, context } = this.#options;
    const fits = stream.flush(committer.confirmed, committer.newestCommit, context.clock());
    if (!fits) this.close(stream, 'overflow');
  }

  flushAll(): void {
    for (const stream of this.#streams.values()) this.flush(stream);
  }

  // ---- endings

  /** A link has gone: its tabs are offline. */
  letGo(link: SessionLink): void {
    for (const stream of this.#streams.values()) {
      if (stream.attachment?.link !== link) continue;
      stream.attachment = null;
      stream.seenMs = this.#options.context.clock();
      stream.isDirty = true;
      this.#conns.get(stream)?.setOnline(false);
    }
  }

  /** The tab's host has said that it is gone; what came before that is handled before it. */
  detach(stream: SessionStream, counter: number, link: SessionLink): void {
    const end = (): void => {
      if (stream.counter === counter && stream.attachment?.link === link) this.#end(stream, 'gone');
    };
    if (stream.running === 0) end();
    else stream.whenIdle = end;
  }

  /** Ends a stream from this side; its tab is told. */
  close(stream: SessionStream, why: string): void {
    if (stream.hasEnded) return;
    const { attachment, counter } = stream;
    attachment?.link.send({ kind: 'detach', tab: attachment.tab, counter, why });
    this.#end(stream, why);
  }

  #end(stream: SessionStream, why: string): void {
    const { context, committer, commitSoon } = this.#options;
    if (!stream.hasEnded || stream.isAttached) stream.end(context.clock());
    stream.attachment = null;
    this.#closeConn(stream, why);
    // One that is in memory only stays for its grace time, so that its tab, should it come back, is not handled twice.
    if (stream.isStored) committer.wantWithoutData();
    commitSoon();
    this.#handOver(stream);
  }

  #closeConn(stream: SessionStream, why: string): void {
    const conn = this.#conns.get(stream);
    this.#conns.delete(stream);
    if (conn === undefined || !conn.markClosed() || stream.isQueue) return;
    conn.setOnline(false);
    const { handlers } = this.#options.context;
    void handlers.emit('$closed', conn.listenersOf('$closed'), why);
    void handlers.emit('$closed', handlers.of('$closed'), conn, why);
  }

  /** The session ends on this node: streams stay in the store, conns close. */
  leave(why: string): void {
    this.#hasLeft = true;
    for (const stream of this.#streams.values()) {
      stream.attachment = null;
      this.#closeConn(stream, why);
    }
  }

  /** A browser that has lost its queue's rows begins another one; the one in use is remembered for good. */
  #newestQueue(): SessionStream | undefined {
    let newest: SessionStream | undefined;
    for (const stream of this.#streams.values()) {
      if (stream.isQueue && stream.seenMs >= (newest?.seenMs ?? 0)) newest = stream;
    }
    return newest;
  }

  /** Lets go of tabs that went without a word, and of streams that nobody will ask for. */
  sweep(nowMs: number): void {
    this.#renewRows(nowMs);
    const { streamGraceMs, streamRetentionMs } = this.#options.context.retention;
    const queue = this.#newestQueue();
    for (const stream of this.#streams.values()) {
      const goneMs = nowMs - stream.seenMs;
      if (stream.isAttached || stream.queued > 0 || goneMs < streamGraceMs) continue;
      this.#closeConn(stream, 'lost');
      // Its tab, should it come back, offers again what is being handled.
      if (stream.running > 0) continue;
      if (!stream.hasEnded && this.best !== undefined) {
        stream.giveUp();
        this.#handOver(stream);
      }
      if (stream.isStored && (goneMs < streamRetentionMs || stream === queue)) continue;
      this.#streams.delete(stream.tabID);
      this.#orphaned.delete(stream);
      if (stream.isStored) this.#options.committer.forget(stream.tabID);
    }
  }

  /**
   * Commits the streams of tabs that are there and have long had nothing to commit: the retention begins when a tab
   * goes, and whoever loads the session next, or the tab itself, must not take it for one that went long ago.
   */
  #renewRows(nowMs: number): void {
    const { context, committer, commitSoon } = this.#options;
    const renewedMs = nowMs - context.retention.streamRetentionMs * RENEWED_AFTER;
    const old = [...this.#streams.values()].filter(
      ({ isAttached, isQueue, rowMs }) => isAttached && !isQueue && rowMs <= renewedMs,
    );
    if (old.length === 0) return;
    for (const stream of old) stream.isDirty = true;
    committer.wantWithoutData();
    commitSoon();
  }
}

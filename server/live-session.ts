import {
  AskError,
  CLOSE,
  encodeJson,
  isPromiseLike,
  unreachable,
  utf8Length,
  WebgramError,
  type AnyApp,
  type AppShape,
  type ArgsOf,
  type AttachEnvelope,
  type DataOf,
  type Limits,
  type Listener,
  type Outcome,
  type PageMessages,
  type Position,
  type SendTypeOf,
  type UpEnvelope,
  type WireError,
} from 'webgram';
import { Committer } from './committer.ts';
import { Conn, encodeBody, type ConnPort, type SaveOptions, type SharedSession } from './conn.ts';
import type { DataVersion } from './data-version.ts';
import { currentRun, HandlerRun, within } from './handler-run.ts';
import { isConcurrent, type Handlers } from './handlers.ts';
import { endOfLife, extensionStepMs, type Lifetime } from './lifetime.ts';
import type { Logger } from './log.ts';
import { SessionData, type SystemData } from './session-data.ts';
import type { SessionLink } from './session-link.ts';
import { encodeProfile, recordOf, type Profile, type SessionRecord } from './account.ts';
import { parseStreamRow, SessionStream, type Sent } from './session-stream.ts';
import type { Account, Renewed, Store, StoredSession } from './store/store.ts';

/** How long things are kept when a tab or link has gone without a word. */
export interface Retention {
  /** A stream that is in memory only, and its conn. Default 120 s. */
  streamGraceMs: number;
  /** A stream that was committed. Default 24 h. */
  streamRetentionMs: number;
}

export const DEFAULT_RETENTION: Readonly<Retention> = Object.freeze({
  streamGraceMs: 120_000,
  streamRetentionMs: 86_400_000,
});

export interface SessionContext extends DataVersion {
  store: Store;
  /** Server time in ms since 1970. */
  clock: () => number;
  limits: Limits;
  retention: Retention;
  lifetime: Lifetime;
  handlers: Handlers;
  log: Logger;
  /** The session has left this node's memory. */
  ended: (session: { readonly sessionID: number }) => void;
}

type MessageUp = Extract<UpEnvelope, { kind: 'send' | 'ask' | 'answer' }>;

/** What goes through the session's gate, one at a time. */
type Task =
  | { kind: 'activate'; stream: SessionStream }
  | { kind: 'message'; stream: SessionStream; message: MessageUp }
  | { kind: 'skip'; stream: SessionStream; through: number }
  | { kind: 'detach'; stream: SessionStream; counter: number; link: SessionLink }
  | { kind: 'update'; change: () => unknown; done: (error?: Error) => void }
  /** A concurrent handler has ended; its effects come in through the gate. */
  | { kind: 'finish'; stream: SessionStream; finish: () => void };

/** What a session's rows hold for the application, decoded. */
export interface LoadedData {
  fromClient: unknown;
  /** JSON of `sessionData` in the present version. */
  data: string | undefined;
  /** It differs from what the store has. */
  isUpgraded: boolean;
}

/** What handles a message: its listeners in order, or what answers it. */
interface Handler {
  isConcurrent: boolean;
  call(args: unknown[]): unknown;
}

/** What tag, numbers and brackets of a frame need at most beside the body of a message. */
const ENVELOPE_BYTES = 256;

/** A handler that holds its session longer than this is named in the log, in ms. */
const SLOW_HANDLER_MS = 1_000;

/** Why the `LiveSession` is no more. */
type Life = { name: 'live' } | { name: 'draining' } | { name: 'ended'; reason: string };

/**
 * A session in this node's memory: an actor with a queue of one.
 *
 * The input gate lets one message in at a time, in stream order; the output gate lets nothing out before the
 * commit it depends on. architecture.md sections 5 and 6 are the rules, the delivery model their proof.
 */
export class LiveSession<A extends AppShape = AnyApp> implements SharedSession<A> {
  readonly sessionID: number;
  /** This load into memory; larger than every one before. */
  readonly life: number;
  readonly #context: SessionContext;
  readonly #data: SessionData;
  readonly #committer: Committer;
  readonly #streams = new Map<string, SessionStream>();
  /** The application's view of a stream, while it has one. */
  readonly #conns = new Map<SessionStream, Conn<A>>();
  readonly #visits: StoredSession['visits'];
  readonly #tasks: Task[] = [];
  /** Runs of handlers that are under way, by the message they handle. */
  readonly #runs = new Map<string, HandlerRun>();
  /** Of the newest link that was claimed on this node, or before it was loaded here. */
  #generation: number;
  readonly #createdMs: number;
  #account: Account | undefined;
  /** Streams by their number on the present link; numbers are never given twice. */
  readonly #tabs = new Map<number, SessionStream>();
  /** A tab has been here in this life. */
  #hasHadTab = false;
  /** Concurrent handlers under way. */
  #concurrent = 0;
  #isRunning = false;
  #isPaused = false;
  #link: SessionLink | null = null;
  #state: Life = { name: 'live' };
  /** Since when there is no link. */
  #idleSinceMs: number;
  /** When its lifetime is over unless it is used, and what the store knows of that. */
  #expiresAtMs: number | undefined;
  #storedExpiresAtMs: number | undefined;
  /** Settles when a draining session has nothing left to do. */
  #drained: (() => void) | undefined;

  constructor(stored: StoredSession, { fromClient, data, isUpgraded }: LoadedData, context: SessionContext) {
    this.sessionID = stored.sessionID;
    this.life = stored.life;
    this.#context = context;
    this.#generation = stored.generation;
    const { account: name, profile } = stored;
    this.#account = name === undefined ? undefined : { name, profile };
    this.#createdMs = stored.createdMs;
    this.#expiresAtMs = this.#storedExpiresAtMs = stored.expiresAtMs;
    this.#visits = { ...stored.visits };
    this.#data = new SessionData({ sessionID: stored.sessionID, fromClient, visits: this.#visits }, data);
    this.#committer = new Committer(stored, isUpgraded ? undefined : data, {
      store: context.store,
      data: this.#data,
      dataVersion: context.dataVersion,
      streams: this.#streams,
      generation: () => this.#generation,
      confirmed: (changed) => {
        this.#onConfirmed(changed);
      },
      refused: (error) => {
        this.#onRefused(error);
      },
    });
    for (const [tabID, text] of stored.streams) {
      this.#streams.set(tabID, new SessionStream(tabID, context.limits, parseStreamRow(text)));
    }
    this.#idleSinceMs = context.clock();
    this.sweep();
  }

  /** Tabs of this session that have not gone for good; some may be offline. */
  get conns(): ReadonlySet<Conn<A>> {
    return new Set(this.#conns.values());
  }

  get sessionData(): DataOf<A> & SystemData {
    return this.#data.object as DataOf<A> & SystemData;
  }

  /** Whether it still serves: a session that has ended on this node is loaded anew. */
  get isLive(): boolean {
    return this.#state.name === 'live';
  }

  /** Whether its lifetime is over. */
  isOver(nowMs: number): boolean {
    return this.#expiresAtMs !== undefined && this.#expiresAtMs <= nowMs;
  }

  /** It is in use: that moves its end, and the store is told when it has moved far enough. */
  #use(): void {
    const { clock, lifetime } = this.#context;
    const nowMs = clock();
    // What is over stays over, until it is swept.
    if (this.isOver(nowMs)) return;
    this.#expiresAtMs = endOfLife(lifetime, this.#createdMs, nowMs);
    const movedMs = Math.abs((this.#expiresAtMs ?? Infinity) - (this.#storedExpiresAtMs ?? Infinity));
    if (movedMs >= extensionStepMs(lifetime)) void this.writeExtension();
  }

  /** Tells the store when its lifetime is over. Does not reject. */
  async writeExtension(): Promise<void> {
    if (this.#expiresAtMs === this.#storedExpiresAtMs) return;
    const before = this.#storedExpiresAtMs;
    this.#storedExpiresAtMs = this.#expiresAtMs;
    try {
      await this.#context.store.extend(this.sessionID, this.#expiresAtMs);
    } catch (error) {
      this.#storedExpiresAtMs = before;
      this.#context.log.debug({ sessionID: this.sessionID, error }, 'the end of a lifetime was not stored');
    }
  }

  /** Ends the `LiveSession` when the store, which was away or open to others, holds something else than it believes. */
  async compareTag(): Promise<void> {
    const tag = this.#committer.tag;
    // A commit on its way is taken or refused by its own tag.
    if (!this.isLive || tag === undefined) return;
    try {
      const stored = await this.#context.store.headTag(this.sessionID);
      if (stored === tag || tag !== this.#committer.tag) return;
    } catch (error) {
      this.#context.log.debug({ sessionID: this.sessionID, error }, 'a tag could not be compared');
      return;
    }
    this.#context.log.warn({ sessionID: this.sessionID }, 'the store holds another state; it is loaded anew');
    this.end('store-changed', CLOSE.tryLater);
  }

  // ---- what the application calls

  /** Sends a message to every tab of the session. */
  send<T extends SendTypeOf<PageMessages<A>>>(type: T, ...args: ArgsOf<PageMessages<A>, T>): void {
    this.#sendTo([...this.#conns.keys()], encodeBody(type, args));
  }

  /** User id that the session belongs to since the last `login`; `undefined` for none. */
  get account(): string | undefined {
    return this.#account?.name;
  }

  /** What is kept of the session besides its data. */
  get record(): SessionRecord {
    return recordOf(this.sessionID, this.#createdMs, this.#account);
  }

  /** Makes `sessionData` last; see `Conn.save`. */
  save({ now = false }: SaveOptions = {}): Promise<void> {
    const run = currentRun(this);
    if (run === undefined) return this.update(() => undefined);
    run.wantsCommit = true;
    return now ? this.#saveNow(run) : Promise.resolve();
  }

  /** Runs a small transaction from anywhere; see `Conn.update`. */
  update(fn: (data: DataOf<A> & SystemData) => unknown): Promise<void> {
    const run = currentRun(this);
    if (run !== undefined) {
      run.wantsCommit = true;
      return Promise.resolve(fn(this.sessionData)).then(() => undefined);
    }
    return new Promise((resolve, reject) => {
      if (this.#state.name === 'ended') {
        reject(this.#endedError());
        return;
      }
      const done = (error?: Error): void => {
        if (error === undefined) resolve();
        else reject(error);
      };
      this.#enqueue({ kind: 'update', change: () => fn(this.sessionData), done });
    });
  }

  // ---- login and logout

  async #login(conn: Conn<A>, name: string, profile: Profile): Promise<void> {
    const account = { name, profile: encodeProfile(name, profile) };
    await this.#renew(account, false);
    const { handlers } = this.#context;
    const login = { account: name, profile: this.record.profile };
    void handlers.emit('$login', conn.listenersOf('$login'), login);
    void handlers.emit('$login', handlers.of('$login'), conn, login);
  }

  /** Gives the session another key, and with the same write another account. */
  async #renew(account: Account | undefined, clearsData: boolean): Promise<void> {
    const link = this.#link;
    if (link === null) {
      const message = 'the session has no link now; nothing has changed';
      throw new WebgramError('WEBGRAM_CLOSED', message, { retryable: true });
    }
    const renewing = link.renew((key, replacedKeyID) =>
      this.#committer.alone(async () => {
        const { store, clock } = this.#context;
        const { generation } = link;
        const written = { sessionID: this.sessionID, replacedKeyID, generation, ...key, account, clearsData };
        checkRenewed(await store.renew({ ...written, nowMs: clock() }));
        this.#account = account;
        if (!clearsData) return;
        this.#data.clear();
        this.#committer.dataCleared();
      }),
    );
    if (this.#isPaused) {
      this.#isPaused = false;
      link.resume();
    }
    await renewing;
  }

  // ---- what connections call

  #portOf(stream: SessionStream): ConnPort {
    return {
      isOnline: () => stream.isOnline,
      send: (body) => {
        this.#sendTo([stream], body);
      },
      sendVolatile: (type, args) => {
        const { attachment } = stream;
        if (stream.isOnline) attachment?.link.send({ kind: 'volatile', tab: attachment.tab, type, args });
      },
      ask: (body) => {
        this.#checkSize(body);
        const at = this.#push(stream, { kind: 'ask', body }, this.#committer.lastBarrier);
        if (at === undefined) throw new WebgramError('WEBGRAM_CLOSED', 'the connection is closed');
        this.#flush(stream);
        return at;
      },
      cancel: (asked) => {
        const { attachment } = stream;
        attachment?.link.send({ kind: 'cancel', tab: attachment.tab, asked });
      },
      close: (why) => {
        this.#closeStream(stream, why);
      },
      login: async (account, profile) => {
        const conn = this.#conns.get(stream);
        if (conn === undefined) throw new WebgramError('WEBGRAM_CLOSED', 'the connection is closed');
        await this.#login(conn, account, profile);
      },
      logout: () => this.#renew(undefined, true),
    };
  }

  #sendTo(streams: readonly SessionStream[], body: string): void {
    this.#checkSize(body);
    const run = currentRun(this);
    for (const stream of streams) {
      const message: Sent = { kind: 'send', body };
      if (run === undefined) this.#push(stream, message, this.#committer.lastBarrier);
      else run.sent.push({ stream, message });
    }
    if (run === undefined) for (const stream of streams) this.#flush(stream);
  }

  /** A message that no frame can hold would end every link that tries to carry it. */
  #checkSize(body: string): void {
    const maxBytes = this.#context.limits.maxFrameBytes - ENVELOPE_BYTES;
    if (utf8Length(body) <= maxBytes) return;
    throw new WebgramError('WEBGRAM_MESSAGE_TOO_LARGE', `a message must have at most ${maxBytes} bytes`);
  }

  #closeStream(stream: SessionStream, why: string): void {
    if (stream.hasEnded) return;
    const { attachment, counter } = stream;
    attachment?.link.send({ kind: 'detach', tab: attachment.tab, counter, why });
    this.#endStream(stream, why);
  }

  // ---- what links call

  /** Takes the session's link for this node, so that its commits go on under the new generation. */
  claim(claim: () => Promise<number>): Promise<number> {
    // Between commits: one that is on its way with the older generation would be refused.
    return this.#committer.alone(async () => {
      const generation = await claim();
      this.#generation = Math.max(this.#generation, generation);
      return generation;
    });
  }

  /** A link has proved itself for this session; it supersedes an older one. */
  attachLink(link: SessionLink): void {
    if (this.#state.name !== 'live') {
      link.end('moved', CLOSE.tryLater);
      return;
    }
    const older = this.#link;
    if (older !== null && older.generation > link.generation) {
      link.end('superseded', CLOSE.superseded, older.generation);
      return;
    }
    if (older !== null) this.#letGo(older);
    older?.end('superseded', CLOSE.superseded, link.generation);
    this.#link = link;
    this.#use();
    this.#tabs.clear();
    if (this.#isPaused) link.pause();
  }

  /** A link has gone, with or without a word. */
  linkDown(link: SessionLink): void {
    if (this.#link !== link) return;
    this.#letGo(link);
    this.#link = null;
    this.#idleSinceMs = this.#context.clock();
    void this.writeExtension();
  }

  /**
   * Takes one envelope of a tab.
   *
   * @throws {WebgramError} `WEBGRAM_BAD_FRAME` when it breaks the protocol; the link is to be closed then.
   */
  receive(link: SessionLink, envelope: UpEnvelope): void {
    // What is not taken is not acknowledged: its tab offers it again wherever the session is next.
    if (this.#state.name !== 'live' || this.#link !== link) return;
    // What an open page does by itself is no use of it.
    if (envelope.kind !== 'ack' && envelope.kind !== 'detach') this.#use();
    if (envelope.kind === 'attach') {
      this.#attach(link, envelope);
      return;
    }
    if (!('tab' in envelope)) throw new WebgramError('WEBGRAM_BAD_FRAME', `no tab takes '${envelope.kind}'`);
    const stream = this.#streamOf(envelope.tab);
    // The tab's stream was taken over or ended; what it says there is meant for nobody.
    if (stream === undefined) return;
    switch (envelope.kind) {
      case 'ack':
        stream.acknowledge(envelope.ack);
        return;
      case 'send':
      case 'ask':
      case 'answer':
        stream.acknowledge(envelope.ack);
        this.#take(stream, envelope);
        return;
      case 'cancel':
        this.#runs
          .get(messageID(this.sessionID, stream.tabID, envelope.asked))
          ?.abort(new WebgramError('WEBGRAM_ABORTED', 'the asker no longer waits', { received: true }));
        return;
      case 'volatile':
        this.#volatile(stream, envelope.type, envelope.args);
        return;
      case 'detach':
        if (envelope.counter === stream.counter) {
          this.#enqueue({ kind: 'detach', stream, counter: envelope.counter, link });
        }
        return;
      default:
        unreachable(envelope);
    }
  }

  /** Commits what is to be committed and ends; links are told to come back. */
  async drain(): Promise<void> {
    if (this.#state.name !== 'live') return;
    this.#state = { name: 'draining' };
    await new Promise<void>((resolve) => {
      this.#drained = resolve;
      this.#settle();
    });
    this.end('draining', CLOSE.draining);
  }

  /**
   * Ends the `LiveSession` on this node at once: nothing more of it is sent. The session itself lives on in the store.
   */
  end(reason: string, code: number, cause?: unknown): void {
    if (this.#state.name === 'ended') return;
    this.#state = { name: 'ended', reason };
    void this.writeExtension();
    this.#committer.end(this.#endedError(cause));
    for (const run of this.#runs.values()) run.abort(this.#endedError());
    for (const task of this.#tasks.splice(0)) if (task.kind === 'update') task.done(this.#endedError());
    const link = this.#link;
    this.#link = null;
    link?.end(reason, code);
    for (const stream of this.#streams.values()) {
      stream.attachment = null;
      this.#closeConn(stream, reason);
    }
    this.#drained?.();
    this.#context.ended(this);
  }

  // ---- attaching

  #attach(link: SessionLink, attach: AttachEnvelope): void {
    const { tab, tabID, counter, received, oldest, seen, info } = attach;
    const isDeparted = info.departed === true;
    if (seen.life > this.life) {
      // Somebody has loaded the session after us.
      this.end('moved', CLOSE.tryLater);
      return;
    }
    const before = this.#tabs.get(tab);
    if (before !== undefined && before.tabID !== tabID) {
      throw new WebgramError('WEBGRAM_BAD_FRAME', 'a tab number was given twice on one link');
    }
    let stream = this.#streams.get(tabID);
    const isOlder =
      stream !== undefined &&
      (isDeparted
        ? counter < stream.counter || (counter === stream.counter && link.generation < stream.attachedBy)
        : counter <= stream.counter);
    if (isOlder) {
      this.#refuse(link, tab, counter, 'stale');
      return;
    }
    if (stream === undefined ? this.#isForgotten(seen) : stream.hasEnded && !isDeparted) {
      this.#refuse(link, tab, counter, 'forgotten');
      return;
    }
    if (before === undefined && this.#countAttached() >= this.#context.limits.maxTabs) {
      throw new WebgramError(
        'WEBGRAM_BAD_FRAME',
        `more than ${this.#context.limits.maxTabs} tabs on one link`,
      );
    }
    const isNewStream = stream === undefined;
    if (stream === undefined) {
      stream = new SessionStream(tabID, this.#context.limits);
      stream.begin(oldest, this.life, received);
      this.#streams.set(tabID, stream);
    }
    this.#tabs.set(tab, stream);
    stream.attach({ link, tab }, counter, received, oldest);
    stream.seenMs = this.#context.clock();
    if (isDeparted) stream.depart();
    if (stream.inbox.skip(oldest - 1)) this.#enqueue({ kind: 'skip', stream, through: oldest - 1 });
    const outcome = this.#outcomeFor(stream, link, isNewStream);
    link.send({
      kind: 'attached',
      tab,
      counter,
      received: stream.inbox.received,
      outcome,
      life: this.life,
      timeMs: this.#context.clock(),
      lineage: this.#committer.lineage,
    });
    let conn = this.#conns.get(stream);
    if (conn === undefined) {
      conn = new Conn(this, this.#portOf(stream), link.address);
      this.#conns.set(stream, conn);
      this.#enqueue({ kind: 'activate', stream });
    }
    conn.setOnline(stream.isOnline, link.address);
    this.#committer.commitIfWanted(this.#isRunning);
    this.#flush(stream);
  }

  #outcomeFor(stream: SessionStream, link: SessionLink, isNewStream: boolean): Outcome {
    const gap = { sent: 0, received: 0 };
    const hadTab = this.#hasHadTab;
    this.#hasHadTab = true;
    if (!isNewStream) return { resumed: true, reason: 'resumed', gap };
    for (const other of this.#streams.values()) {
      if (other !== stream && other.isOnline) return { resumed: true, reason: 'joined', gap };
    }
    if (link.isFirst && !hadTab) return { resumed: false, reason: 'new', gap };
    if (!stream.isDeparted) this.#beginVisit();
    return { resumed: true, reason: 'resumed', gap };
  }

  /** A visit begins with the first tab while no other is there. */
  #beginVisit(): void {
    this.#visits.previousMs = this.#visits.latestMs;
    this.#visits.latestMs = this.#context.clock();
    this.#context.store.writeVisits(this.sessionID, { ...this.#visits }).catch((error: unknown) => {
      this.#context.log.warn({ sessionID: this.sessionID, error }, 'the time of a visit was not stored');
    });
  }

  #isForgotten({ timeMs, life }: AttachEnvelope['seen']): boolean {
    // A tab that has never been attached knows no server time, and there is nothing of it to have forgotten.
    if (life === 0 && timeMs === 0) return false;
    return this.#context.clock() - timeMs > this.#context.retention.streamRetentionMs / 2;
  }

  #refuse(link: SessionLink, tab: number, counter: number, outcome: 'stale' | 'forgotten'): void {
    link.send({
      kind: 'attached',
      tab,
      counter,
      received: 0,
      outcome,
      life: this.life,
      timeMs: this.#context.clock(),
      lineage: this.#committer.lineage,
    });
  }

  /** The stream that is attached under that number, if one still is. */
  #streamOf(tab: number): SessionStream | undefined {
    const stream = this.#tabs.get(tab);
    return stream?.attachment?.tab === tab ? stream : undefined;
  }

  #countAttached(): number {
    let count = 0;
    for (const { isAttached } of this.#streams.values()) if (isAttached) count += 1;
    return count;
  }

  #letGo(link: SessionLink): void {
    for (const stream of this.#streams.values()) {
      if (stream.attachment?.link !== link) continue;
      stream.attachment = null;
      stream.seenMs = this.#context.clock();
      stream.isDirty = true;
      this.#conns.get(stream)?.setOnline(false);
    }
  }

  // ---- the input gate

  #take(stream: SessionStream, message: MessageUp): void {
    switch (stream.inbox.take(message.seq)) {
      case 'take':
        stream.queued += 1;
        this.#enqueue({ kind: 'message', stream, message });
        return;
      case 'handled':
        stream.markHandled(message.seq, this.#committer.lastBarrier);
        this.#flush(stream);
        return;
      case 'duplicate':
      case 'hole':
        // Its tab offers it again when it attaches again.
        return;
    }
  }

  #enqueue(task: Task): void {
    this.#tasks.push(task);
    const isFull = this.#tasks.length >= this.#context.limits.maxQueued;
    if (isFull && !this.#isPaused && this.#link?.isRenewing !== true) {
      this.#isPaused = true;
      this.#link?.pause();
    }
    if (!this.#isRunning) void this.#work();
  }

  /** Does the tasks one after the other. Synchronous handlers of one frame are done within its tick. */
  async #work(): Promise<void> {
    this.#isRunning = true;
    for (let task = this.#tasks.shift(); task !== undefined; task = this.#tasks.shift()) {
      try {
        const working = this.#do(task);
        if (isPromiseLike(working)) await working;
      } catch (error) {
        // Nothing of the application gets here: this is a fault of ours, and what is in memory cannot be trusted.
        this.#context.log.error(
          { sessionID: this.sessionID, error },
          'a session ends after an internal error',
        );
        this.end('internal', CLOSE.tryLater);
      }
      if (this.#state.name === 'ended') break;
      if (this.#isPaused && this.#tasks.length < this.#context.limits.maxQueued / 2) {
        this.#isPaused = false;
        this.#link?.resume();
      }
    }
    this.#isRunning = false;
    this.#committer.commitIfWanted(false);
    this.#settle();
  }

  #do(task: Task): void | PromiseLike<void> {
    switch (task.kind) {
      case 'activate':
        return this.#activate(task.stream);
      case 'message':
        task.stream.queued -= 1;
        return this.#handle(task.stream, task.message);
      case 'skip':
        task.stream.markSkipped(task.through, this.#committer.lastBarrier);
        this.#flush(task.stream);
        return;
      case 'detach': {
        const { stream, counter, link } = task;
        const end = (): void => {
          if (stream.counter === counter && stream.attachment?.link === link) this.#endStream(stream, 'gone');
        };
        // What came before it is to be handled before it.
        if (stream.concurrent === 0) end();
        else stream.whenIdle = end;
        return;
      }
      case 'finish': {
        const { stream, finish } = task;
        this.#concurrent -= 1;
        stream.concurrent -= 1;
        finish();
        if (stream.concurrent > 0) return;
        stream.whenIdle?.();
        stream.whenIdle = undefined;
        return;
      }
      case 'update':
        return this.#update(task.change, task.done);
      default:
        unreachable(task);
    }
  }

  /** Handling starts when all listeners of `$session-active` have settled. */
  #activate(stream: SessionStream): void | PromiseLike<void> {
    const conn = this.#conns.get(stream);
    if (conn === undefined) return;
    const { handlers } = this.#context;
    const onServer = handlers.of('$session-active');
    const onConnect = [...handlers.of('$connect'), ...handlers.of('$opened')];
    if (onServer.length + onConnect.length === 0) return;
    const run = new HandlerRun(this, undefined, false, () => undefined);
    return within(run, async () => {
      await handlers.emit('$connect', onConnect, conn);
      await handlers.emit('$session-active', onServer, conn);
      await handlers.emit('$session-active', conn.listenersOf('$session-active'));
      this.#finish(run, stream, undefined, undefined);
    });
  }

  #handle(stream: SessionStream, message: MessageUp): void | PromiseLike<void> {
    const conn = this.#conns.get(stream);
    // The application has closed the connection: what its tab had sent before is not handled any more.
    if (conn === undefined) return;
    if (message.kind === 'answer') {
      conn.settleAsk(message.asked, message.error, message.value);
      stream.markHandled(message.seq, this.#committer.lastBarrier);
      this.#flush(stream);
      return;
    }
    const { type, args, seq } = message;
    const handler = this.#handlerOf(message.kind, type, conn);
    if (handler === undefined) {
      this.#context.log.debug({ type }, 'no handler for a message');
      const error = { code: 'WEBGRAM_NO_HANDLER', message: `nobody handles '${type}'` };
      this.#finish(new HandlerRun(this, undefined, false, () => undefined), stream, message, { error });
      return;
    }
    const id = messageID(this.sessionID, stream.tabID, seq);
    // A concurrent handler shares the data with others, so nobody can tell what of it to bring back.
    const run = new HandlerRun(
      this,
      id,
      true,
      handler.isConcurrent ? () => undefined : this.#data.checkpoint(),
    );
    this.#runs.set(id, run);
    let result: unknown;
    try {
      result = within(run, () => handler.call(args));
    } catch (error) {
      this.#fail(run, stream, message, error);
      return;
    }
    if (!isPromiseLike(result)) {
      this.#succeed(run, stream, message, result);
      return;
    }
    if (handler.isConcurrent) {
      this.#concurrent += 1;
      stream.concurrent += 1;
      const end = (finish: () => void): void => {
        if (this.#state.name !== 'ended') this.#enqueue({ kind: 'finish', stream, finish });
      };
      result.then(
        (value) => {
          end(() => {
            this.#succeed(run, stream, message, value);
          });
        },
        (error: unknown) => {
          end(() => {
            this.#fail(run, stream, message, error);
          });
        },
      );
      return;
    }
    const slow = setTimeout(() => {
      this.#context.log.warn(
        { sessionID: this.sessionID, type },
        `a handler holds its session for more than ${SLOW_HANDLER_MS} ms; concurrent(fn) lets others in meanwhile`,
      );
    }, SLOW_HANDLER_MS);
    slow.unref();
    return result.then(
      (value) => {
        clearTimeout(slow);
        this.#succeed(run, stream, message, value);
      },
      (error: unknown) => {
        clearTimeout(slow);
        this.#fail(run, stream, message, error);
      },
    );
  }

  /** Commits in the middle of a handler: what it has changed so far, not that it has run. */
  async #saveNow(run: HandlerRun): Promise<void> {
    this.#committer.want();
    run.restore = this.#data.checkpoint();
    const barrier = this.#committer.lastBarrier;
    await new Promise<void>((resolve, reject) => {
      this.#committer.whenConfirmed(barrier, (error) => {
        if (error === undefined) resolve();
        else reject(error);
      });
      this.#committer.commitNow();
    });
  }

  /** All listeners of a message are one handler; an ask that only has listeners is answered with nothing. */
  #handlerOf(kind: 'send' | 'ask', type: string, conn: Conn<A>): Handler | undefined {
    const { handlers } = this.#context;
    const answerer = kind === 'ask' ? handlers.answerer(type) : undefined;
    if (answerer !== undefined) {
      return { isConcurrent: isConcurrent(answerer), call: (args) => answerer(conn, ...args) };
    }
    const onServer = handlers.of(type);
    const onConn = conn.listenersOf(type);
    if (onServer.length + onConn.length === 0) return undefined;
    return {
      isConcurrent: [...onServer, ...onConn].every(isConcurrent),
      call: (args) =>
        inOrder([
          ...onServer.map((listener: Listener) => () => listener(conn, ...args)),
          ...onConn.map((listener: Listener) => () => listener(...args)),
        ]),
    };
  }

  #volatile(stream: SessionStream, type: string, args: unknown[]): void {
    const conn = this.#conns.get(stream);
    const handler = conn === undefined ? undefined : this.#handlerOf('send', type, conn);
    if (handler === undefined) return;
    // Best effort both ways: outside of the gate.
    void this.#context.handlers.emit(type, [() => handler.call(args)]);
  }

  async #update(change: () => unknown, done: (error?: Error) => void): Promise<void> {
    const run = new HandlerRun(this, undefined, true, this.#data.checkpoint());
    try {
      await within(run, change);
      this.#committer.want();
    } catch (error) {
      run.hasEnded = true;
      run.restore();
      done(toError(error));
      return;
    }
    this.#release(run);
    this.#committer.whenConfirmed(this.#committer.lastBarrier, done);
    this.#committer.commitIfWanted(false);
    this.#flushAll();
  }

  // ---- the end of a handler

  #succeed(run: HandlerRun, stream: SessionStream, message: MessageUp, value: unknown): void {
    if (this.#state.name === 'ended') return;
    let body: string | undefined;
    try {
      if (message.kind === 'ask') {
        body = encodeAnswer(null, value);
        this.#checkSize(body);
      }
      if (run.wantsCommit) this.#committer.want();
    } catch (error) {
      this.#fail(run, stream, message, error);
      return;
    }
    this.#finish(run, stream, message, body === undefined ? undefined : { body });
  }

  #fail(run: HandlerRun, stream: SessionStream, message: MessageUp, thrown: unknown): void {
    if (this.#state.name === 'ended') return;
    run.sent.length = 0;
    run.wantsCommit = false;
    run.restore();
    const type = message.kind === 'answer' ? '' : message.type;
    if (!(thrown instanceof AskError)) {
      this.#context.log.error({ sessionID: this.sessionID, type, error: thrown }, 'a handler threw');
    }
    this.#finish(run, stream, message, { error: toWireError(thrown) });
  }

  /** Queues what a run has produced behind the commit it depends on. */
  #finish(
    run: HandlerRun,
    stream: SessionStream,
    message: MessageUp | undefined,
    answer: { body: string } | { error: WireError } | undefined,
  ): void {
    if (this.#state.name === 'ended') return;
    if (message !== undefined) this.#runs.delete(messageID(this.sessionID, stream.tabID, message.seq));
    if (run.wantsCommit && message === undefined) this.#want();
    if (run.sendsCommit && run.sent.length > 0) this.#committer.wantWithoutData();
    const touched = this.#release(run);
    const barrier = this.#committer.lastBarrier;
    if (message?.kind === 'ask' && answer !== undefined) {
      const body = 'body' in answer ? answer.body : encodeAnswer(answer.error, null);
      this.#push(stream, { kind: 'answer', asked: message.seq, body }, barrier);
    }
    if (message !== undefined) stream.markHandled(message.seq, barrier);
    touched.add(stream);
    this.#committer.commitIfWanted(false);
    for (const one of touched) this.#flush(one);
  }

  /** Numbers what a run has sent. @returns The streams it went to. */
  #release(run: HandlerRun): Set<SessionStream> {
    run.hasEnded = true;
    const touched = new Set<SessionStream>();
    for (const { stream, message } of run.sent) {
      this.#push(stream, message, this.#committer.lastBarrier);
      touched.add(stream);
    }
    return touched;
  }

  #want(): void {
    try {
      this.#committer.want();
    } catch (error) {
      this.#context.log.error({ sessionID: this.sessionID, error }, 'sessionData cannot be saved');
    }
  }

  // ---- the output gate

  #push(stream: SessionStream, message: Sent, barrier: number): Position | undefined {
    if (stream.hasEnded || this.#state.name === 'ended') return undefined;
    if (stream.outbox.isFull) {
      this.#closeStream(stream, 'overflow');
      return undefined;
    }
    return stream.push(message, this.life, barrier);
  }

  #flush(stream: SessionStream): void {
    stream.flush(this.#committer.confirmed, this.#committer.newestCommit, this.#context.clock());
  }

  #flushAll(): void {
    for (const stream of this.#streams.values()) this.#flush(stream);
  }

  #onConfirmed(changed: string[]): void {
    this.#flushAll();
    if (changed.length > 0) {
      const { handlers } = this.#context;
      for (const conn of this.#conns.values()) {
        void handlers.emit('$save', conn.listenersOf('$save'), { changed });
        void handlers.emit('$save', handlers.of('$save'), conn, { changed });
      }
    }
    this.#committer.commitIfWanted(this.#isRunning);
    this.#settle();
  }

  /** A refused commit ends the `LiveSession`: what it holds in memory is not what the store holds. */
  #onRefused(error: unknown): void {
    if (this.#state.name === 'ended') return;
    this.#context.log.warn(
      { sessionID: this.sessionID, error },
      'a commit was refused; the session is loaded anew',
    );
    this.end('commit-refused', CLOSE.tryLater, error);
  }

  // ---- endings

  #endStream(stream: SessionStream, why: string): void {
    if (!stream.hasEnded || stream.isAttached) stream.end(this.#context.clock());
    stream.attachment = null;
    this.#closeConn(stream, why);
    // One that is in memory only stays for its grace time, so that its tab, should it come back, is not handled twice.
    if (stream.isStored) this.#committer.wantWithoutData();
    this.#committer.commitIfWanted(this.#isRunning);
  }

  #closeConn(stream: SessionStream, why: string): void {
    const conn = this.#conns.get(stream);
    this.#conns.delete(stream);
    if (conn === undefined || !conn.markClosed()) return;
    conn.setOnline(false);
    const { handlers } = this.#context;
    void handlers.emit('$closed', conn.listenersOf('$closed'), why);
    void handlers.emit('$closed', handlers.of('$closed'), conn, why);
  }

  /** Lets go of tabs that went without a word, of streams that nobody will ask for, and of an idle session. */
  sweep(): void {
    if (this.#state.name !== 'live') return;
    const nowMs = this.#context.clock();
    const { streamGraceMs, streamRetentionMs } = this.#context.retention;
    for (const stream of this.#streams.values()) {
      const goneMs = nowMs - stream.seenMs;
      if (stream.isAttached || stream.queued > 0 || goneMs < streamGraceMs) continue;
      this.#closeConn(stream, 'lost');
      if (stream.isStored && goneMs < streamRetentionMs) continue;
      this.#streams.delete(stream.tabID);
      if (stream.isStored) this.#committer.forget(stream.tabID);
    }
    const isIdle =
      this.#link === null && !this.#isRunning && this.#concurrent === 0 && this.#committer.isIdle;
    if (isIdle && nowMs - this.#idleSinceMs >= streamGraceMs) this.end('idle', CLOSE.normal);
  }

  #settle(): void {
    if (this.#state.name !== 'draining' || this.#isRunning || this.#tasks.length > 0 || this.#concurrent > 0)
      return;
    if (this.#committer.isIdle) this.#drained?.();
  }

  #endedError(cause?: unknown): WebgramError {
    return new WebgramError('WEBGRAM_SESSION_ENDED', 'the session has ended on this node', {
      retryable: true,
      cause,
    });
  }
}

/** @throws {WebgramError} unless the key was written; nothing has changed then. */
function checkRenewed(renewed: Renewed): void {
  switch (renewed) {
    case 'renewed':
      return;
    case 'superseded':
      throw new WebgramError('WEBGRAM_CLOSED', 'a newer link has come; nothing has changed', {
        retryable: true,
      });
    case 'known':
      throw new WebgramError('WEBGRAM_BAD_FRAME', 'a renewal must bring a key that nobody has', {
        received: true,
      });
    case 'gone':
      throw new WebgramError('WEBGRAM_SESSION_ENDED', 'the session has ended');
    default:
      unreachable(renewed);
  }
}

function messageID(sessionID: number, tabID: string, seq: number): string {
  return `${sessionID}/${tabID}/${seq}`;
}

function encodeAnswer(error: WireError | null, value: unknown): string {
  return encodeJson([error, error === null ? value : null], {
    depth: 1,
    describe: () => 'the value of an answer',
  });
}

/** A stranger learns the code of an `AskError`, and of anything else only that it failed. */
function toWireError(thrown: unknown): WireError {
  if (!(thrown instanceof AskError)) return { code: 'WEBGRAM_HANDLER_FAILED', message: 'the handler failed' };
  const { code, message, data } = thrown;
  return data === undefined ? { code, message } : { code, message, data };
}

function toError(thrown: unknown): Error {
  return thrown instanceof Error
    ? thrown
    : new Error('a value that is no Error was thrown', { cause: thrown });
}

/** Calls one after the other, waiting for what is not done at once. */
function inOrder(calls: readonly (() => unknown)[], from = 0): void | PromiseLike<void> {
  for (let i = from; i < calls.length; i += 1) {
    const result = calls[i]!();
    if (isPromiseLike(result)) return result.then(() => inOrder(calls, i + 1));
  }
}

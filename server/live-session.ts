import {
  CLOSE,
  jsonCodec,
  unreachable,
  VISIBLE,
  WebgramError,
  type AnyApp,
  type AppShape,
  type DataOf,
  type Device,
  type EncodedBody,
  type PageMessages,
  type BodyCodec,
  type Position,
  type SendTypeOf,
  type UpEnvelope,
} from 'webgram';
import type { Profile, SessionRecord } from './account.ts';
import { Committer } from './committer.ts';
import { Conn, encodeMessage, type ConnPort, type SaveOptions, type SharedSession } from './conn.ts';
import { splitOptions, type Deliver, type SendArgs } from './delivery.ts';
import { labelOf, type NewDevice } from './device.ts';
import { ForkWatch, type Forked } from './fork-watch.ts';
import { currentRun } from './handler-run.ts';
import { SessionAccount } from './session-account.ts';
import type { SessionContext } from './session-context.ts';
import { SessionData, type SystemData } from './session-data.ts';
import { SessionDevice } from './session-device.ts';
import { SessionExpiry } from './session-expiry.ts';
import { Gate } from './session-gate.ts';
import type { SessionLink } from './session-link.ts';
import { SessionRuns, type MessageUp } from './session-runs.ts';
import { parseStreamRow, SessionStream, type Sent } from './session-stream.ts';
import { SessionTabs } from './session-tabs.ts';
import type { DeviceChange, StoredSession } from './store/store.ts';

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

/** What tag, numbers and brackets of a frame need at most beside the body of a message. */
const ENVELOPE_BYTES = 256;

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
  readonly #account: SessionAccount;
  readonly #device: SessionDevice;
  readonly #expiry: SessionExpiry;
  readonly #tabs: SessionTabs<A>;
  readonly #runs: SessionRuns<A>;
  readonly #gate: Gate<Task>;
  readonly #visits: StoredSession['visits'];
  readonly #forks = new ForkWatch();
  /** Of the newest link that was claimed on this node, or before it was loaded here. */
  #generation: number;
  #link: SessionLink | null = null;
  /** Of the latest link: the next one will most likely have the same. */
  #codec: BodyCodec = jsonCodec;
  #state: Life = { name: 'live' };
  /** Since when there is no link. */
  #idleSinceMs: number;
  /** Settles when a draining session has nothing left to do. */
  #drained: (() => void) | undefined;

  constructor(stored: StoredSession, { fromClient, data, isUpgraded }: LoadedData, context: SessionContext) {
    this.sessionID = stored.sessionID;
    this.life = stored.life;
    this.#context = context;
    this.#generation = stored.generation;
    this.#visits = { ...stored.visits };
    this.#expiry = new SessionExpiry(stored, context);
    this.#data = new SessionData({ sessionID: stored.sessionID, fromClient, visits: this.#visits }, data);
    const streams = new Map<string, SessionStream>();
    for (const [tabID, text] of stored.streams) {
      streams.set(tabID, new SessionStream(tabID, context.limits, parseStreamRow(text)));
    }
    this.#committer = new Committer(stored, isUpgraded ? undefined : data, {
      store: context.store,
      data: this.#data,
      dataVersion: context.dataVersion,
      streams,
      clock: context.clock,
      generation: () => this.#generation,
      confirmed: (changed) => {
        this.#onConfirmed(changed);
      },
      refused: (error) => {
        this.#onRefused(error);
      },
    });
    this.#device = new SessionDevice(stored, context);
    const { store, clock, handlers } = context;
    this.#account = new SessionAccount(stored, {
      store,
      clock,
      handlers,
      data: this.#data,
      committer: this.#committer,
      link: () => this.#link,
      renewing: () => {
        this.#gate.unpause();
      },
      bound: (before) => {
        context.bound(this, before);
      },
    });
    this.#tabs = this.#makeTabs(streams);
    this.#runs = new SessionRuns<A>({
      session: this,
      data: this.#data,
      committer: this.#committer,
      tabs: this.#tabs,
      handlers: context.handlers,
      log: context.log,
      checkSize: (body) => {
        this.#checkSize(body);
      },
      codec: () => this.#codec,
      finished: (stream, finish) => {
        this.#gate.enqueue({ kind: 'finish', stream, finish });
      },
    });
    this.#gate = this.#makeGate();
    this.#idleSinceMs = context.clock();
    this.sweep();
  }

  #makeTabs(streams: Map<string, SessionStream>): SessionTabs<A> {
    return new SessionTabs<A>({
      life: this.life,
      context: this.#context,
      streams,
      committer: this.#committer,
      connect: (stream, address) =>
        new Conn<A>(this, new LiveSession.#Port(this as LiveSession, stream), address),
      visited: () => {
        this.#beginVisit();
      },
      activate: (stream) => {
        this.#gate.enqueue({ kind: 'activate', stream });
      },
      skip: (stream, through) => {
        this.#gate.enqueue({ kind: 'skip', stream, through });
      },
      commitSoon: () => {
        this.#committer.commitIfWanted(this.#gate.isRunning);
      },
    });
  }

  #makeGate(): Gate<Task> {
    return new Gate<Task>({
      maxQueued: this.#context.limits.maxQueued,
      do: (task) => this.#do(task),
      failed: (error) => {
        // Nothing of the application gets here: this is a fault of ours, and what is in memory cannot be trusted.
        const { log } = this.#context;
        log.error({ sessionID: this.sessionID, error }, 'a session ends after an internal error');
        this.end('internal', CLOSE.tryLater);
      },
      full: () => {
        // The answer to a renewal must be read.
        if (this.#link?.isRenewing === true) return false;
        this.#link?.pause();
        return true;
      },
      room: () => {
        this.#link?.resume();
      },
      idle: () => {
        this.#committer.commitIfWanted(false);
        this.#settle();
      },
    });
  }

  /** Tabs of this session that have not gone for good; some may be offline. */
  get conns(): ReadonlySet<Conn<A>> {
    return new Set(this.#tabs.conns);
  }

  get sessionData(): DataOf<A> & SystemData {
    const isShared = currentRun(this)?.isConcurrent === true;
    return (isShared ? this.#data.readOnly : this.#data.object) as DataOf<A> & SystemData;
  }

  /** Whether it still serves: a session that has ended on this node is loaded anew. */
  get isLive(): boolean {
    return this.#state.name === 'live';
  }

  /** Whether its lifetime is over. */
  isOver(nowMs: number): boolean {
    return this.#expiry.isOver(nowMs);
  }

  /** Tells the store when its lifetime is over. Does not reject. */
  writeExtension(): Promise<void> {
    return this.#expiry.write();
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

  /** Sends a message to tabs of the session; see `SharedSession.send`. */
  send<T extends SendTypeOf<PageMessages<A>>>(type: T, ...args: SendArgs<A, T>): number {
    const { deliver, rest } = splitOptions(args);
    const body = encodeMessage(this.#codec, type, rest);
    return this.#sendTo(() => this.#tabsFor(deliver), body, deliver === 'one');
  }

  #tabsFor(deliver: Deliver): SessionStream[] {
    switch (deliver) {
      case 'all':
        return this.#tabs.connected;
      case 'visible':
        return this.#tabs.connected.filter(({ isOnline, shown }) => isOnline && shown > 0);
      case 'one': {
        const { best } = this.#tabs;
        return best === undefined ? [] : [best];
      }
      default:
        return unreachable(deliver);
    }
  }

  /** User id that the session belongs to since the last `login`; `undefined` for none. */
  get account(): string | undefined {
    return this.#account.name;
  }

  /** What is kept of the browser it lives in. */
  get device(): Readonly<Device> {
    return this.#device.present;
  }

  /** A browser has it open now. */
  get isOnline(): boolean {
    return this.#link !== null;
  }

  /** What is kept of the browser was written by another way. */
  deviceChanged(change: DeviceChange): void {
    this.#device.changed(change);
  }

  /** What is kept of the session besides its data. */
  get record(): SessionRecord {
    return this.#account.record;
  }

  /** Makes `sessionData` last; see `Conn.save`. */
  save({ now = false }: SaveOptions = {}): Promise<void> {
    const run = currentRun(this);
    if (run === undefined || (now && run.isConcurrent)) return this.update(() => undefined);
    run.wantsCommit = true;
    return now ? this.#runs.saveNow(run) : Promise.resolve();
  }

  /** Runs a small transaction from anywhere; see `Conn.update`. */
  update(fn: (data: DataOf<A> & SystemData) => unknown): Promise<void> {
    const run = currentRun(this);
    if (run !== undefined && !run.isConcurrent) {
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
      this.#gate.enqueue({ kind: 'update', change: () => fn(this.sessionData), done });
    });
  }

  // ---- what connections call

  /** There is one for every tab, so its methods are not made anew for each. */
  static readonly #Port = class implements ConnPort {
    readonly #session: LiveSession;
    readonly #stream: SessionStream;

    constructor(session: LiveSession, stream: SessionStream) {
      this.#session = session;
      this.#stream = stream;
    }

    isOnline(): boolean {
      return this.#stream.isOnline;
    }

    isVisible(): boolean {
      const { isOnline, shown } = this.#stream;
      return isOnline && shown > 0;
    }

    codec(): BodyCodec {
      return this.#session.#codec;
    }

    send(body: EncodedBody): void {
      const { isQueue } = this.#stream;
      this.#session.#sendTo(() => (isQueue ? this.#session.#tabs.connected : [this.#stream]), body);
    }

    sendVolatile(type: string, args: unknown[]): void {
      const { attachment, isOnline } = this.#stream;
      if (isOnline) attachment?.link.send({ kind: 'volatile', tab: attachment.tab, type, args });
    }

    ask(body: EncodedBody): Position {
      const session = this.#session;
      session.#checkSize(body);
      const at = session.#tabs.push(this.#stream, { kind: 'ask', body }, session.#committer.lastBarrier);
      if (at === undefined) throw new WebgramError('WEBGRAM_CLOSED', 'the connection is closed');
      session.#tabs.flush(this.#stream);
      return at;
    }

    cancel(asked: Position): void {
      const { attachment } = this.#stream;
      attachment?.link.send({ kind: 'cancel', tab: attachment.tab, asked });
    }

    close(why: string): void {
      this.#session.#tabs.close(this.#stream, why);
    }

    async login(account: string, profile: Profile): Promise<void> {
      const session = this.#session;
      const conn = session.#tabs.connOf(this.#stream);
      if (conn === undefined) throw new WebgramError('WEBGRAM_CLOSED', 'the connection is closed');
      const isNew = session.account === undefined;
      await session.#account.login(conn, account, profile);
      if (isNew) void session.#tellNewDevice(conn, account);
    }

    logout(): Promise<void> {
      return this.#session.#account.logout();
    }
  };

  /** Tells the application that an account has come to a session it was not bound to. */
  async #tellNewDevice(conn: Conn<A>, account: string): Promise<void> {
    const { store, handlers, log } = this.#context;
    const listeners = handlers.of('$new-device');
    if (listeners.length === 0) return;
    const sessions = await store.summariesOf(account, 0, 2).catch((error: unknown) => {
      log.warn({ sessionID: this.sessionID, error }, "an account's sessions could not be read");
      return undefined;
    });
    const { sessionID, device } = this;
    // Where that is unknown a mail too many is better than none.
    const isFirst = sessions?.length === 1;
    const news: NewDevice = {
      account,
      sessionID,
      label: labelOf(device),
      device,
      address: conn.address,
      isFirst,
    };
    await handlers.emit('$new-device', listeners, conn, news);
  }

  /** @returns How many tabs it goes to, as far as that is known now. */
  #sendTo(choose: () => readonly SessionStream[], body: EncodedBody, isForOne = false): number {
    this.#checkSize(body);
    const run = currentRun(this);
    const otherRun = run === undefined ? currentRun() : undefined;
    if (otherRun !== undefined) {
      // A handler of another session: if that throws, nothing is sent.
      otherRun.afterwards.push(() => {
        this.#sendTo(choose, body, isForOne);
      });
      return choose().length;
    }
    const streams = choose();
    for (const stream of streams) {
      const message: Sent = isForOne ? { kind: 'send', body, isForOne } : { kind: 'send', body };
      if (run === undefined) this.#tabs.push(stream, message, this.#committer.lastBarrier);
      else run.sent.push({ stream, message });
    }
    if (run === undefined) for (const stream of streams) this.#tabs.flush(stream);
    return streams.length;
  }

  /** A message that no frame can hold would end every link that tries to carry it. */
  #checkSize({ bytes }: EncodedBody): void {
    const maxBytes = this.#context.limits.maxFrameBytes - ENVELOPE_BYTES;
    if (bytes <= maxBytes) return;
    throw new WebgramError('WEBGRAM_MESSAGE_TOO_LARGE', `a message must have at most ${maxBytes} bytes`);
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

  /**
   * Ends the session for good, also on this node.
   *
   * @param end Ends it in the store. @returns Whether it was alive.
   */
  revoke(end: () => Promise<boolean>): Promise<boolean> {
    // Between commits: one that is on its way would be refused, and tabs be told to come back.
    return this.#committer.alone(async () => {
      const wasAlive = await end();
      if (wasAlive) this.end('revoked', CLOSE.revoked);
      return wasAlive;
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
    if (older !== null) this.#tabs.letGo(older);
    older?.end('superseded', CLOSE.superseded, link.generation);
    this.#link = link;
    this.#codec = link.codec;
    this.#expiry.use();
    void this.#device.locate(link.address[0]);
    this.#tabs.renumber();
    // Always, so that the client learns of a logout as well.
    const { account = null, profile } = this.record;
    link.send({ kind: 'identity', what: 'profile', args: [account, profile] });
    const forked = this.#forks.check(link);
    if (forked !== undefined) this.#tellOfFork(link, forked);
    if (older !== null) this.#forks.tookOver(link);
    if (this.#gate.isPaused) link.pause();
  }

  /** A copy of the identity is in use: the client is told, the application and the log. */
  #tellOfFork(link: SessionLink, forked: Forked): void {
    const { other } = forked;
    const { store, handlers, log } = this.#context;
    link.send({ kind: 'identity', what: 'forked', args: [other.generation] });
    log.warn(
      { sessionID: this.sessionID, address: forked.address[0], other: other.address[0] },
      'a copy of an identity is in use',
    );
    // Before any renewal of this link: that ends the copy, and takes the mark away.
    store.markForked(this.sessionID).catch((error: unknown) => {
      log.warn({ sessionID: this.sessionID, error }, 'that an identity has a copy was not stored');
    });
    void handlers.emit('$forked', handlers.of('$forked'), this, forked);
  }

  /** A link has gone, with or without a word. */
  linkDown(link: SessionLink): void {
    if (this.#link !== link) return;
    this.#tabs.letGo(link);
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
    if (envelope.kind !== 'ack' && envelope.kind !== 'detach') this.#expiry.use();
    if (envelope.kind === 'attach') {
      // Somebody has loaded the session after us.
      if (envelope.seen.life > this.life) this.end('moved', CLOSE.tryLater);
      else this.#tabs.attach(link, envelope);
      return;
    }
    if (!('tab' in envelope)) throw new WebgramError('WEBGRAM_BAD_FRAME', `no tab takes '${envelope.kind}'`);
    const stream = this.#tabs.at(envelope.tab);
    // The tab's stream was taken over or ended; what it says there is meant for nobody.
    if (stream === undefined) return;
    if (stream.isQueue && envelope.kind !== 'send' && envelope.kind !== 'detach') {
      throw new WebgramError('WEBGRAM_BAD_FRAME', `the queue has no '${envelope.kind}'`);
    }
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
        this.#runs.cancel(stream, envelope.asked);
        return;
      case 'volatile':
        if (envelope.type === VISIBLE) this.#tabs.show(stream, envelope.args[0] === true);
        else this.#runs.handleVolatile(stream, envelope.type, envelope.args);
        return;
      case 'detach':
        if (envelope.counter === stream.counter) {
          this.#gate.enqueue({ kind: 'detach', stream, counter: envelope.counter, link });
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
    this.#runs.end(this.#endedError());
    for (const task of this.#gate.end()) if (task.kind === 'update') task.done(this.#endedError());
    const link = this.#link;
    this.#link = null;
    link?.end(reason, code);
    this.#tabs.leave(reason);
    this.#drained?.();
    this.#context.ended(this);
  }

  // ---- the input gate

  #take(stream: SessionStream, message: MessageUp): void {
    switch (stream.inbox.take(message.seq)) {
      case 'take':
        stream.queued += 1;
        this.#gate.enqueue({ kind: 'message', stream, message });
        return;
      case 'handled':
        stream.markHandled(message.seq, this.#committer.lastBarrier);
        this.#tabs.flush(stream);
        return;
      case 'duplicate':
      case 'hole':
        // Its tab offers it again when it attaches again.
        return;
    }
  }

  #do(task: Task): void | PromiseLike<void> {
    switch (task.kind) {
      case 'activate':
        return this.#runs.activate(task.stream);
      case 'message':
        task.stream.queued -= 1;
        return this.#runs.handle(task.stream, task.message);
      case 'skip':
        task.stream.markSkipped(task.through, this.#committer.lastBarrier);
        this.#tabs.flush(task.stream);
        return;
      case 'detach':
        this.#tabs.detach(task.stream, task.counter, task.link);
        return;
      case 'finish':
        this.#runs.finish(task.stream, task.finish);
        return;
      case 'update':
        return this.#runs.update(task.change, task.done);
      default:
        unreachable(task);
    }
  }

  /** A visit begins with the first tab while no other is there. */
  #beginVisit(): void {
    this.#visits.previousMs = this.#visits.latestMs;
    this.#visits.latestMs = this.#context.clock();
    this.#context.store.writeVisits(this.sessionID, { ...this.#visits }).catch((error: unknown) => {
      this.#context.log.warn({ sessionID: this.sessionID, error }, 'the time of a visit was not stored');
    });
  }

  // ---- commits

  #onConfirmed(changed: string[]): void {
    this.#tabs.flushAll();
    if (changed.length > 0) {
      const { handlers } = this.#context;
      for (const conn of this.#tabs.conns) {
        void handlers.emit('$save', conn.listenersOf('$save'), { changed });
        void handlers.emit('$save', handlers.of('$save'), conn, { changed });
      }
    }
    this.#committer.commitIfWanted(this.#gate.isRunning);
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

  /** Lets go of tabs that went without a word, of streams that nobody will ask for, and of an idle session. */
  sweep(): void {
    if (this.#state.name !== 'live') return;
    const nowMs = this.#context.clock();
    this.#tabs.sweep(nowMs);
    const isIdle = this.#link === null && this.#isDone && this.#committer.isIdle;
    if (isIdle && nowMs - this.#idleSinceMs >= this.#context.retention.streamGraceMs) {
      this.end('idle', CLOSE.normal);
    }
  }

  /** No handler is under way. */
  get #isDone(): boolean {
    return !this.#gate.isRunning && this.#gate.isEmpty && this.#runs.isIdle;
  }

  #settle(): void {
    if (this.#state.name === 'draining' && this.#isDone && this.#committer.isIdle) this.#drained?.();
  }

  #endedError(cause?: unknown): WebgramError {
    return new WebgramError('WEBGRAM_SESSION_ENDED', 'the session has ended on this node', {
      retryable: true,
      ...(cause === undefined ? {} : { cause }),
    });
  }
}

import {
  Asks,
  Listeners,
  MAX_TYPE_LENGTH,
  WebgramError,
  type AnyApp,
  type AppShape,
  type ArgsOf,
  type AskOptions,
  type DataOf,
  type EncodedBody,
  type Listener,
  type PageMessages,
  type BodyCodec,
  type Position,
  type ResultOf,
  type SendTypeOf,
  type ServerMessages,
  type TypeOf,
  type WireError,
} from 'webgram';
import type { Login, Profile, SessionRecord } from './account.ts';
import type { SendArgs } from './delivery.ts';
import { currentRun } from './handler-run.ts';
import type { SystemData } from './session-data.ts';

/** What `$save` listeners are given. */
export interface Saved {
  /** Top-level properties of `sessionData` that were added, changed or removed. */
  changed: string[];
}

export interface SaveOptions {
  /** In a handler: commit now and resolve when durable, for an effect outside that must come after it. Default false. */
  now?: boolean;
}

/** A session, as the server's application sees it: what all its tabs share. */
export interface SharedSession<A extends AppShape = AnyApp> {
  /** The server's sequence number; names the session, proves nothing. */
  readonly sessionID: number;
  /** User id that the session belongs to since the last `login`; `undefined` for none. */
  readonly account: string | undefined;
  /** What is kept of the session besides its data. */
  readonly record: SessionRecord;
  /** Tabs of this session that have not gone for good; some may be offline. */
  readonly conns: ReadonlySet<Conn<A>>;
  /** The one object that all connections share. */
  readonly sessionData: DataOf<A> & SystemData;
  /**
   * Sends a message to tabs of the session, to every one unless `{ deliver }` follows the arguments; see `Conn.send`.
   *
   * @returns How many tabs it is meant for.
   */
  send<T extends SendTypeOf<PageMessages<A>>>(type: T, ...args: SendArgs<A, T>): number;
  /** Makes `sessionData` last; see `Conn.save`. */
  save(options?: SaveOptions): Promise<void>;
  /** Runs a small transaction from anywhere; see `Conn.update`. */
  update(fn: (data: DataOf<A> & SystemData) => unknown): Promise<void>;
}

/** How a connection reaches its tab. */
export interface ConnPort {
  isOnline(): boolean;
  isVisible(): boolean;
  /** For which messages are encoded now. */
  codec(): BodyCodec;
  send(body: EncodedBody): void;
  sendVolatile(type: string, args: unknown[]): void;
  /** @returns Where the ask stands, which its answer names. */
  ask(body: EncodedBody): Position;
  cancel(asked: Position): void;
  close(why: string): void;
  login(account: string, profile: Profile): Promise<void>;
  logout(): Promise<void>;
}

/**
 * A tab, as the server's application sees it: as if it had a socket of its own.
 *
 * It outlives the socket: while the tab is away it is offline, and what is sent to it waits.
 */
export class Conn<A extends AppShape = AnyApp> {
  readonly session: SharedSession<A>;
  readonly #port: ConnPort;
  readonly #listeners = new Listeners();
  readonly #asks: Asks<string>;
  #address: readonly [ip: string, port: number];
  #hasClosed = false;

  /** @internal Made by its session. */
  constructor(session: SharedSession<A>, port: ConnPort, address: readonly [ip: string, port: number]) {
    this.session = session;
    this.#port = port;
    this.#address = address;
    this.#asks = new Asks((key) => {
      this.#port.cancel(parseKey(key));
    });
  }

  /** The session's data, the same object for all its connections. Call `save()` after changing it. */
  get sessionData(): DataOf<A> & SystemData {
    return this.session.sessionData;
  }

  /** The tab is there now; otherwise its link is down, and it may come back. */
  get isOnline(): boolean {
    return this.#port.isOnline();
  }

  /** Somebody sees the tab, as far as it has said. */
  get isVisible(): boolean {
    return this.#port.isVisible();
  }

  /** Address and port of the other end of the socket that serves the tab, or served it last. */
  get address(): readonly [ip: string, port: number] {
    return this.#address;
  }

  /**
   * Inside a handler: names the message that is being handled, the same on every run of it, for idempotency keys
   * in other systems. `undefined` outside.
   */
  get messageId(): string | undefined {
    return currentRun(this.session)?.messageId;
  }

  /** Inside a handler: aborted when the asker no longer waits for the answer. `undefined` outside. */
  get signal(): AbortSignal | undefined {
    return currentRun(this.session)?.signal;
  }

  /**
   * Sends a message to the tab: once and in order.
   *
   * In a handler it leaves when what the handler did is durable; if the handler throws it is not sent.
   *
   * @throws {WebgramError} `WEBGRAM_NOT_ENCODABLE` when an argument cannot be sent.
   */
  send<T extends SendTypeOf<PageMessages<A>>>(type: T, ...args: ArgsOf<PageMessages<A>, T>): void {
    this.#port.send(encodeMessage(this.#port.codec(), type, args));
  }

  /** Sends best effort: at once, without waiting for a commit, and not at all while the tab is offline. */
  readonly volatile = {
    send: <T extends SendTypeOf<PageMessages<A>>>(type: T, ...args: ArgsOf<PageMessages<A>, T>): void => {
      encodeMessage(this.#port.codec(), type, args);
      this.#port.sendVolatile(type, args);
    },
  };

  /**
   * Asks the tab, and resolves with its answer.
   *
   * @throws {WebgramError} `WEBGRAM_ASK_IN_HANDLER` inside a handler of the same session, which would wait for itself.
   */
  async ask<T extends TypeOf<PageMessages<A>>>(
    type: T,
    ...args: ArgsOf<PageMessages<A>, T>
  ): Promise<ResultOf<PageMessages<A>, T>> {
    return (await this.askWith({}, type, ...args)) as ResultOf<PageMessages<A>, T>;
  }

  /** Like `ask`, with a time-out in ms (default 10 s) or an `AbortSignal`. */
  async askWith(options: AskOptions, type: string, ...args: unknown[]): Promise<unknown> {
    if (currentRun(this.session) !== undefined) {
      throw new WebgramError(
        'WEBGRAM_ASK_IN_HANDLER',
        'a handler cannot ask its own session: it would wait for itself',
      );
    }
    options.signal?.throwIfAborted();
    if (this.#hasClosed) throw new WebgramError('WEBGRAM_CLOSED', 'the connection is closed');
    const at = this.#port.ask(encodeMessage(this.#port.codec(), type, args));
    return this.#asks.add(keyOf(at), options);
  }

  /** Listens for a message of this tab. @returns The function that takes the listener away. */
  on<T extends TypeOf<ServerMessages<A>>>(
    type: T,
    listener: (...args: ArgsOf<ServerMessages<A>, T>) => unknown,
  ): () => void;
  on(event: '$session-active', listener: () => unknown): () => void;
  on(event: '$save', listener: (saved: Saved) => unknown): () => void;
  on(event: '$login', listener: (login: Login) => unknown): () => void;
  on(event: '$closed', listener: (reason: string) => unknown): () => void;
  on(type: string, listener: Listener): () => void {
    return this.#listeners.on(type, listener);
  }

  /** Like `on`, for one call. */
  once<T extends TypeOf<ServerMessages<A>>>(
    type: T,
    listener: (...args: ArgsOf<ServerMessages<A>, T>) => unknown,
  ): () => void;
  once(event: '$session-active', listener: () => unknown): () => void;
  once(event: '$save', listener: (saved: Saved) => unknown): () => void;
  once(event: '$login', listener: (login: Login) => unknown): () => void;
  once(event: '$closed', listener: (reason: string) => unknown): () => void;
  once(type: string, listener: Listener): () => void {
    return this.#listeners.once(type, listener);
  }

  /**
   * Makes `sessionData` last.
   *
   * In a handler it asks for a commit at the handler's end and resolves at once; what the handler sends leaves
   * after that commit. With `{ now: true }` it commits in the middle of the handler and resolves when durable, for
   * an outside effect that must come after it: should the handler run again, it finds what it saved. Outside of
   * handlers it resolves when the data is durable.
   *
   * @throws {WebgramError} `WEBGRAM_NOT_ENCODABLE` when the data cannot be stored, `WEBGRAM_SESSION_ENDED` when the
   * session has left this node before it was durable.
   */
  save(options?: SaveOptions): Promise<void> {
    return this.session.save(options);
  }

  /**
   * Runs a small transaction from anywhere: changes, save and sends take effect together. Resolves when durable.
   *
   * In a handler it is part of that handler, unless others are let in meanwhile; see `concurrent`.
   */
  update(fn: (data: DataOf<A> & SystemData) => unknown): Promise<void> {
    return this.session.update(fn);
  }

  /**
   * Binds the session to a user: call it when the user has proved who he is.
   *
   * The browser makes another key, which takes the place of the one it has; whoever knew the session before knows
   * nothing of it afterwards. Key and account are one durable write, and the promise resolves behind it: what a
   * handler does afterwards, also a throw, does not undo it. The link is renewed; tabs do not notice. A handler may
   * wait for it.
   *
   * @param account The application's user id, 1 to 256 characters.
   * @param profile What to show of the user, at most 64 KiB.
   * @throws {WebgramError} `WEBGRAM_ACCOUNT_BOUND` when the session belongs to another user: log out first.
   * `WEBGRAM_CLOSED` when the link is or goes down, `WEBGRAM_TIMEOUT` when the browser does
   * not answer within 30 s, `WEBGRAM_BAD_FRAME` when it answers wrong, `WEBGRAM_LOGIN_PENDING` while another login
   * or logout of the session is open: nothing has changed. `WEBGRAM_STORE_FAILED`: nobody knows.
   */
  login(account: string, profile: Profile = {}): Promise<void> {
    return this.#port.login(account, profile);
  }

  /**
   * Takes the user away from the session, and everything in `sessionData`, and gives it another key likewise: one
   * durable write. What `sessionData` held does not come back when the handler throws.
   *
   * @throws {WebgramError} as `login` does.
   */
  logout(): Promise<void> {
    return this.#port.logout();
  }

  /** Closes this tab's connection; its `Client` ends, the session lives on. Idempotent. */
  close(why = 'closed'): void {
    this.#port.close(why);
  }

  /** @internal */
  listenersOf(type: string): readonly Listener[] {
    return this.#listeners.of(type);
  }

  /** @internal */
  setOnline(isOnline: boolean, address?: readonly [ip: string, port: number]): void {
    this.#address = address ?? this.#address;
    this.#asks.setActive(isOnline);
  }

  /** @internal */
  settleAsk(asked: Position, error: WireError | null, value: unknown): void {
    this.#asks.settle(keyOf(asked), error, value);
  }

  /** @internal @returns False when it was closed before. */
  markClosed(): boolean {
    if (this.#hasClosed) return false;
    this.#hasClosed = true;
    this.#asks.rejectAll(
      new WebgramError('WEBGRAM_CLOSED', 'the tab has gone; nobody knows whether it handled the ask'),
    );
    return true;
  }
}

/** Encodes type and arguments as they follow the acknowledgement in the envelope. */
export function encodeMessage(codec: BodyCodec, type: string, args: readonly unknown[]): EncodedBody {
  if (typeof type !== 'string' || type === '' || type.length > MAX_TYPE_LENGTH || type.startsWith('$')) {
    throw new TypeError(
      `a message type must be a string of 1 to ${MAX_TYPE_LENGTH} characters not beginning with $`,
    );
  }
  return codec.encodeBody([type, ...args], ([index, ...rest]) => place(index, rest));
}

function place(index: string | number | undefined, rest: readonly (string | number)[]): string {
  const inside = rest.map((key) => (typeof key === 'number' ? `[${key}]` : `.${key}`)).join('');
  return typeof index === 'number' ? `args[${index - 1}]${inside}` : 'args';
}

function keyOf({ life, n }: Position): string {
  return `${life}.${n}`;
}

function parseKey(key: string): Position {
  const [life, n] = key.split('.').map(Number);
  return { life: life!, n: n! };
}

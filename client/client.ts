import { Asks, Listeners, TabStream, WebgramError } from 'webgram';
import type {
  AnyApp,
  AppShape,
  ArgsOf,
  AskOptions,
  ErrorCode,
  Listener,
  MaybePromise,
  Outcome,
  OutcomeReason,
  PageMessages,
  ResultOf,
  SendTypeOf,
  WireError,
  ServerMessages,
  TypeOf,
} from 'webgram';
import { PORT_PROTOCOL } from '../worker/host/port-protocol.ts';
import type { IdentityInfo, LinkState, TabToHost } from '../worker/host/port-protocol.ts';
import { toSocketAddress } from './address.ts';
import { browserEnvironment } from './browser-environment.ts';
import type { TabEnvironment } from './environment.ts';
import { BUILD } from './find-host.ts';
import { HostConnection } from './host-connection.ts';
import type { HostMessage } from './host-connection.ts';
import { inPage } from './in-page.ts';
import { prepareMessage, TAB_LIMITS } from './outgoing.ts';
import { answerAsk } from './page-answers.ts';
import { report } from './report.ts';
import type {
  ClientEvents,
  ClientHost,
  ClientIdentity,
  ClientNotice,
  ClientQueue,
  ClientState,
  SessionActive,
} from './state.ts';

export interface ClientOptions {
  /**
   * Address of the worker's script, for pages that do not come from the server itself. It must have the page's origin.
   * Default: beside the script tag or module that this is part of; in a bundle `.well-known/webgram/` beside the socket.
   */
  worker?: string | URL;
  /**
   * The server's public keys that this application was built with, 65 bytes in base64url each, as `server.publicKeys` has
   * them: no other is ever spoken to, also not at the first visit or after `acceptServerKey()`. Two while the server
   * changes its key. Default: the key that was seen first.
   */
  pins?: readonly string[] | undefined;
  /** Speaks in encrypted frames only; the server must be configured for it as well. Default false. */
  sealed?: boolean;
  /** Told to the server when the session is created; at most 2 KiB as JSON. */
  fromClient?: Record<string, unknown>;
  /** Begin with a new identity instead of the stored one, which is kept. Default false. */
  fresh?: boolean;
  /** The older name of `fresh`. */
  skipResume?: boolean;
  /**
   * What this tab keeps to, whatever identity is active in the browser: an identity's id, user id or name. When there is
   * none, the state is `denied`. Default: what `pin` was given last in this tab, and else the active one.
   */
  identity?: string | undefined;
  /** What to wait for before anything can arrive, such as scripts that listen. Default: nothing. */
  start?: Promise<unknown> | undefined;
  /** How long asks wait for their answer while active, in ms. Default 10 s. */
  timeoutMs?: number;
}

/** What ends a wait. */
export interface WaitOptions {
  signal?: AbortSignal | undefined;
}

/** What the answer functions of a page are. */
export type PageAnswersOf<A extends AppShape> = {
  [T in TypeOf<PageMessages<A>>]?: (
    ...args: ArgsOf<PageMessages<A>, T>
  ) => MaybePromise<ResultOf<PageMessages<A>, T>>;
};

/** A call to the host, which answers it. */
type Call = TabToHost & { kind: 'queue' | 'wallet' };

const UNKNOWN_EVENT = /^\$(?!(state|session-active|notice|switched|identities)$)/;

/**
 * A tab's connection to a server, within the session of this browser.
 *
 * All tabs share one socket and one session; to the server each `Client` is a `conn` of its own. It can be used at once:
 * what is sent waits until it can go, and arrives once and in order.
 *
 * In Node, or wherever there is no document, it does nothing: its state is `offline` and asks reject with
 * `WEBGRAM_NO_BROWSER`, so that server-side rendering is safe.
 */
export class Client<A extends AppShape = AnyApp> {
  /** Prints states, and the types of messages, never what is in them. */
  debug = false;
  /** Functions that answer what the server asks, by type. Nothing is inherited: nobody can ask for `toString`. */
  readonly answer: PageAnswersOf<A> = { __proto__: null } as object;
  /** Best effort: what is sent while the client is not active, or lost with the socket, does not arrive. */
  readonly volatile: { send: Client<A>['send'] } = {
    send: (type, ...args) => {
      const message = prepareMessage(type, args);
      this.#stream.volatile(type, message.args);
      return this.#isActive;
    },
  };

  /**
   * Resolves when the browser has stored the message: from then on it arrives once, and in the order of all that are sent
   * so, although every tab and the browser may be closed before. At the server its `conn` is no tab.
   *
   * It throws as `send` does. Rejects with `WEBGRAM_QUEUE_FULL`, and then nothing was stored; with
   * `WEBGRAM_STORAGE_FAILED`, `WEBGRAM_GAP`, or when the client ends, nobody knows.
   */
  readonly durable: {
    send: <T extends SendTypeOf<ServerMessages<A>>>(
      type: T,
      ...args: ArgsOf<ServerMessages<A>, T>
    ) => Promise<void>;
  } = { send: (type, ...args) => this.#call('queue', 'send', args, type) };
  /** What was sent with `durable.send` and is still to be handled. */
  readonly queue: ClientQueue = {
    count: 0,
    bytes: 0,
    list: () => this.#call('queue', 'list'),
    clear: () => this.#call('queue', 'clear'),
  };

  readonly #listeners = new Listeners();
  /** Calls that are not answered, oldest first. */
  readonly #calls = new Map<number, Call>();
  /** What is waited for: each finds it once it is there. */
  readonly #awaited = new Map<number, () => unknown>();
  /** Who has called, or waits, for as long as it takes. */
  readonly #callers = new Asks<number>((call) => this.#awaited.delete(call));
  #lastCall = 0;
  #stream: TabStream;
  /** What was left by a switch, until a host has heard of that: of one that dies before, the next host is told it first. */
  #unheard: [TabStream, ClientIdentity | undefined][] = [];
  readonly #asks: Asks<number>;
  readonly #askOptions: AskOptions;
  readonly #host: HostConnection | undefined;
  #state: ClientState;
  /** Why nothing can be sent any more. */
  #error: WebgramError | undefined;
  #hostInfo: ClientHost | undefined;
  /** What it says to every host first. */
  readonly #hello: (TabToHost & { kind: 'hello' }) | undefined;
  readonly #tabPin: TabEnvironment['pin'];
  #identity: ClientIdentity | undefined;
  /** What was told last by `$session-active`. */
  #session: SessionActive | undefined;
  /**
   * What the server may say of the session while it is active, and nobody need know: `joined` on the word of the present
   * host, `resumed` once the server has taken the stream up by way of it. `undefined` before that has said how its link
   * stands.
   */
  #known: OutcomeReason | '' | undefined;
  /** The server's word, on its way to the listeners. */
  #outcome: Outcome | undefined;
  /** What pages before this one have lost, until it is told. */
  #left: Promise<number | undefined> | undefined;

  /**
   * @param address WebSocket address of the server, or anything relative to the page. Default: the server that
   * the script tag or module came from; in a bundle the page's own origin.
   * @param environment Not for applications: what stands for the page in tests and in Node.
   * @throws {TypeError} when the address is none.
   */
  constructor(address?: string | URL, options: ClientOptions = {}, environment?: TabEnvironment) {
    const { skipResume = false, fresh = skipResume, fromClient, pins, sealed } = options;
    this.#askOptions = options;
    this.#asks = new Asks((asked) => this.#stream.cancel(asked));
    this.#stream = this.#newStream();
    if (environment === undefined && !inPage()) {
      this.#state = { name: 'offline' };
      this.#error = new WebgramError('WEBGRAM_NO_BROWSER', 'no browser');
      return;
    }
    this.#state = { name: 'connecting', attempt: 0 };
    const socketAddress = toSocketAddress(address);
    const around = environment ?? browserEnvironment(socketAddress, options.worker);
    const lock = `webgram-tab-${randomID()}`;
    const hello: TabToHost & { kind: 'hello' } = {
      kind: 'hello',
      protocol: PORT_PROTOCOL,
      build: BUILD,
      lock,
      address: socketAddress,
      fresh,
      fromClient,
      demands: { pins, sealed },
      identity: fresh ? undefined : options.identity || around.pin?.get(),
    };
    this.#hello = hello;
    this.#tabPin = around.pin;
    this.#host = new HostConnection({
      start: options.start,
      environment: around,
      lock,
      welcomed: (host, isNew) => {
        this.#hostInfo = host;
        this.#known = undefined;
        for (const each of [...(isNew ? this.#unheard : []), [this.#stream, this.#identity] as const]) {
          [this.#stream, this.#identity] = each;
          hello.of = this.#identity?.id;
          this.#host?.post(hello);
          // It takes what was sent before there was a host, link or no link.
          this.#stream.attach(0);
        }
        hello.fresh = false;
        if (isNew) for (const call of this.#calls.values()) this.#host?.post(call);
        this.#lookAgain();
      },
      receive: (message) => {
        this.#receive(message);
      },
      leave: () => {
        const { left } = this.#stream;
        if (left) around.leave?.([...left, this.#identity?.sessionID]);
      },
      seen: this.#tellVisible,
      shown: () => this.#stream.rest(this.#asks.isEmpty),
      lost: (reason, retryAtMs) => {
        this.#setState({ name: 'waiting', retryAtMs, reason });
      },
      failed: (code, reason) => {
        this.#end(code, reason);
      },
    });
    this.#left = around.takeNotes?.((...left) => this.#call('queue', 'left', left)).catch(() => undefined);
  }

  /** Where the client stands; `$state` tells of every change. */
  get state(): ClientState {
    return this.#state;
  }

  /** The identity in use; `undefined` until the server has given it a session. */
  get identity(): ClientIdentity | undefined {
    return this.#identity;
  }

  /** What this tab keeps to, whatever identity is active; `undefined` when it follows the active one. */
  get pinned(): string | undefined {
    return this.#hello?.identity;
  }

  /**
   * Keeps this tab to an identity, whatever is active in the browser, also when the page is loaded again; without one it
   * follows the active one again. It goes over at once, as `$switched` tells. When there is no such identity the client
   * ends, `denied`: `Identities.pin` looks before. After the end it is kept for the client that comes next in this tab.
   *
   * @param identity An identity's id, user id or name.
   */
  pin(identity?: string): void {
    identity ||= undefined;
    if (!this.#hello || identity === this.#hello.identity) return;
    this.#hello.identity = identity;
    this.#tabPin?.set(identity);
    this.#host?.post({ kind: 'pin', identity });
  }

  /** The host that serves this tab; `undefined` until one is found. */
  get host(): ClientHost | undefined {
    return this.#hostInfo;
  }

  /**
   * Sends a message: once and in order, whatever happens to the socket. Arguments are copied at once.
   *
   * @returns False when what the server has not acknowledged is over the mark (1 MiB or 1,000 messages): the message was
   * taken all the same, but it is time to wait for `drained()`. False as well when the client has ended, and then the
   * message goes nowhere.
   * @throws {TypeError} when the type begins with `$` or is no type.
   * @throws {WebgramError} `WEBGRAM_NOT_ENCODABLE` or `WEBGRAM_MESSAGE_TOO_LARGE`.
   */
  send<T extends SendTypeOf<ServerMessages<A>>>(type: T, ...args: ArgsOf<ServerMessages<A>, T>): boolean {
    const message = prepareMessage(type, args);
    if (this.#error) return false;
    return this.#stream.send(type, message.args, message.bytes);
  }

  /**
   * Sends a message that expects one answer.
   *
   * @returns Settles with the answer. Rejects with an `AskError` when that is an error, with `WEBGRAM_TIMEOUT` when none
   * has come in 10 s (waiting for the link does not count), and with `WEBGRAM_GAP`, `WEBGRAM_DENIED` or `WEBGRAM_CLOSED`
   * when none can come any more; in those cases nobody knows whether the server has handled it.
   */
  ask<T extends TypeOf<ServerMessages<A>>>(
    type: T,
    ...args: ArgsOf<ServerMessages<A>, T>
  ): Promise<ResultOf<ServerMessages<A>, T>> {
    return this.#ask({}, type, args) as Promise<ResultOf<ServerMessages<A>, T>>;
  }

  /** Returns `ask` with a time-out in ms or an `AbortSignal`. */
  with(options: AskOptions): { ask: Client<A>['ask'] } {
    return {
      ask: (type, ...args) => this.#ask(options, type, args) as Promise<never>,
    };
  }

  /** Listens for an event, or for a message of the server. @returns The function that takes the listener away. */
  on<E extends keyof ClientEvents>(event: E, listener: ClientEvents[E]): () => void;
  on<T extends TypeOf<PageMessages<A>>>(
    type: T,
    listener: (...args: ArgsOf<PageMessages<A>, T>) => unknown,
  ): () => void;
  on(type: string, listener: Listener): () => void {
    return this.#listeners.on(checkListened(type), listener);
  }

  /** Like `on`, for one call. */
  once<E extends keyof ClientEvents>(event: E, listener: ClientEvents[E]): () => void;
  once<T extends TypeOf<PageMessages<A>>>(
    type: T,
    listener: (...args: ArgsOf<PageMessages<A>, T>) => unknown,
  ): () => void;
  once(type: string, listener: Listener): () => void {
    return this.#listeners.once(checkListened(type), listener);
  }

  /**
   * Waits until the client is in session.
   *
   * @throws {WebgramError} `WEBGRAM_ABORTED`; and when it can never be: `WEBGRAM_DENIED`, `WEBGRAM_CLOSED`,
   * `WEBGRAM_NO_HOST`, `WEBGRAM_TOO_MANY_TABS`, `WEBGRAM_VERSION_SKEW`, `WEBGRAM_NO_BROWSER`.
   */
  waitForSession(options?: WaitOptions): Promise<SessionActive> {
    return this.#wait(() => this.#isActive && this.#session, options);
  }

  /**
   * Waits until the host is found; never for the server.
   *
   * @throws {WebgramError} as `waitForSession` does.
   */
  waitForHost(options?: WaitOptions): Promise<ClientHost> {
    return this.#wait(() => this.#hostInfo, options);
  }

  /** Waits until `send` would return true again. @throws {WebgramError} as `waitForSession` does. */
  drained(options?: WaitOptions): Promise<void> {
    return this.#wait(() => !this.#stream.isFull, options) as Promise<never>;
  }

  /**
   * Accepts the key that the server has shown at the last try, after `WEBGRAM_SERVER_KEY_CHANGED`: ask the user first.
   * It is tried again at once. Nothing happens when no key was refused.
   */
  acceptServerKey(): void {
    this.#host?.post({ kind: 'accept-key' });
  }

  /**
   * Ends this client. The session lives on, and what was sent before still arrives; asks reject with `WEBGRAM_CLOSED`.
   * Idempotent.
   */
  close(): void {
    this.#end('WEBGRAM_CLOSED', 'closed');
  }

  /** Goes over to another identity: nothing of this one is said there. */
  #switch(to: ClientIdentity | undefined): void {
    const from = this.#identity;
    // What is of nobody yet would come to be of whoever is next.
    if (from) this.#unheard.push([this.#stream, from]);
    // One that keeps to another goes there.
    this.#identity = this.pinned ? undefined : to;
    this.#session = this.#outcome = this.#known = undefined;
    const error = new WebgramError('WEBGRAM_SWITCHED', 'switched');
    // What was queued went to the host before this.
    for (const { kind, call } of this.#calls.values()) {
      if (kind === 'queue') this.#answered(call, error);
    }
    this.#stream = this.#newStream();
    this.#asks.rejectAll(error);
    this.#lookAgain();
    this.#setState({ name: 'connecting', attempt: 0 });
    this.#emit('$switched', [{ from, to }]);
    this.#host?.greet();
  }

  #newStream(): TabStream {
    const stream: TabStream = new TabStream(
      {
        post: (link, envelope) => {
          // One that was left has nothing to say.
          if (stream !== this.#stream) return;
          this.#print('says', envelope.kind, (envelope as { type?: string }).type);
          this.#host?.post({ kind: 'up', link, envelope });
        },
        message: (type, args) => {
          this.#emit(type, args);
        },
        ask: (asked, type, args) => {
          answerAsk(this.answer, stream, asked, type, args).catch(report);
        },
        answered: (asked, error, value) => this.#asks.settle(asked, error, value),
        attached: (outcome) => {
          this.#tellVisible();
          void this.#attached(outcome);
        },
        hasRoom: () => {
          this.#lookAgain();
        },
        forgotten: () => {
          this.#asks.rejectAll(new WebgramError('WEBGRAM_GAP', 'forgotten'));
          this.#lookAgain();
        },
        closed: (why) => {
          this.#end('WEBGRAM_CLOSED', why);
        },
      },
      TAB_LIMITS,
      randomID,
    );
    return stream;
  }

  readonly #tellVisible = (): void => {
    // Nobody sees what is no page.
    if (inPage()) this.#stream.volatile('$visible', [!document.hidden]);
  };

  #ask(options: AskOptions, type: string, args: unknown[]): Promise<unknown> {
    if (type === '$identities') return this.#call('wallet', args.shift() as string, args);
    const message = prepareMessage(type, args, '$devices');
    if (this.#error || options.signal?.aborted) return this.#wait(() => undefined, options);
    return this.#asks.add(this.#stream.ask(type, message.args, message.bytes), {
      ...this.#askOptions,
      ...options,
    });
  }

  #call(kind: Call['kind'], what: string, args: unknown[] = [], type = what): Promise<never> {
    const call = ++this.#lastCall;
    const said = { kind, call, what, type, ...prepareMessage(type, args) } as Call;
    if (this.#error) return this.#wait(() => undefined) as Promise<never>;
    this.#calls.set(call, said);
    this.#host?.post(said);
    return this.#callers.add(call, { timeoutMs: Infinity }) as Promise<never>;
  }

  #answered(call: number, error: WireError | undefined, value?: unknown): void {
    this.#calls.delete(call);
    this.#callers.settle(call, error, value);
  }

  async #wait<T>(find: () => T | false | undefined, options?: WaitOptions): Promise<T> {
    if (this.#error) throw this.#error;
    const found = find();
    if (found) return found;
    this.#awaited.set(++this.#lastCall, find);
    return this.#callers.add(this.#lastCall, { ...options, timeoutMs: Infinity }) as Promise<T>;
  }

  /** Something that is waited for may be there. */
  #lookAgain(): void {
    for (const [call, find] of this.#awaited) {
      const found = find();
      if (found && this.#awaited.delete(call)) this.#callers.settle(call, null, found);
    }
  }

  #receive(message: HostMessage): void {
    switch (message.kind) {
      case 'state':
        this.#unheard = [];
        this.#onHostState(message.state, message.identity);
        break;
      case 'link':
        this.#unheard = [];
        this.#stream.attach(message.link);
        break;
      case 'down':
        this.#stream.receive(message.link, message.envelope);
        break;
      case 'notice':
        this.#notice(message);
        break;
      case 'queue':
        Object.assign(this.queue, message.info);
        break;
      case 'answer':
        this.#answered(message.call, message.error, message.value);
        break;
      case 'switch':
        this.#switch(message.to);
        break;
      case 'identities':
        this.#emit('$identities', []);
        break;
      default:
      // A welcome, or a sign of life.
    }
  }

  #onHostState(state: LinkState, identity: IdentityInfo | undefined): void {
    const isFirstWord = this.#known === undefined;
    this.#known ??= '';
    this.#identity = identity;
    if (state.name === 'denied') this.#end('WEBGRAM_DENIED', state.reason);
    else if (state.name !== 'active') {
      this.#known = '';
      this.#setState(state);
    } else if (isFirstWord && !this.#session) {
      // Other tabs are in session, so this one is too. Everyone else waits for the server's word.
      this.#known = 'joined';
      this.#enter({ resumed: true, reason: 'joined', gap: { sent: 0, received: 0 } });
    }
  }

  async #attached(outcome: Outcome): Promise<void> {
    this.#outcome = outcome;
    outcome.gap.sent += (await this.#left) ?? 0;
    if (this.#outcome !== outcome || this.#error) return;
    this.#left = undefined;
    const isKnown = this.#isActive && outcome.reason === this.#known && !outcome.gap.sent;
    this.#known = 'resumed';
    if (!isKnown) this.#enter(outcome);
  }

  #enter(outcome: Outcome): void {
    const sessionID = this.#identity?.sessionID;
    if (sessionID === undefined) return;
    const session = (this.#session = { sessionID, ...outcome });
    this.#setState({ name: 'active' });
    this.#lookAgain();
    this.#emit('$session-active', [session]);
  }

  #notice({ code, message }: ClientNotice): void {
    // eslint-disable-next-line no-console -- nobody listens, and this must not go unnoticed
    if (!this.#listeners.of('$notice')[0]) console.warn('webgram', code, message);
    this.#emit('$notice', [{ code, message }]);
  }

  #end(code: ErrorCode, reason: string): void {
    if (this.#error) return;
    this.#error = new WebgramError(code, reason);
    this.#host?.close();
    this.#setState(code === 'WEBGRAM_DENIED' ? { name: 'denied', reason } : { name: 'closed', code, reason });
    this.#asks.rejectAll(this.#error);
    this.#callers.rejectAll(this.#error);
  }

  get #isActive(): boolean {
    return this.#state.name === 'active';
  }

  #setState(state: ClientState): void {
    if (this.#isActive && state.name === 'active') return;
    this.#state = state;
    this.#asks.setActive(this.#isActive);
    this.#emit('$state', [state]);
  }

  /** Every listener runs, whatever the others throw. */
  #emit(type: string, args: unknown[]): void {
    this.#print('gets', type, this.#state.name);
    for (const listener of this.#listeners.of(type)) {
      const run = async (): Promise<unknown> => listener(...args);
      run().catch(report);
    }
  }

  #print(...words: (string | undefined)[]): void {
    // eslint-disable-next-line no-console -- the application has asked for it
    if (this.debug) console.debug('webgram', ...words);
  }
}

function checkListened(type: string): string {
  if (UNKNOWN_EVENT.test(type)) throw new TypeError(`no event '${type}'`);
  return type;
}

/** 22 random characters that are 16 bytes in base64url; of its 64 it leaves out `-`, which costs less than a bit. */
function randomID(): string {
  const bytes = String.fromCharCode(...crypto.getRandomValues(new Uint8Array(16)));
  return btoa(bytes).slice(0, 22).replace(/\W/g, '_');
}

import {
  createServer,
  type IncomingMessage,
  type Server as HttpServer,
  type ServerResponse,
} from 'node:http';
import type { Server as HttpsServer } from 'node:https';
import type { Duplex } from 'node:stream';
import {
  AskError,
  DEVICES,
  TOO_LARGE,
  toBase64url,
  unreachable,
  type AnyApp,
  type AppShape,
  type ArgsOf,
  type Listener,
  type PageMessages,
  type ResultOf,
  type SendTypeOf,
  type ServerMessages,
  type TypeOf,
} from 'webgram';
import type { Login } from './account.ts';
import { AccountTabs, sendToAll } from './account-tabs.ts';
import { AddressLimits } from './address-limits.ts';
import type { Conn, Saved } from './conn.ts';
import type { SendArgs } from './delivery.ts';
import { answerDevices } from './device-answers.ts';
import type { NewDevice } from './device.ts';
import type { Forked } from './fork-watch.ts';
import { Handlers } from './handlers.ts';
import { BrowserFiles } from './http/browser-files.ts';
import { intercept } from './http/intercept.ts';
import { respondText } from './http/respond.ts';
import { StaticFiles } from './http/static-files.ts';
import { WellKnown, type Discovery } from './http/well-known.ts';
import { loadServerKey } from './key-file.ts';
import type { LinkContext } from './link.ts';
import type { LiveSession } from './live-session.ts';
import { fingerprintOf, nodeCrypto } from './node-crypto.ts';
import { parseOptions, type ServerOptions, type Settings } from './options.ts';
import { Sessions } from './sessions.ts';
import type { StoreChange } from './store/store.ts';
import { Upgrades } from './upgrade.ts';

/** What answers the asks of pages, by type. */
export type Answers<A extends AppShape> = {
  [T in TypeOf<ServerMessages<A>>]?: (
    conn: Conn<A>,
    ...args: ArgsOf<ServerMessages<A>, T>
  ) => ResultOf<ServerMessages<A>, T> | PromiseLike<ResultOf<ServerMessages<A>, T>>;
};

/**
 * - `new`: not started, or a start has failed.
 * - `starting`, `started`.
 * - `closing`, `closed` (final).
 */
type State =
  | { name: 'new' }
  | { name: 'starting'; done: Promise<void> }
  | { name: 'started'; running: Running }
  | { name: 'closing'; done: Promise<void> }
  | { name: 'closed' };

interface Running {
  upgrades: Upgrades;
  /** Gives the HTTP server back, or stops ours. */
  stop: () => Promise<void>;
}

/** How long sockets may take to close after they were told to, in ms. */
const SOCKETS_CLOSE_MS = 1_000;

/**
 * A server of sessions, by itself or on an HTTP server that is there already (`attach`).
 *
 * It starts on the next tick unless `manualStart` is set. Nothing that comes over a socket can end the process, and
 * no handler of the process is touched.
 */
export class Server<A extends AppShape = AnyApp> {
  readonly sessions: Sessions;
  readonly #settings: Settings;
  readonly #handlers: Handlers;
  readonly #files: StaticFiles | undefined;
  readonly #browserFiles: BrowserFiles;
  #state: State = { name: 'new' };
  #port = 0;
  #publicKeys: readonly string[] = [];
  /** Stops listening to the store. */
  #forgetStore: (() => void) | undefined;

  /** @throws {TypeError | RangeError} for options that cannot be meant. */
  constructor(options: ServerOptions = {}) {
    const settings = (this.#settings = parseOptions(options));
    const { root, secrets, browserFolder, log } = settings;
    this.#files = root === undefined ? undefined : new StaticFiles(root, secrets);
    this.#browserFiles = new BrowserFiles(browserFolder);
    this.#handlers = new Handlers(log);
    this.sessions = new Sessions({ ...settings, handlers: this.#handlers });
    this.#handlers.own.set(DEVICES, answerDevices(this.sessions, settings.mayRevoke));
    this.#handlers.own.set(TOO_LARGE, () => {
      throw new AskError(
        'WEBGRAM_MESSAGE_TOO_LARGE',
        `a frame has at most ${settings.limits.maxFrameBytes} bytes`,
      );
    });
    if (options.manualStart !== true) process.nextTick(() => this.#startByItself());
  }

  /** Functions that answer asks: `server.answer.incr = (conn, x) => x + 1`. */
  get answer(): Answers<A> {
    return this.#handlers.answer as Answers<A>;
  }

  set answer(answers: Answers<A>) {
    Object.assign(this.#handlers.answer, answers);
  }

  /**
   * Listens for a message, or for an event of the connections. A listener of a message is a transaction.
   *
   * @returns The function that takes the listener away.
   */
  on<T extends TypeOf<ServerMessages<A>>>(
    type: T,
    listener: (conn: Conn<A>, ...args: ArgsOf<ServerMessages<A>, T>) => unknown,
  ): () => void;
  on(event: '$connect' | '$opened' | '$session-active', listener: (conn: Conn<A>) => unknown): () => void;
  on(event: '$save', listener: (conn: Conn<A>, saved: Saved) => unknown): () => void;
  on(event: '$forked', listener: (session: LiveSession<A>, forked: Forked) => unknown): () => void;
  on(event: '$login', listener: (conn: Conn<A>, login: Login) => unknown): () => void;
  on(event: '$new-device', listener: (conn: Conn<A>, device: NewDevice) => unknown): () => void;
  on(event: '$closed', listener: (conn: Conn<A>, reason: string) => unknown): () => void;
  on(type: string, listener: Listener): () => void {
    return this.#handlers.on(type, listener);
  }

  /** Like `on`, for one call. */
  once<T extends TypeOf<ServerMessages<A>>>(
    type: T,
    listener: (conn: Conn<A>, ...args: ArgsOf<ServerMessages<A>, T>) => unknown,
  ): () => void;
  once(event: '$connect' | '$opened' | '$session-active', listener: (conn: Conn<A>) => unknown): () => void;
  once(event: '$save', listener: (conn: Conn<A>, saved: Saved) => unknown): () => void;
  once(event: '$forked', listener: (session: LiveSession<A>, forked: Forked) => unknown): () => void;
  once(event: '$login', listener: (conn: Conn<A>, login: Login) => unknown): () => void;
  once(event: '$new-device', listener: (conn: Conn<A>, device: NewDevice) => unknown): () => void;
  once(event: '$closed', listener: (conn: Conn<A>, reason: string) => unknown): () => void;
  once(type: string, listener: Listener): () => void {
    return this.#handlers.once(type, listener);
  }

  /** All connections of all sessions in memory; some may be offline. */
  get connections(): ReadonlySet<Conn<A>> {
    const all = new Set<Conn<A>>();
    for (const session of this.sessions.live.values()) {
      for (const conn of session.conns) all.add(conn);
    }
    return all;
  }

  /** A person: all tabs of all browsers that are logged in as that account. */
  account(name: string): AccountTabs<A> {
    return new AccountTabs<A>(name, () => this.sessions.liveOf(name) as ReadonlySet<LiveSession<A>>);
  }

  /**
   * Sends a message to the tabs of every session in memory; `{ deliver }` behind the arguments is for each session.
   *
   * @returns How many tabs it is meant for.
   */
  send<T extends SendTypeOf<PageMessages<A>>>(type: T, ...args: SendArgs<A, T>): number {
    return sendToAll(this.sessions.live.values() as Iterable<LiveSession<A>>, type, ...args);
  }

  /** Port that it listens on; 0 until it has started. */
  get port(): number {
    return this.#port;
  }

  /**
   * The server's public keys in base64url: the one that signs, then the one that is announced. Pages can be built with
   * them (`pins`). None until it has started.
   */
  get publicKeys(): readonly string[] {
    return this.#publicKeys;
  }

  /** `port`, as the original package calls it. */
  get assignedPort(): number {
    return this.#port;
  }

  /** Where to point a browser: `publicUrl`, else `http://localhost:<port>/`. */
  get siteURL(): string {
    const { policy } = this.#settings;
    return `${policy.publicOrigin ?? `http://${localName(this.#settings.hostname)}:${this.#port}`}/`;
  }

  /** Address of the WebSocket. */
  get address(): string {
    return new URL(this.#settings.path, this.siteURL).href.replace(/^http/, 'ws');
  }

  /** WebSockets that are open, whether they have proved themselves or not. */
  get sockets(): number {
    return this.#state.name === 'started' ? this.#state.running.upgrades.size : 0;
  }

  /** Upgrades that wait for a place, because too many sockets of their address have not proved themselves. */
  get waiting(): number {
    return this.#state.name === 'started' ? this.#state.running.upgrades.waiting : 0;
  }

  /**
   * Opens the store and listens. Idempotent; after a failure it may be tried again.
   *
   * @throws when the port is taken or the store cannot be opened, with what to do.
   */
  start(): Promise<void> {
    const state = this.#state;
    switch (state.name) {
      case 'starting':
        return state.done;
      case 'started':
        return Promise.resolve();
      case 'closing':
      case 'closed':
        return Promise.reject(
          new TypeError('a server that was closed cannot be started again; make a new one'),
        );
      case 'new': {
        const done = this.#start().then(
          (running) => {
            this.#state = { name: 'started', running };
          },
          (error: unknown) => {
            this.#state = { name: 'new' };
            throw error;
          },
        );
        this.#state = { name: 'starting', done };
        return done;
      }
    }
  }

  /**
   * Drains: clients are told to come back, handlers finish, what is to be committed is committed; then it ends.
   * Idempotent. What has not finished after `drainMs` is cut off.
   */
  async close(): Promise<void> {
    // A start that fails is told to whoever called start.
    if (this.#state.name === 'starting') await this.#state.done.catch(() => undefined);
    const state = this.#state;
    if (state.name === 'started' || state.name === 'new') {
      const done = this.#close(state.name === 'started' ? state.running : undefined).finally(() => {
        this.#state = { name: 'closed' };
      });
      this.#state = { name: 'closing', done };
    }
    if (this.#state.name === 'closing') await this.#state.done;
  }

  /** `close`, as the original package calls it. */
  stop(): Promise<void> {
    return this.close();
  }

  /**
   * Makes a copy of the store while it serves on: what was acknowledged when it was called is in it. A server that is
   * started on the copy, with the same key file, goes on from there.
   *
   * @param folder Must not exist, or be empty.
   * @throws {WebgramError} `WEBGRAM_BACKUP_FAILED`, `WEBGRAM_STORE_CLOSED`.
   */
  backup(folder: string): Promise<void> {
    return this.#settings.store.backup(folder);
  }

  #startByItself(): void {
    if (this.#state.name !== 'new') return;
    this.start().catch((error: unknown) => {
      this.#settings.log.error({ error }, 'the server could not be started');
    });
  }

  async #start(): Promise<Running> {
    const { store, server } = this.#settings;
    await store.open();
    this.#forgetStore?.();
    this.#forgetStore = store.onChange((change) => {
      this.#storeChanged(change);
    });
    try {
      const upgrades = new Upgrades({
        path: this.#settings.path,
        policy: this.#settings.policy,
        proxies: this.#settings.proxies,
        sealed: this.#settings.sealed,
        context: await this.#linkContext(),
      });
      try {
        this.sessions.start();
        const stop = server === undefined ? await this.#listen(upgrades) : this.#join(server, upgrades);
        return { upgrades, stop };
      } catch (error) {
        await upgrades.close(0);
        throw error;
      }
    } catch (error) {
      await store.close();
      throw error;
    }
  }

  async #close(running: Running | undefined): Promise<void> {
    const { store, drainMs } = this.#settings;
    running?.upgrades.drain();
    await this.sessions.close(drainMs);
    await running?.upgrades.close(SOCKETS_CLOSE_MS);
    await running?.stop();
    if (running !== undefined) await store.close();
    this.#forgetStore?.();
  }

  #storeChanged(change: StoreChange): void {
    const { log } = this.#settings;
    switch (change.name) {
      case 'away':
        log.error(
          { error: change.error },
          'the store takes no writes: nothing is acknowledged until it does',
        );
        return;
      case 'back':
        log.warn({}, 'the store takes writes again');
        void this.sessions.compareTags();
        return;
      default:
        unreachable(change);
    }
  }

  async #linkContext(): Promise<LinkContext> {
    const { store, key, limits, lifetime, clock, log, acceptOlderStore } = this.#settings;
    const { key: serverKey, other, isNew } = await loadServerKey(key, log);
    if (isNew && key.name === 'file' && (await store.nextSessionID()) > 1) {
      const fields = { file: key.path, fingerprint: fingerprintOf(serverKey.publicKey) };
      log.error(
        fields,
        "the server's key was missing and a new one was made: clients that know the old key stay away",
      );
    }
    const keys = other === undefined ? [serverKey] : [serverKey, other];
    this.#publicKeys = keys.map(({ publicKey }) => toBase64url(publicKey));
    let behindAtMs = -Infinity;
    return {
      crypto: nodeCrypto,
      serverKey,
      otherServerKey: other?.publicKey ?? null,
      store,
      sessions: this.sessions,
      limits,
      lifetime,
      addresses: new AddressLimits(limits),
      clock,
      log,
      storeIsBehind: (sessionID) => {
        // Anybody can claim any number, so this must not fill the log.
        if (performance.now() - behindAtMs < 60_000) return acceptOlderStore;
        behindAtMs = performance.now();
        const message = 'a client names a session that this store has not made yet: is it an older copy?';
        const what = acceptOlderStore
          ? 'It is denied, and sets its identity aside'
          : 'Bring the newer one back, or accept the loss: acceptOlderStore: true';
        log.error({ sessionID }, `${message} ${what} (1 a minute)`);
        return acceptOlderStore;
      },
    };
  }

  async #listen(upgrades: Upgrades): Promise<() => Promise<void>> {
    const { port, hostname, log } = this.#settings;
    const wellKnown = this.#wellKnown(upgrades);
    const http = createServer((req, res) => {
      this.#respond(req, res, () => {
        if (wellKnown.owns(req)) return wellKnown.handle(req, res);
        if (this.#files !== undefined) return this.#files.handle(req, res);
        respondText(res, 404);
      });
    });
    http.on('upgrade', (req, socket, head) => {
      upgrades.handle(req, socket, head);
    });
    await new Promise<void>((resolve, reject) => {
      http.once('error', (error) => {
        reject(listenError(error, port));
      });
      http.listen({ port, host: hostname }, resolve);
    });
    http.on('error', (error) => {
      log.error({ error }, 'the HTTP server failed');
    });
    this.#port = portOf(http);
    return async () => {
      const closed = new Promise<void>((resolve) => {
        http.close(() => {
          resolve();
        });
      });
      http.closeIdleConnections();
      const deadline = setTimeout(() => {
        http.closeAllConnections();
      }, SOCKETS_CLOSE_MS);
      await closed;
      clearTimeout(deadline);
    };
  }

  #join(server: HttpServer | HttpsServer, upgrades: Upgrades): () => Promise<void> {
    const wellKnown = this.#wellKnown(upgrades);
    const giveBack = intercept(server, {
      request: (req, res) => {
        if (!wellKnown.owns(req)) return false;
        this.#respond(req, res, () => wellKnown.handle(req, res));
        return true;
      },
      upgrade: (req: IncomingMessage, socket: Duplex, head: Buffer, isOnlyOne: boolean) => {
        // What nobody else can want is refused by us, or its socket would stay open for ever.
        const isOurs = upgrades.owns(req) || isOnlyOne;
        if (isOurs) upgrades.handle(req, socket, head);
        return isOurs;
      },
    });
    const readPort = (): void => {
      this.#port = portOf(server);
    };
    if (server.listening) readPort();
    else server.once('listening', readPort);
    return async () => {
      server.off('listening', readPort);
      giveBack();
    };
  }

  #wellKnown(upgrades: Upgrades): WellKnown {
    return new WellKnown({
      files: this.#browserFiles,
      workerFile: __WEBGRAM_WORKER_FILE__,
      socketPath: this.#settings.path,
      describe: (req): Pick<Discovery, 'wsAddress' | 'refused'> => upgrades.describe(req),
    });
  }

  /** Runs a request handler; whatever it throws is answered with 500 and goes no further. */
  #respond(req: IncomingMessage, res: ServerResponse, handle: () => void | Promise<void>): void {
    new Promise<void>((resolve) => {
      resolve(handle());
    }).catch((error: unknown) => {
      this.#settings.log.error({ error, method: req.method }, 'a request could not be answered');
      if (res.headersSent) res.destroy();
      else respondText(res, 500);
    });
  }
}

function portOf(server: HttpServer | HttpsServer): number {
  const address = server.address();
  return typeof address === 'object' && address !== null ? address.port : 0;
}

function localName(hostname: string | undefined): string {
  if (hostname === undefined || hostname === '0.0.0.0' || hostname === '::') return 'localhost';
  return hostname.includes(':') ? `[${hostname}]` : hostname;
}

/** Says what to do; `code` stays as Node gives it. */
function listenError(error: NodeJS.ErrnoException, port: number): Error {
  const messages: Record<string, string> = {
    EADDRINUSE: `port ${port} is taken by another program: stop it, or choose another port (port, --port or PORT)`,
    EACCES: `port ${port} is not allowed for this user: choose one above 1023 (port, --port or PORT)`,
  };
  const message =
    messages[error.code ?? ''] ?? `the server cannot listen on port ${port} (${error.code ?? error.message})`;
  return Object.assign(new Error(message, { cause: error }), { code: error.code });
}

import { CLOSE, decodeJson, WebgramError, type DeviceSession } from 'webgram';
import { fromDataRow } from './data-version.ts';
import { deviceSession, parseDeviceName } from './device.ts';
import { TOMBSTONE_MS } from './lifetime.ts';
import { LiveSession } from './live-session.ts';
import type { SessionContext } from './session-context.ts';
import type { SessionSummary } from './store/store.ts';

export type SessionsOptions = Omit<SessionContext, 'ended' | 'bound'>;

/** Which sessions of an account to list. */
export interface ListOptions {
  /** The session that asks: it is marked as `isCurrent`. */
  current?: number;
  /** Begins behind this sessionID: the last one of the page before. Default 0. */
  after?: number;
  /** Longest page. Default 100, at most 1,000. */
  limit?: number;
}

const DEFAULT_PAGE = 100;
const MAX_PAGE = 1_000;

/** How often ended lifetimes are looked for, and how many are ended at a time. */
const DUE_EVERY_MS = 2_000;
const DUE_LIMIT = 500;

/** How often tombstones that are old enough are forgotten, in ms. */
const FORGET_EVERY_MS = 60_000;

/** The sessions in this node's memory, each loaded once. */
export class Sessions {
  readonly #options: SessionsOptions;
  /** One for all, whatever else the options hold. */
  readonly #context: SessionContext;
  readonly #live = new Map<number, LiveSession>();
  readonly #byAccount = new Map<string, Set<LiveSession>>();
  readonly #loading = new Map<number, Promise<LiveSession>>();
  readonly #sweeper: NodeJS.Timeout;
  #dueSweeper: NodeJS.Timeout | undefined;
  #sweeping: Promise<void> | undefined;
  #forgottenAtMs = -Infinity;
  #isClosing = false;

  constructor(options: SessionsOptions) {
    this.#options = options;
    this.#context = {
      ...options,
      bound: (session, before) => {
        const live = this.#live.get(session.sessionID);
        // One that has left in the middle of it is listed nowhere.
        if (live !== session || live === undefined) return;
        this.#unlist(live, before);
        this.#list(live);
      },
      ended: (session) => {
        const live = this.#live.get(session.sessionID);
        if (live !== session || live === undefined) return;
        this.#live.delete(live.sessionID);
        this.#unlist(live, live.account);
      },
    };
    this.#sweeper = setInterval(
      () => {
        for (const session of [...this.#live.values()]) session.sweep();
      },
      Math.max(1, options.retention.streamGraceMs / 8),
    );
    this.#sweeper.unref();
  }

  /** Sessions in memory. */
  get live(): ReadonlyMap<number, LiveSession> {
    return this.#live;
  }

  /**
   * Returns the live session, loading it when it is not in memory.
   *
   * @throws {WebgramError} `WEBGRAM_SESSION_ENDED` when the store has no such session, `WEBGRAM_CLOSED` while closing.
   */
  async open(sessionID: number): Promise<LiveSession> {
    if (this.#isClosing)
      throw new WebgramError('WEBGRAM_CLOSED', 'the server is closing', { retryable: true });
    const live = this.#live.get(sessionID);
    if (live?.isLive === true) return live;
    const loading = this.#loading.get(sessionID) ?? this.#load(sessionID);
    this.#loading.set(sessionID, loading);
    try {
      return await loading;
    } finally {
      this.#loading.delete(sessionID);
    }
  }

  /**
   * Takes the session's link: returns a generation larger than every one before.
   *
   * @throws {WebgramError} `WEBGRAM_SESSION_ENDED` when the store has no such session.
   */
  async claim(sessionID: number): Promise<number> {
    // What loads now may have read the generation before ours, and would commit in vain.
    await this.#loading.get(sessionID)?.catch(() => undefined);
    const { store, clock } = this.#options;
    const claim = (): Promise<number> => store.claim(sessionID, clock());
    const live = this.#live.get(sessionID);
    if (live?.isLive !== true) return claim();
    const generation = await live.claim(claim);
    // Another node may have had the session since, and what this one holds in memory would go on being served.
    await live.compareTag();
    return generation;
  }

  /** Sessions in memory that are bound to an account. */
  liveOf(account: string): ReadonlySet<LiveSession> {
    return this.#byAccount.get(account) ?? new Set();
  }

  /**
   * Lists the sessions that are bound to an account, in the order of their ids.
   *
   * @returns One page; the next one begins `after` its last `sessionID`, and an empty one is the end.
   * @throws {RangeError}
   */
  async list(
    account: string,
    { current, after = 0, limit = DEFAULT_PAGE }: ListOptions = {},
  ): Promise<DeviceSession[]> {
    if (!Number.isSafeInteger(after) || after < 0) throw new RangeError("'after' must be a sessionID, or 0");
    if (!Number.isSafeInteger(limit) || limit < 1 || limit > MAX_PAGE) {
      throw new RangeError(`'limit' must be an integer from 1 to ${MAX_PAGE}`);
    }
    const found = await this.#options.store.summariesOf(account, after, limit);
    return found.map((summary) => this.#toDevice(summary, current));
  }

  /** Finds one session, whether it is in memory or not; `undefined` when there is none. */
  async get(sessionID: number): Promise<DeviceSession | undefined> {
    const summary = await this.#options.store.summary(sessionID);
    return summary && this.#toDevice(summary, undefined);
  }

  #toDevice(summary: SessionSummary, currentID: number | undefined): DeviceSession {
    const isOnline = this.#live.get(summary.sessionID)?.isOnline === true;
    return deviceSession(summary, { isOnline, nowMs: this.#options.clock(), currentID });
  }

  /**
   * Gives a session's device a name for lists, of at most 64 characters; an empty one takes it away.
   *
   * @param account Only if the session is bound to it. Default: whoever it belongs to.
   * @returns Whether there is such a session.
   * @throws {TypeError | RangeError}
   */
  async rename(sessionID: number, name: string, account?: string): Promise<boolean> {
    const change = { name: parseDeviceName(name) };
    const isFound = await this.#options.store.updateDevice(sessionID, change, account);
    if (isFound) this.#live.get(sessionID)?.deviceChanged(change);
    return isFound;
  }

  /**
   * Ends a session for good: its key is answered with `revoked` from then on, its link and conns end at once.
   *
   * @param account Only if the session is bound to it at that moment. Default: whoever it belongs to.
   * @returns Whether there was one, once that is durable.
   */
  async revoke(sessionID: number, account?: string): Promise<boolean> {
    const { store, clock } = this.#options;
    const end = (): Promise<boolean> => store.end(sessionID, 'revoked', clock(), account);
    const live = this.#live.get(sessionID);
    const wasAlive = live?.isLive === true ? await live.revoke(end) : await end();
    if (!wasAlive && account !== undefined) return false;
    // What is being loaded may have been read before.
    await this.#loading.get(sessionID)?.catch(() => undefined);
    this.#live.get(sessionID)?.end('revoked', CLOSE.revoked);
    return wasAlive;
  }

  /**
   * Ends every other session of the account that a session is bound to, those included that log in meanwhile.
   *
   * @returns How many there were, once that is durable; 0 when it is bound to none.
   */
  async revokeOthers(sessionID: number): Promise<number> {
    const { store } = this.#options;
    const account = (await store.summary(sessionID))?.account;
    if (account === undefined) return 0;
    let count = 0;
    for (;;) {
      const page = await store.summariesOf(account, 0, MAX_PAGE);
      const others = page.filter((one) => one.sessionID !== sessionID);
      if (others.length === 0) return count;
      const ended = await Promise.all(others.map((one) => this.revoke(one.sessionID, account)));
      count += ended.filter(Boolean).length;
    }
  }

  /** Begins to end sessions whose lifetime is over. The store must be open. */
  start(): void {
    this.#dueSweeper ??= setInterval(() => void this.sweepDue(), DUE_EVERY_MS);
    this.#dueSweeper.unref();
  }

  /** Ends sessions whose lifetime is over, links or not, and forgets old tombstones. Does not reject. */
  sweepDue(): Promise<void> {
    this.#sweeping ??= this.#sweepDue()
      .catch((error: unknown) => {
        this.#options.log.debug({ error }, 'sessions whose lifetime is over could not be ended');
      })
      .finally(() => {
        this.#sweeping = undefined;
      });
    return this.#sweeping;
  }

  /**
   * Ends a session when its lifetime is over: its link is told, its key becomes a tombstone.
   *
   * @returns Whether it was over.
   */
  async expire(sessionID: number): Promise<boolean> {
    const { store, clock } = this.#options;
    const live = this.#live.get(sessionID) ?? (await this.#loading.get(sessionID)?.catch(() => undefined));
    const nowMs = clock();
    if (live?.isLive === true && !live.isOver(nowMs)) {
      // The store is told of what moves its end now and then only.
      await live.writeExtension();
      return false;
    }
    live?.end('expired', CLOSE.revoked);
    return store.expire(sessionID, nowMs);
  }

  /** Ends the sessions in memory that are not what the store holds, after it was away. */
  async compareTags(): Promise<void> {
    await Promise.all([...this.#live.values()].map((session) => session.compareTag()));
  }

  async #sweepDue(): Promise<void> {
    const { store, clock } = this.#options;
    const nowMs = clock();
    for (const sessionID of await store.due(nowMs, DUE_LIMIT)) await this.expire(sessionID);
    if (nowMs - this.#forgottenAtMs < FORGET_EVERY_MS) return;
    this.#forgottenAtMs = nowMs;
    await store.forgetEnded(nowMs - TOMBSTONE_MS, DUE_LIMIT);
  }

  /** Drains all: what is to be committed is committed, links are told to come back. Cut short at the deadline. */
  async close(deadlineMs: number): Promise<void> {
    this.#isClosing = true;
    clearInterval(this.#sweeper);
    clearInterval(this.#dueSweeper);
    await this.#sweeping;
    const drained = Promise.all([...this.#live.values()].map((session) => session.drain()));
    let timer: NodeJS.Timeout | undefined;
    const deadline = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, deadlineMs);
    });
    await Promise.race([drained, deadline]);
    clearTimeout(timer);
    for (const session of [...this.#live.values()]) session.end('draining', CLOSE.draining);
  }

  #list(session: LiveSession): void {
    const { account } = session;
    if (account === undefined) return;
    this.#byAccount.set(account, (this.#byAccount.get(account) ?? new Set()).add(session));
  }

  #unlist(session: LiveSession, account: string | undefined): void {
    if (account === undefined) return;
    const sessions = this.#byAccount.get(account);
    if (sessions?.delete(session) === true && sessions.size === 0) this.#byAccount.delete(account);
  }

  async #load(sessionID: number): Promise<LiveSession> {
    const { store, clock } = this.#options;
    const stored = await store.load(sessionID, clock());
    if (stored === undefined) throw new WebgramError('WEBGRAM_SESSION_ENDED', 'there is no such session');
    const fromClient = stored.fromClient === undefined ? undefined : decodeJson(stored.fromClient);
    const { text: data, isUpgraded } = await fromDataRow(stored.data, this.#options);
    const session = new LiveSession(stored, { fromClient, data, isUpgraded }, this.#context);
    this.#live.set(sessionID, session);
    this.#list(session);
    return session;
  }
}

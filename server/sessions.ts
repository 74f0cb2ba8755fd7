import { CLOSE, decodeJson, WebgramError } from 'webgram';
import { fromDataRow } from './data-version.ts';
import { LiveSession, type SessionContext } from './live-session.ts';

export type SessionsOptions = Omit<SessionContext, 'ended'>;

/** The sessions in this node's memory, each loaded once. */
export class Sessions {
  readonly #options: SessionsOptions;
  readonly #live = new Map<number, LiveSession>();
  readonly #loading = new Map<number, Promise<LiveSession>>();
  readonly #sweeper: NodeJS.Timeout;
  #isClosing = false;

  constructor(options: SessionsOptions) {
    this.#options = options;
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
    return live?.isLive === true ? live.claim(claim) : claim();
  }

  /**
   * Ends a session for good: its key is answered with `revoked` from then on, its link and conns end at once.
   *
   * @returns Whether there was one, once that is durable.
   */
  async revoke(sessionID: number): Promise<boolean> {
    const { store, clock } = this.#options;
    const wasAlive = await store.end(sessionID, 'revoked', clock());
    // What is being loaded may have been read before.
    await this.#loading.get(sessionID)?.catch(() => undefined);
    this.#live.get(sessionID)?.end('revoked', CLOSE.revoked);
    return wasAlive;
  }

  /** Drains all: what is to be committed is committed, links are told to come back. Cut short at the deadline. */
  async close(deadlineMs: number): Promise<void> {
    this.#isClosing = true;
    clearInterval(this.#sweeper);
    const drained = Promise.all([...this.#live.values()].map((session) => session.drain()));
    let timer: NodeJS.Timeout | undefined;
    const deadline = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, deadlineMs);
    });
    await Promise.race([drained, deadline]);
    clearTimeout(timer);
    for (const session of [...this.#live.values()]) session.end('draining', CLOSE.draining);
  }

  async #load(sessionID: number): Promise<LiveSession> {
    const { store, clock } = this.#options;
    const stored = await store.load(sessionID, clock());
    if (stored === undefined) throw new WebgramError('WEBGRAM_SESSION_ENDED', 'there is no such session');
    const fromClient = stored.fromClient === undefined ? undefined : decodeJson(stored.fromClient);
    const { text: data, isUpgraded } = await fromDataRow(stored.data, this.#options);
    const session = new LiveSession(
      stored,
      { fromClient, data, isUpgraded },
      {
        ...this.#options,
        ended: () => {
          if (this.#live.get(sessionID) === session) this.#live.delete(sessionID);
        },
      },
    );
    this.#live.set(sessionID, session);
    return session;
  }
}

import { unreachable, WebgramError, type Listener } from 'webgram';
import { encodeProfile, recordOf, type Profile, type SessionRecord } from './account.ts';
import type { Committer } from './committer.ts';
import type { Handlers } from './handlers.ts';
import type { SessionData } from './session-data.ts';
import type { SessionLink } from './session-link.ts';
import type { Account, Renewed, Store, StoredSession } from './store/store.ts';

export interface SessionAccountOptions {
  store: Store;
  /** Server time in ms since 1970. */
  clock: () => number;
  handlers: Handlers;
  data: SessionData;
  committer: Committer;
  /** The one that serves the session now. */
  link: () => SessionLink | null;
  /** A renewal was begun: its answer must be read. */
  renewing: () => void;
  /** It belongs to another account from now on. */
  bound: (before: string | undefined) => void;
}

/** Whose a session is. With every login and logout the session gets another key, in the same durable write. */
export class SessionAccount {
  readonly #sessionID: number;
  readonly #createdMs: number;
  readonly #options: SessionAccountOptions;
  #account: Account | undefined;

  constructor(
    { sessionID, createdMs, account: name, profile }: StoredSession,
    options: SessionAccountOptions,
  ) {
    this.#sessionID = sessionID;
    this.#createdMs = createdMs;
    this.#account = name === undefined ? undefined : { name, profile };
    this.#options = options;
  }

  /** User id since the last `login`; `undefined` for none. */
  get name(): string | undefined {
    return this.#account?.name;
  }

  get record(): SessionRecord {
    return recordOf(this.#sessionID, this.#createdMs, this.#account);
  }

  /**
   * Binds the session to a user; see `Conn.login`.
   *
   * @param conn Through which it was asked for; its listeners are told.
   */
  async login(
    conn: { listenersOf(type: string): readonly Listener[] },
    name: string,
    profile: Profile,
  ): Promise<void> {
    const account = { name, profile: encodeProfile(name, profile) };
    const bound = this.name;
    if (bound !== undefined && bound !== name) {
      throw new WebgramError(
        'WEBGRAM_ACCOUNT_BOUND',
        'the session belongs to another account: log out first',
      );
    }
    await this.#renew(account, false);
    const { handlers } = this.#options;
    const login = { account: name, profile: this.record.profile };
    void handlers.emit('$login', conn.listenersOf('$login'), login);
    void handlers.emit('$login', handlers.of('$login'), conn, login);
  }

  /** Takes the user and all data away; see `Conn.logout`. */
  logout(): Promise<void> {
    return this.#renew(undefined, true);
  }

  /** Gives the session another key, and with the same write another account. */
  async #renew(account: Account | undefined, clearsData: boolean): Promise<void> {
    const { store, clock, data, committer } = this.#options;
    const link = this.#options.link();
    if (link === null) {
      const message = 'the session has no link now; nothing has changed';
      throw new WebgramError('WEBGRAM_CLOSED', message, { retryable: true });
    }
    const renewing = link.renew((key, replacedKeyID) =>
      committer.alone(async () => {
        const { generation } = link;
        const sessionID = this.#sessionID;
        const written = { sessionID, replacedKeyID, generation, ...key, account, clearsData };
        checkRenewed(await store.renew({ ...written, nowMs: clock() }));
        const before = this.name;
        this.#account = account;
        this.#options.bound(before);
        if (!clearsData) return;
        data.clear();
        committer.dataCleared();
      }),
    );
    this.#options.renewing();
    await renewing;
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

import type { Device } from 'webgram';

/** How a session's key came to its end. What is left of it is a tombstone. */
export type EndReason = 'revoked' | 'expired' | 'renewed';

/** What the store knows of one identity key; found by its keyID. */
export interface KeyRow {
  sessionID: number;
  /** Uncompressed P-256 point, 65 bytes. */
  publicKey: Uint8Array;
  /** When the session was created, in ms since 1970; absent on a tombstone. */
  createdMs?: number;
  /** When the session ends unless it is extended, in ms since 1970; absent for no end and on a tombstone. */
  expiresAtMs?: number;
  /** Present on a tombstone. */
  ended?: { reason: EndReason; atMs: number };
}

/** Properties of a device that are set, or taken away with `undefined`. */
export type DeviceChange = { [Name in keyof Device]?: Device[Name] | undefined };

/** A session as a list of devices shows it, read without loading it. */
export interface SessionSummary {
  sessionID: number;
  account: string | undefined;
  createdMs: number;
  /** Start of the newest visit, or the newest link, whichever is later. */
  lastUsedMs: number;
  device: Device;
  /** `markForked` was called since the session has its key. */
  forked: boolean;
}

/** A session to create. Idempotent by `keyID`. */
export interface NewSession {
  /** Unpadded base64url of the first 16 bytes of SHA-256 of `publicKey`. */
  keyID: string;
  /** Uncompressed P-256 point, 65 bytes. */
  publicKey: Uint8Array;
  nowMs: number;
  /** When it ends unless it is extended, in ms since 1970; `undefined` for no end. */
  expiresAtMs?: number | undefined;
  /** Encoded JSON of what the client passed at creation; `undefined` when it passed nothing. */
  fromClient: string | undefined;
  /** Default: nothing is known of it. */
  device?: Device | undefined;
}

export type Created = { sessionID: number; created: boolean } | { ended: EndReason };

/** Who a session belongs to since the last login. */
export interface Account {
  /** The application's user id. */
  name: string;
  /** Encoded JSON of what the application says of the user, such as label and picture. */
  profile: string | undefined;
}

/** Another key for a session: the end of a renewal. */
export interface NewKey {
  sessionID: number;
  /** The key that is replaced, which must still be the session's. */
  replacedKeyID: string;
  /** Of the link on which it happens, which must still be the newest that was claimed. */
  generation: number;
  keyID: string;
  /** Uncompressed P-256 point, 65 bytes. */
  publicKey: Uint8Array;
  /** From now on; `undefined` for none. */
  account: Account | undefined;
  /** Deletes the encoded `sessionData` in the same write. */
  clearsData: boolean;
  nowMs: number;
}

/**
 * How a renewal has ended; everything but `renewed` has written nothing.
 *
 * - `superseded`: a newer link was claimed, or the session has another key by now.
 * - `known`: the store knows the new key already, alive or as a tombstone.
 * - `gone`: there is no such session.
 */
export type Renewed = 'renewed' | 'superseded' | 'known' | 'gone';

/** When the visitor was here, in ms since 1970. */
export interface Visits {
  firstMs: number;
  previousMs?: number;
  latestMs: number;
}

/** Last commit number of each life that committed: `[life, commit]`, lives ascending. */
export type Lineage = readonly (readonly [life: number, commit: number])[];

/** A session as read from the store at the beginning of a life. */
export interface StoredSession {
  sessionID: number;
  keyID: string;
  createdMs: number;
  /** When it ends unless it is extended, in ms since 1970; `undefined` for no end. */
  expiresAtMs: number | undefined;
  /** The account it is bound to. */
  account: string | undefined;
  /** What the application says of the account's user, as it was given. */
  profile: string | undefined;
  fromClient: string | undefined;
  /** Of the newest link that was claimed; 0 for none. */
  generation: number;
  /** This life: larger than every life before. */
  life: number;
  /** Random version tag, written by this load; the next commit must expect it. */
  tag: string;
  lineage: Lineage;
  /** Encoded `sessionData`; `undefined` when nothing was saved yet. */
  data: string | undefined;
  /** Encoded stream state by tabID. */
  streams: Map<string, string>;
  visits: Visits;
  device: Device;
}

/** One session's share of a write: applied whole or not at all. */
export interface Commit {
  sessionID: number;
  /** The tag that the session's head must carry; another one refuses the commit. */
  expectedTag: string;
  /** The tag that the head carries afterwards. */
  tag: string;
  /** Of the newest link that the writer knows of; a newer one that was claimed refuses the commit. */
  generation: number;
  lineage: Lineage;
  /** Encoded `sessionData` when it has changed. */
  data?: string;
  /** Stream rows that have changed: encoded state, or `null` to delete the row. */
  streams: Map<string, string | null>;
}

/**
 * The medium of a store fails, or does so no longer.
 *
 * - `away`: writes are refused for now; `error` says why. Those that were under way have an unknown outcome.
 * - `back`: it works again. What memory holds of a session may be ahead of the store: compare `headTag`.
 */
export type StoreChange = { name: 'away'; error: Error } | { name: 'back' };

/**
 * Where sessions are kept. Every implementation passes the conformance suite unchanged.
 *
 * Writes that return have been made durable unless the method says otherwise. A store is opened once and
 * closed once. All methods reject with `WEBGRAM_STORE_CLOSED` outside of that, with `WEBGRAM_STORE_FULL` when
 * there is no space left, and with `WEBGRAM_STORE_FAILED` when the medium fails otherwise (`retryable` tells
 * whether it may pass). A write that rejects with one of these two may have been made or not.
 */
export interface Store {
  /** `memory`, `level` or `redis`. */
  readonly kind: string;
  /**
   * Opens the store, creating it when there is none.
   *
   * @throws {WebgramError} `WEBGRAM_STORE_LOCKED` when another process has it open,
   * `WEBGRAM_STORE_CORRUPT` when its content cannot be understood, or some of what was acknowledged is missing.
   */
  open(): Promise<void>;
  /** Waits for writes in flight, then closes. Idempotent. */
  close(): Promise<void>;
  /** Names this store: 16 random bytes made when it was created. */
  readonly storeID: Uint8Array;
  /**
   * Listens for the medium going away and coming back.
   *
   * @returns The function that takes the listener away.
   */
  onChange(listener: (change: StoreChange) => void): () => void;
  /**
   * Makes a copy of the store as it is at one moment, while it serves on: the same storeID, sessions and tombstones.
   *
   * @param folder Must not exist, or be empty.
   * @throws {WebgramError} `WEBGRAM_BACKUP_FAILED` when it could not be made; the store is as before.
   */
  backup(folder: string): Promise<void>;

  /** The lowest sessionID that was never dispensed. */
  nextSessionID(): Promise<number>;
  /**
   * Creates a session under the next sequence number, or finds the one that the same key has made before.
   * The id, the key and the session are one synced write. An id is never dispensed twice, also not after a
   * crash; calls at the same time with the same key make one session.
   */
  create(session: NewSession): Promise<Created>;
  /** Finds a key, alive or a tombstone. */
  findKey(keyID: string): Promise<KeyRow | undefined>;
  /**
   * Takes the session's link: returns a generation larger than every one before, at least `nowMs`.
   * It need not survive a loss of power; the clock makes up for it.
   *
   * @throws {WebgramError} `WEBGRAM_SESSION_ENDED` when there is no such session.
   */
  claim(sessionID: number, nowMs: number): Promise<number>;
  /**
   * Begins a life of the session: writes a new life (at least `nowMs`, larger than every one before) with a
   * new random tag, which refuses the commits of whoever held the session before, then reads it.
   *
   * @returns `undefined` when there is no such session.
   */
  load(sessionID: number, nowMs: number): Promise<StoredSession | undefined>;
  /**
   * Writes what one session has changed, whole or not at all, synced. Commits that are ready together go to
   * the medium as one synced batch.
   *
   * @throws {WebgramError} `WEBGRAM_STORE_CONFLICT` when the head carries another tag, a newer link was claimed, or the
   * session is gone; nothing of the commit is written then.
   */
  commit(commit: Commit): Promise<void>;
  /**
   * Gives a session another key, in one synced write: the new key finds it, the old one becomes a tombstone
   * `renewed`, the account is as given, and it is marked as forked no more. Life, tag and generation stay.
   */
  renew(key: NewKey): Promise<Renewed>;
  /** The tag that the session's head carries now; `undefined` when it was never loaded or has ended. */
  headTag(sessionID: number): Promise<string | undefined>;
  /** Writes when the visitor was here: a small row of its own, batched, not synced. */
  writeVisits(sessionID: number, visits: Visits): Promise<void>;
  /**
   * Ends a session: its rows go, its key becomes a tombstone, in one synced write. Nothing in flight revives it.
   *
   * @param account Only if it is bound to this account at that moment. Default: whoever it belongs to.
   * @returns Whether it was alive, and the account's.
   */
  end(sessionID: number, reason: EndReason, nowMs: number, account?: string): Promise<boolean>;

  /**
   * Moves the moment at which a session ends unless it is extended again; `undefined` for never. A small row of its
   * own, batched, not synced. Does nothing for a session that has ended.
   */
  extend(sessionID: number, expiresAtMs: number | undefined): Promise<void>;
  /**
   * Finds sessions whose end has come: `expiresAtMs` at or before `nowMs`, the earliest first, at most `limit`.
   * Extensions under way need not be seen; `expire` looks again.
   */
  due(nowMs: number, limit: number): Promise<number[]>;
  /**
   * Ends a session with reason `expired` if its end has come by then.
   *
   * @returns Whether it has.
   */
  expire(sessionID: number, nowMs: number): Promise<boolean>;
  /**
   * Forgets tombstones that are older, at most `limit`. Their keys are unknown from then on; their ids stay given.
   *
   * @returns How many.
   */
  forgetEnded(beforeMs: number, limit: number): Promise<number>;

  /**
   * Binds a session to an account without a profile, or to none. Does nothing when it is bound to it already.
   *
   * @throws {WebgramError} `WEBGRAM_SESSION_ENDED` when there is no such session.
   */
  setAccount(sessionID: number, account: string | undefined): Promise<void>;
  /** The sessions that are bound to an account, ascending. */
  sessionsOf(account: string): Promise<number[]>;
  /** What a list of devices shows of a session, without beginning a life; `undefined` when there is none. */
  summary(sessionID: number): Promise<SessionSummary | undefined>;
  /** The summaries of an account's sessions with ids above `after`, ascending, at most `limit`. */
  summariesOf(account: string, after: number, limit: number): Promise<SessionSummary[]>;
  /**
   * Changes what is kept of a session's device, synced: what is given, `undefined` takes away.
   *
   * @param account Only if it is bound to this account at that moment. Default: whoever it belongs to.
   * @returns Whether there is such a session.
   */
  updateDevice(sessionID: number, change: DeviceChange, account?: string): Promise<boolean>;
  /**
   * Marks a session whose key has a copy that is in use, synced, until `renew` gives it another one. Does nothing for a
   * session that has ended.
   */
  markForked(sessionID: number): Promise<void>;
}

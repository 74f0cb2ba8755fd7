import { readdir } from 'node:fs/promises';
import { WebgramError } from 'webgram';
import { isFull, probeFolder } from './level-files.ts';
import type { LevelMedium } from './level-medium.ts';
import { openWhole, type OpenOptions } from './level-open.ts';
import {
  planAccount,
  planClaim,
  planCommit,
  planCreate,
  planDevice,
  planEnd,
  planExpire,
  planExtend,
  planForget,
  planForked,
  planLoad,
  planRenew,
  planVisits,
  readKey,
  readNextSessionID,
  readRow,
  readSummary,
} from './level-plans.ts';
import { accountIndex, dueIndex, endedIndex, headRow } from './level-rows.ts';
import { randomTag } from './random-tag.ts';
import type {
  Commit,
  Created,
  DeviceChange,
  EndReason,
  KeyRow,
  NewKey,
  NewSession,
  Renewed,
  SessionSummary,
  Store,
  StoreChange,
  StoredSession,
  Visits,
} from './store.ts';
import { WriteQueue } from './write-queue.ts';
import type { Durability, Planner } from './write-queue.ts';

export type LevelStoreOptions = OpenOptions;

/** Waits between tries to write again, in ms: doubling from the first to the second. */
const RETRY_MIN_MS = 100;
const RETRY_MAX_MS = 5_000;

/** A medium that fails again within this time is given longer and longer to recover, in ms. */
const FLAPPING_MS = 10_000;

/** What LevelDB's log and tables may need when it is opened again, in bytes: its write buffer. */
const LOG_BYTES = 4 * 1024 * 1024;

/**
 * - `closed` → `opening` → `open` → `closing` → `closed`; none is final.
 * - `open` has no medium for a moment while it is opened again; `reopened` settles then.
 */
type State =
  | { name: 'closed' }
  | { name: 'opening'; done: Promise<void> }
  | Open
  | { name: 'closing'; done: Promise<void> };

interface Open {
  name: 'open';
  medium: LevelMedium | undefined;
  queue: WriteQueue;
  /** Under way after a write has failed. */
  recovery: Promise<void> | undefined;
  /** Why there is no medium. */
  reopened: Promise<void> | undefined;
  /** Why there is none, and none will be. */
  lost: WebgramError | undefined;
  /** Ends a wait between two tries. */
  wake: () => void;
  /** When it came back last, and how often it went away again soon after. */
  backAtMs: number;
  failures: number;
  isClosing: boolean;
}

/**
 * Keeps sessions in a LevelDB folder, which one process has open at a time.
 *
 * What became ready while a batch was being written goes out as the next synced batch. When a write fails, those
 * of its batch reject (they may have been made or not), LevelDB is opened again as soon as the medium takes writes, and
 * what waited goes on. Reads go on meanwhile.
 *
 * Opening looks at every row and compares their sum with what was acknowledged; see docs/store.md.
 *
 * What is given to a call is taken at the call: it may be changed while its batch has not been put together yet.
 */
export class LevelStore implements Store {
  readonly kind = 'level';
  readonly #location: string;
  readonly #options: LevelStoreOptions;
  readonly #listeners = new Set<(change: StoreChange) => void>();
  #state: State = { name: 'closed' };
  #storeID: Uint8Array | undefined;

  /** @param location The folder, made on `open()` when there is none. */
  constructor(location: string, options: LevelStoreOptions = {}) {
    if (location === '') throw new TypeError("'location' must name a folder");
    this.#location = location;
    this.#options = options;
  }

  get storeID(): Uint8Array {
    if (this.#storeID === undefined) throw closed();
    return this.#storeID;
  }

  onChange(listener: (change: StoreChange) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  async open(): Promise<void> {
    if (this.#state.name !== 'closed')
      throw new TypeError(`'open' wants a closed store, this one is ${this.#state.name}`);
    const done = this.#open();
    this.#state = { name: 'opening', done };
    await done;
  }

  async close(): Promise<void> {
    // A failure to open is told to the caller of open().
    if (this.#state.name === 'opening') await this.#state.done.catch(() => undefined);
    if (this.#state.name === 'open') {
      this.#state = { name: 'closing', done: this.#close(this.#state) };
    }
    if (this.#state.name === 'closing') await this.#state.done;
  }

  async backup(folder: string): Promise<void> {
    const medium = await this.#medium();
    try {
      const entries = await readdir(folder).catch((error: NodeJS.ErrnoException) => {
        if (error.code === 'ENOENT') return [];
        throw error;
      });
      if (entries.length > 0) throw new Error(`'${folder}' is not empty`);
      await medium.copyTo(folder);
    } catch (cause) {
      const why = cause instanceof Error ? cause.message : String(cause);
      throw new WebgramError('WEBGRAM_BACKUP_FAILED', `no backup was made: ${why}`, { cause });
    }
  }

  async nextSessionID(): Promise<number> {
    return readNextSessionID((await this.#medium()).readApart);
  }

  async create(session: NewSession): Promise<Created> {
    const { publicKey, device } = session;
    const taken = { ...session, publicKey: publicKey.slice(), device: structuredClone(device) };
    return this.#add('synced', (read) => planCreate(read, taken));
  }

  async findKey(keyID: string): Promise<KeyRow | undefined> {
    return readKey((await this.#medium()).readApart, keyID);
  }

  async claim(sessionID: number, nowMs: number): Promise<number> {
    return this.#add('written', (read) => planClaim(read, sessionID, nowMs));
  }

  async load(sessionID: number, nowMs: number): Promise<StoredSession | undefined> {
    return this.#add('written', (read) => planLoad(read, sessionID, nowMs, randomTag()));
  }

  async commit(commit: Commit): Promise<void> {
    const lineage = commit.lineage.map(([life, number]) => [life, number] as const);
    const taken = { ...commit, lineage, streams: new Map(commit.streams) };
    return this.#add('synced', (read) => planCommit(read, taken));
  }

  async renew(key: NewKey): Promise<Renewed> {
    const { account } = key;
    const taken = { ...key, publicKey: key.publicKey.slice(), account: account && { ...account } };
    return this.#add('synced', (read) => planRenew(read, taken));
  }

  async headTag(sessionID: number): Promise<string | undefined> {
    return readRow((await this.#medium()).readApart, headRow, sessionID)?.tag;
  }

  async writeVisits(sessionID: number, visits: Visits): Promise<void> {
    const taken = { ...visits };
    return this.#add('lazy', (read) => planVisits(read, sessionID, taken));
  }

  async end(sessionID: number, reason: EndReason, nowMs: number, account?: string): Promise<boolean> {
    return this.#add('synced', (read) => planEnd(read, sessionID, reason, nowMs, account));
  }

  async extend(sessionID: number, expiresAtMs: number | undefined): Promise<void> {
    return this.#add('lazy', (read) => planExtend(read, sessionID, expiresAtMs));
  }

  async due(nowMs: number, limit: number): Promise<number[]> {
    const keys = await (await this.#medium()).keys(dueIndex.prefix, dueIndex.after(nowMs), limit);
    return keys.map(dueIndex.sessionID);
  }

  async expire(sessionID: number, nowMs: number): Promise<boolean> {
    return this.#add('synced', (read) => planExpire(read, sessionID, nowMs));
  }

  async forgetEnded(beforeMs: number, limit: number): Promise<number> {
    const keys = await (await this.#medium()).keys(endedIndex.prefix, endedIndex.before(beforeMs), limit);
    return keys.length === 0 ? 0 : this.#add('written', () => planForget(keys));
  }

  async setAccount(sessionID: number, account: string | undefined): Promise<void> {
    return this.#add('synced', (read) => planAccount(read, sessionID, account));
  }

  async sessionsOf(account: string): Promise<number[]> {
    const medium = await this.#medium();
    const keys = await medium.keys(accountIndex.prefix(account), accountIndex.after(account), Infinity);
    return keys.map(accountIndex.sessionID);
  }

  async summary(sessionID: number): Promise<SessionSummary | undefined> {
    return readSummary((await this.#medium()).readApart, sessionID);
  }

  async summariesOf(account: string, after: number, limit: number): Promise<SessionSummary[]> {
    const medium = await this.#medium();
    const from = accountIndex.behind(account, after);
    const keys = await medium.keys(from, accountIndex.after(account), limit);
    const found = keys.map((key) => readSummary(medium.readApart, accountIndex.sessionID(key)));
    // One may have ended, or gone to another account, since the index was read.
    return found.filter((one) => one?.account === account).filter((one) => one !== undefined);
  }

  async updateDevice(sessionID: number, change: DeviceChange, account?: string): Promise<boolean> {
    const taken = structuredClone(change);
    return this.#add('synced', (read) => planDevice(read, sessionID, taken, account));
  }

  async markForked(sessionID: number): Promise<void> {
    return this.#add('synced', (read) => planForked(read, sessionID));
  }

  #add<Result>(durability: Durability, plan: Planner<Result>): Promise<Result> {
    return this.#opened().queue.add(durability, plan);
  }

  #opened(): Open {
    if (this.#state.name !== 'open') throw closed();
    return this.#state;
  }

  /** What is read from; waits while it is being opened again. */
  async #medium(): Promise<LevelMedium> {
    const state = this.#opened();
    if (state.medium === undefined) await state.reopened;
    this.#opened();
    if (state.medium === undefined) {
      throw state.lost ?? new WebgramError('WEBGRAM_STORE_FAILED', 'the store is away', { retryable: true });
    }
    return state.medium;
  }

  async #open(): Promise<void> {
    try {
      const { medium, storeID } = await openWhole(this.#location, this.#options);
      this.#storeID = storeID;
      const state: Open = {
        name: 'open',
        medium,
        queue: new WriteQueue(medium, (cause, length) => this.#writeFailed(state, cause, length)),
        recovery: undefined,
        reopened: undefined,
        lost: undefined,
        wake: () => undefined,
        backAtMs: -Infinity,
        failures: 0,
        isClosing: false,
      };
      this.#state = state;
    } catch (error) {
      this.#state = { name: 'closed' };
      throw error;
    }
  }

  async #close(state: Open): Promise<void> {
    state.isClosing = true;
    state.wake();
    // A recovery that succeeds lets what waits be written; one that is cut short rejects it.
    await state.recovery;
    await state.queue.drain();
    await state.recovery;
    try {
      await state.medium?.close();
    } finally {
      this.#state = { name: 'closed' };
    }
  }

  // ---- after a write has failed

  /** @returns What the operations of that batch are rejected with. */
  async #writeFailed(state: Open, cause: unknown, length: number): Promise<WebgramError> {
    const bytes = LOG_BYTES + 4 * length;
    const error = await this.#explain(bytes, cause);
    const recovery = this.#recover(state, bytes, error).finally(() => {
      if (state.recovery === recovery) state.recovery = undefined;
    });
    state.recovery = recovery;
    return error;
  }

  /** Asks the medium itself: LevelDB tells what went wrong in words only. */
  async #explain(bytes: number, cause: unknown): Promise<WebgramError> {
    try {
      await probeFolder(this.#location, bytes);
    } catch (error) {
      return awayError(error);
    }
    return awayError(cause);
  }

  async #recover(state: Open, bytes: number, error: WebgramError): Promise<void> {
    this.#tell({ name: 'away', error });
    const isAgain = performance.now() - state.backAtMs < FLAPPING_MS;
    state.failures = isAgain ? state.failures + 1 : 0;
    if (isAgain) {
      // It takes what is tried and not what is written: everything else than the first time has to wait.
      state.queue.refuse(error);
      await this.#waitToRetry(state, state.failures);
    }
    for (let attempt = state.failures; !state.isClosing; attempt += 1) {
      try {
        await probeFolder(this.#location, bytes);
        await this.#reopen(state);
        state.backAtMs = performance.now();
        this.#tell({ name: 'back' });
        return;
      } catch (cause) {
        const refusal = isFinal(cause) ? cause : awayError(cause);
        state.queue.refuse(refusal);
        if (isFinal(cause)) {
          state.lost = cause;
          this.#tell({ name: 'away', error: cause });
          return;
        }
      }
      await this.#waitToRetry(state, attempt);
    }
    state.queue.refuse(error);
  }

  async #waitToRetry(state: Open, attempt: number): Promise<void> {
    if (state.isClosing) return;
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, Math.min(RETRY_MAX_MS, RETRY_MIN_MS * 2 ** attempt));
      state.wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }

  /** LevelDB writes nothing more after a failure until it is opened again; its log may end in half a record. */
  async #reopen(state: Open): Promise<void> {
    let settled = (): void => undefined;
    state.reopened = new Promise((resolve) => {
      settled = resolve;
    });
    const before = state.medium;
    state.medium = undefined;
    try {
      await before?.close();
      const { medium } = await openWhole(this.#location, {});
      state.medium = medium;
      state.queue.resume(medium);
    } finally {
      state.reopened = undefined;
      settled();
    }
  }

  #tell(change: StoreChange): void {
    for (const listener of this.#listeners) listener(change);
  }
}

function closed(): WebgramError {
  return new WebgramError('WEBGRAM_STORE_CLOSED', 'the store is not open');
}

function awayError(cause: unknown): WebgramError {
  return isFull(cause)
    ? new WebgramError('WEBGRAM_STORE_FULL', 'the store could not be written: no space is left', {
        cause,
        retryable: true,
      })
    : new WebgramError('WEBGRAM_STORE_FAILED', 'the store could not be written', { cause, retryable: true });
}

/** Waiting does not mend it. */
function isFinal(error: unknown): error is WebgramError {
  return error instanceof WebgramError && error.code === 'WEBGRAM_STORE_CORRUPT';
}

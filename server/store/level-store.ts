import { randomBytes } from 'node:crypto';
import { ClassicLevel } from 'classic-level';
import { WebgramError } from 'webgram';
import {
  planClaim,
  planCommit,
  planCreate,
  planEnd,
  planLoad,
  planRenew,
  planVisits,
  readNextSessionID,
  readRow,
} from './level-plans.ts';
import {
  SCHEMA_VERSION,
  corruptRow,
  keyRow,
  nextSessionIDRow,
  rowName,
  sessionRow,
  storeRow,
} from './level-rows.ts';
import { randomTag } from './random-tag.ts';
import type {
  Commit,
  Created,
  EndReason,
  KeyRow,
  NewKey,
  NewSession,
  Renewed,
  Store,
  StoredSession,
  Visits,
} from './store.ts';
import { WriteQueue } from './write-queue.ts';
import type { Durability, Medium, Planner, Write } from './write-queue.ts';

type Database = ClassicLevel<string, string>;

/** From this mean length of a batch's rows on, in UTF-16 code units, memory counts for more than time. */
const LONG_ROW_LENGTH = 4096;

/** `closed` → `opening` → `open` → `closing` → `closed`; none is final. */
type State =
  | { name: 'closed' }
  | { name: 'opening'; done: Promise<void> }
  | { name: 'open'; medium: Medium; queue: WriteQueue; database: Database }
  | { name: 'closing'; done: Promise<void> };

/**
 * Keeps sessions in a LevelDB folder, which one process has open at a time.
 *
 * What became ready while a batch was being written goes out as the next synced batch. A write that fails stops
 * all writing with `WEBGRAM_STORE_FAILED` until the store is closed and opened again; reads go on.
 *
 * What is given to a call is taken at the call: it may be changed while its batch has not been put together yet.
 */
export class LevelStore implements Store {
  readonly kind = 'level';
  readonly #location: string;
  #state: State = { name: 'closed' };
  #storeID: Uint8Array | undefined;

  /** @param location The folder, made on `open()` when there is none. */
  constructor(location: string) {
    if (location === '') throw new TypeError("'location' must name a folder");
    this.#location = location;
  }

  get storeID(): Uint8Array {
    if (this.#storeID === undefined) throw closed();
    return this.#storeID;
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
      this.#state = { name: 'closing', done: this.#close(this.#state.queue, this.#state.database) };
    }
    if (this.#state.name === 'closing') await this.#state.done;
  }

  async nextSessionID(): Promise<number> {
    return readNextSessionID(this.#opened().medium.read);
  }

  async create(session: NewSession): Promise<Created> {
    const taken = { ...session, publicKey: session.publicKey.slice() };
    return this.#add('synced', (read) => planCreate(read, taken));
  }

  async findKey(keyID: string): Promise<KeyRow | undefined> {
    return readRow(this.#opened().medium.read, keyRow, keyID);
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

  async writeVisits(sessionID: number, visits: Visits): Promise<void> {
    const taken = { ...visits };
    return this.#add('lazy', (read) => planVisits(read, sessionID, taken));
  }

  async end(sessionID: number, reason: EndReason, nowMs: number): Promise<boolean> {
    return this.#add('synced', (read) => planEnd(read, sessionID, reason, nowMs));
  }

  #add<Result>(durability: Durability, plan: Planner<Result>): Promise<Result> {
    return this.#opened().queue.add(durability, plan);
  }

  #opened() {
    if (this.#state.name !== 'open') throw closed();
    return this.#state;
  }

  async #open(): Promise<void> {
    const database: Database = new ClassicLevel(this.#location);
    try {
      await database.open();
      const medium = mediumOf(database);
      this.#storeID = await recogniseStore(database, medium, this.#location);
      this.#state = { name: 'open', medium, queue: new WriteQueue(medium), database };
    } catch (error) {
      await database.close();
      this.#state = { name: 'closed' };
      throw openError(error, this.#location);
    }
  }

  async #close(queue: WriteQueue, database: Database): Promise<void> {
    await queue.drain();
    try {
      await database.close();
    } finally {
      this.#state = { name: 'closed' };
    }
  }
}

function closed(): WebgramError {
  return new WebgramError('WEBGRAM_STORE_CLOSED', 'the store is not open');
}

function mediumOf(database: Database): Medium {
  return {
    read(key) {
      try {
        return database.getSync(key);
      } catch (error) {
        throw readError(error);
      }
    },
    write: (writes, synced) =>
      isLong(writes) ? writeLongRows(database, writes, synced) : writeShortRows(database, writes, synced),
  };
}

/** Whether the rows of a batch are long on average. */
function isLong(writes: Write[]): boolean {
  return (
    writes.reduce((length, [, value]) => length + (value?.length ?? 0), 0) > writes.length * LONG_ROW_LENGTH
  );
}

/** Takes a third of the time of the other way, on the thread that also serves the sockets. */
function writeShortRows(database: Database, writes: Write[], synced: boolean): Promise<void> {
  const batch = database.batch();
  for (const [key, value] of writes) {
    if (value === undefined) batch.del(key);
    else batch.put(key, value);
  }
  return batch.write({ sync: synced });
}

/** Frees its copy of the rows at once; the other way leaves that to the garbage collector, which cannot see it. */
function writeLongRows(database: Database, writes: Write[], synced: boolean): Promise<void> {
  const operations = writes.map(([key, value]) =>
    value === undefined ? { type: 'del' as const, key } : { type: 'put' as const, key, value },
  );
  return database.batch(operations, { sync: synced });
}

/** Checks that the folder holds a store that this version understands, or makes a new one in an empty folder. */
async function recogniseStore(database: Database, medium: Medium, location: string): Promise<Uint8Array> {
  const store = readRow(medium.read, storeRow);
  if (store === undefined) {
    // Anything in it belongs to somebody else, or is a store of ours that has lost its name.
    for await (const key of database.keys({ limit: 1 })) {
      throw corruptRow(
        'meta',
        storeRow.key(),
        `it is missing in '${location}', which holds '${rowName(key)}'`,
      );
    }
    const storeID = Uint8Array.from(randomBytes(16));
    const rows: Write[] = [
      [storeRow.key(), storeRow.encode({ schema: SCHEMA_VERSION, storeID })],
      [nextSessionIDRow.key(), nextSessionIDRow.encode(1)],
    ];
    await medium.write(rows, true);
    return storeID;
  }
  if (store.schema !== SCHEMA_VERSION) {
    const why = `'${location}' has schema version ${store.schema}, this server knows ${SCHEMA_VERSION}`;
    throw corruptRow('meta', storeRow.key(), why);
  }
  const next = sessionRow.key(readNextSessionID(medium.read));
  for await (const key of database.keys({ gte: next, lt: 'session0', limit: 1 })) {
    throw corruptRow('meta', nextSessionIDRow.key(), `it would dispense again what row '${key}' has`);
  }
  return store.storeID;
}

function openError(error: unknown, location: string): unknown {
  if (error instanceof WebgramError) return error;
  if (levelCode(error) === 'LEVEL_LOCKED') {
    const message = `the store '${location}' is open in another process; stop that one, or give each its own folder`;
    return new WebgramError('WEBGRAM_STORE_LOCKED', message, { cause: error });
  }
  if (levelCode(error) === 'LEVEL_CORRUPTION') {
    return new WebgramError('WEBGRAM_STORE_CORRUPT', `the store '${location}' is damaged`, { cause: error });
  }
  return new WebgramError('WEBGRAM_STORE_FAILED', `the store '${location}' cannot be opened`, {
    cause: error,
  });
}

function readError(error: unknown): WebgramError {
  if (levelCode(error) === 'LEVEL_CORRUPTION') {
    return new WebgramError('WEBGRAM_STORE_CORRUPT', 'the store is damaged', { cause: error });
  }
  return new WebgramError('WEBGRAM_STORE_FAILED', 'the store could not be read', { cause: error });
}

/** The most telling code: a failure to open is LEVEL_DATABASE_NOT_OPEN, with the reason as its cause. */
function levelCode(error: unknown): unknown {
  if (!(error instanceof Error)) return undefined;
  return error.cause === undefined ? (error as NodeJS.ErrnoException).code : levelCode(error.cause);
}

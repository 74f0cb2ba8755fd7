import { mkdir, readFile } from 'node:fs/promises';
import path from 'node:path';
import { ClassicLevel } from 'classic-level';
import { WebgramError } from 'webgram';
import { databaseFiles } from './level-files.ts';
import { nextSessionIDRow } from './level-rows.ts';
import {
  brokenSeal,
  EMPTY_LEDGER,
  encodeLedger,
  enter,
  LEDGER_KEY,
  parseLedger,
  seal,
  sealOf,
  unseal,
  type Ledger,
} from './level-seal.ts';
import { Witness } from './witness.ts';
import type { Medium, Write } from './write-queue.ts';

/** From this mean length of a batch's rows on, in UTF-16 code units, memory counts for more than time. */
const LONG_ROW_LENGTH = 4096;

/** Seals that are kept for the next batch at most. */
const MAX_SEALS = 10_000;

/** Rows that are read at a time, when all are. */
const SCAN_ROWS = 1_000;

/** What a look at every row has found. */
export interface Findings {
  /** As the rows are. */
  found: Ledger;
  /** As the last batch wrote it; `undefined` when that cannot be read. */
  ledger: Ledger | undefined;
  /** Keys of rows whose checksum is wrong. */
  broken: string[];
}

/** A batch as it goes to LevelDB: sealed rows. */
type Sealed = [key: string, value: string | undefined][];

/**
 * One LevelDB that is open: sealed rows, and the ledger that is written with every batch of them.
 *
 * Every row carries a checksum, and every batch the sum of them all: damage that LevelDB passes over in silence
 * (it drops the rest of a block of its log, and reads tables unchecked) shows when the sum is taken again.
 */
export class LevelMedium implements Medium {
  readonly location: string;
  readonly #database: ClassicLevel;
  #ledger: Ledger = { ...EMPTY_LEDGER };
  #nextSessionID = 1;
  #witness: Witness | undefined;
  #storeID = '';
  /** Seals of the rows that were read for the batch that is being put together; `undefined` for no row. */
  readonly #seals = new Map<string, number | undefined>();

  private constructor(location: string, database: ClassicLevel) {
    this.location = location;
    this.#database = database;
  }

  /**
   * Opens the database. Nothing of it is checked yet.
   *
   * @param mayBeNew Makes one when there is none.
   */
  static async open(location: string, mayBeNew: boolean): Promise<LevelMedium> {
    await mkdir(location, { recursive: true });
    const files = await databaseFiles(location);
    const isBegun = !mayBeNew || files.some((file) => /\.(?:ldb|sst|log)$/.test(file));
    // Without them LevelDB would begin a new database there and delete the tables of the old one.
    if (isBegun && !files.includes('CURRENT')) throw missing('CURRENT');
    if (files.includes('CURRENT')) {
      const manifest = (await readFile(path.join(location, 'CURRENT'), 'latin1')).trimEnd();
      if (!/^MANIFEST-\d+$/.test(manifest) || !files.includes(manifest)) throw missing('MANIFEST');
    }
    const database = new ClassicLevel(location);
    try {
      await database.open();
    } catch (error) {
      await database.close();
      throw error;
    }
    return new LevelMedium(location, database);
  }

  /** Lets LevelDB rebuild what it can. Nobody may have the folder open. */
  static repair(location: string): Promise<void> {
    return ClassicLevel.repair(location);
  }

  get ledger(): Readonly<Ledger> {
    return this.#ledger;
  }

  /** Begins with a ledger that is known to be right, and with the witness of it. */
  begin(ledger: Ledger, nextSessionID: number, storeID: Uint8Array): void {
    this.#ledger = { ...ledger };
    this.#nextSessionID = nextSessionID;
    this.#storeID = Buffer.from(storeID).toString('base64url');
    this.#witness ??= Witness.open(this.location);
    this.#testify();
    this.#testify();
    this.#witness.sync();
  }

  /** Reads a row for a batch that is being put together. */
  read = (key: string): string | undefined => {
    const sealed = this.#get(key);
    // Batches that only read leave theirs behind.
    if (this.#seals.size > MAX_SEALS) this.#seals.clear();
    this.#seals.set(key, sealed === undefined ? undefined : sealOf(sealed));
    return this.#unseal(key, sealed);
  };

  /** Reads a row for somebody else. */
  readApart = (key: string): string | undefined => this.#unseal(key, this.#get(key));

  /** Reads a row as it is, of a schema that knew no seals. */
  readUnsealed = (key: string): string | undefined => this.#get(key);

  async write(writes: Write[], synced: boolean): Promise<void> {
    const ledger = { ...this.#ledger };
    let next = this.#nextSessionID;
    const rows: Sealed = [];
    for (const [key, text] of writes) {
      this.#takeOut(ledger, key);
      const sealed = text === undefined ? undefined : seal(key, text);
      if (sealed !== undefined) enter(ledger, key, sealed, 1);
      if (key === nextSessionIDRow.key() && text !== undefined) next = nextSessionIDRow.parse(text, key);
      rows.push([key, sealed]);
    }
    if (synced) ledger.synced += 1;
    rows.push([LEDGER_KEY, encodeLedger(ledger)]);
    await this.#writeSealed(rows, synced);
    this.#seals.clear();
    this.#ledger = ledger;
    this.#nextSessionID = next;
    if (synced) this.#testify();
  }

  /** Writes rows and a ledger that was made for them; for whoever has looked at all rows. */
  async rewrite(writes: Iterable<Write>, ledger: Ledger): Promise<void> {
    const rows: Sealed = [];
    for (const [key, text] of writes) rows.push([key, text === undefined ? undefined : seal(key, text)]);
    rows.push([LEDGER_KEY, encodeLedger(ledger)]);
    await this.#writeSealed(rows, true);
  }

  /** Keys from `gte` to below `lt`, at most `limit`. */
  keys(gte: string, lt: string, limit: number): Promise<string[]> {
    return this.#database.keys({ gte, lt, limit }).all();
  }

  /** All rows as they are at the call, sealed, some at a time. */
  scan(): AsyncGenerator<[key: string, sealed: string][]> {
    // It holds on to the moment of its making; the generator would make it later.
    const iterator = this.#database.iterator();
    return (async function* () {
      try {
        for (;;) {
          const rows = await iterator.nextv(SCAN_ROWS);
          if (rows.length === 0) return;
          yield rows;
        }
      } finally {
        await iterator.close();
      }
    })();
  }

  /** Looks at every row. */
  async examine(): Promise<Findings> {
    const found: Ledger = { ...EMPTY_LEDGER };
    const broken: string[] = [];
    let ledger: Ledger | undefined;
    for await (const rows of this.scan()) {
      for (const [key, sealed] of rows) {
        if (key === LEDGER_KEY) ledger = parseLedger(sealed);
        else if (unseal(key, sealed) === undefined) broken.push(key);
        else enter(found, key, sealed, 1);
      }
    }
    found.synced = ledger?.synced ?? 0;
    return { found, ledger, broken };
  }

  /** Makes a copy of all rows as they are now, with the same ledger, in an empty folder. */
  async copyTo(folder: string): Promise<void> {
    const { storeID } = this;
    const scan = this.scan();
    const copy = await LevelMedium.open(folder, true);
    try {
      let ledger: Ledger | undefined;
      let next = 1;
      for await (const rows of scan) {
        for (const [key, sealed] of rows) {
          const text = unseal(key, sealed);
          if (text === undefined) throw brokenSeal(key);
          if (key === LEDGER_KEY) ledger = parseLedger(sealed);
          if (key === nextSessionIDRow.key()) next = nextSessionIDRow.parse(text, key);
        }
        await copy.#writeSealed(rows, false);
      }
      if (ledger === undefined) throw brokenSeal(LEDGER_KEY);
      await copy.#writeSealed([[LEDGER_KEY, encodeLedger(ledger)]], true);
      copy.begin(ledger, next, Buffer.from(storeID, 'base64url'));
    } finally {
      await copy.close();
    }
  }

  get storeID(): string {
    return this.#storeID;
  }

  async close(): Promise<void> {
    this.#witness?.close();
    this.#witness = undefined;
    await this.#database.close();
  }

  #get(key: string): string | undefined {
    try {
      return this.#database.getSync(key);
    } catch (error) {
      throw readError(error);
    }
  }

  #unseal(key: string, sealed: string | undefined): string | undefined {
    if (sealed === undefined) return undefined;
    const text = unseal(key, sealed);
    if (text === undefined) throw brokenSeal(key);
    return text;
  }

  /** Takes the row that is to be replaced out of a ledger. */
  #takeOut(ledger: Ledger, key: string): void {
    let sum = this.#seals.get(key);
    if (sum === undefined) {
      if (this.#seals.has(key)) return;
      const sealed = this.#get(key);
      if (sealed === undefined) return;
      sum = sealOf(sealed);
    }
    enter(ledger, key, sum.toString(36).padStart(7, '0'), -1);
  }

  #testify(): void {
    const { synced, rows, keys } = this.#ledger;
    this.#witness?.write({ synced, rows, keys, next: this.#nextSessionID, storeID: this.#storeID });
  }

  #writeSealed(rows: Sealed, synced: boolean): Promise<void> {
    const length = rows.reduce((sum, [, value]) => sum + (value?.length ?? 0), 0);
    // The first takes a third of the time of the other, on the thread that also serves the sockets. The second frees
    // its copy of the rows at once; the first leaves that to the garbage collector, which cannot see it.
    return length > rows.length * LONG_ROW_LENGTH
      ? this.#writeLongRows(rows, synced)
      : this.#writeShortRows(rows, synced);
  }

  #writeShortRows(rows: Sealed, synced: boolean): Promise<void> {
    const batch = this.#database.batch();
    for (const [key, value] of rows) {
      if (value === undefined) batch.del(key);
      else batch.put(key, value);
    }
    return batch.write({ sync: synced });
  }

  #writeLongRows(rows: Sealed, synced: boolean): Promise<void> {
    const operations = rows.map(([key, value]) =>
      value === undefined ? { type: 'del' as const, key } : { type: 'put' as const, key, value },
    );
    return this.#database.batch(operations, { sync: synced });
  }
}

function missing(file: string): WebgramError {
  return new WebgramError('WEBGRAM_STORE_CORRUPT', `LevelDB's file ${file} is missing`);
}

/** The most telling code: a failure to open is LEVEL_DATABASE_NOT_OPEN, with the reason as its cause. */
export function levelCode(error: unknown): unknown {
  if (!(error instanceof Error)) return undefined;
  return error.cause === undefined ? (error as NodeJS.ErrnoException).code : levelCode(error.cause);
}

function readError(error: unknown): WebgramError {
  if (levelCode(error) === 'LEVEL_CORRUPTION') {
    return new WebgramError('WEBGRAM_STORE_CORRUPT', 'the store is damaged', { cause: error });
  }
  return new WebgramError('WEBGRAM_STORE_FAILED', 'the store could not be read', { cause: error });
}

import { randomBytes } from 'node:crypto';
import { WebgramError } from 'webgram';
import { databaseFiles, Originals } from './level-files.ts';
import { LevelMedium, levelCode, type Findings } from './level-medium.ts';
import { migrate } from './level-migrations.ts';
import { readNextSessionID, readRow } from './level-plans.ts';
import { corruptRow, nextSessionIDRow, rowName, SCHEMA_VERSION, sessionRow, storeRow } from './level-rows.ts';
import { EMPTY_LEDGER, LEDGER_KEY } from './level-seal.ts';
import { damagedTables, removeTables } from './level-tables.ts';
import { salvage } from './level-salvage.ts';
import { Witness, type Testimony } from './witness.ts';

export interface OpenOptions {
  /** Lets LevelDB rebuild its files from what can be read of them. Nothing is given up by that. Default false. */
  repair?: boolean;
  /** Goes on without what is lost or cannot be read. Default false. */
  acceptLoss?: boolean;
  /** Takes a sentence for every step of a repair, and for every kind of loss. Default: nobody is told. */
  report?: (sentence: string) => void;
}

/** Opens a folder as a store that is whole: everything that was acknowledged is there, or it is refused. */
export async function openWhole(location: string, options: OpenOptions) {
  let originals: Originals | undefined;
  let medium: LevelMedium | undefined;
  let told = '';
  try {
    originals = await Originals.keep(location);
    const testimony = Witness.read(location);
    if (testimony !== undefined) told = `; ${testimony.keys} sessions were acknowledged`;
    if (options.repair === true) await repair(location, options);
    const tables = await damagedTables(location);
    if (tables.length > 0) throw damaged(location, `the checksums of ${tables.join(', ')} are wrong${told}`);
    medium = await LevelMedium.open(location, options.acceptLoss === true || (testimony?.synced ?? 0) === 0);
    const { storeID, isLossy } = await recognise(medium, testimony, options);
    if (isLossy) await keepDamaged(originals, options);
    else await originals?.forgetAll();
    return { medium, storeID };
  } catch (error) {
    await medium?.close();
    // A locked one is at work, in another process.
    if (levelCode(error) !== 'LEVEL_LOCKED') await originals?.putBack();
    await originals?.forget();
    throw openError(error, location, told);
  }
}

async function repair(location: string, { report }: OpenOptions): Promise<void> {
  if ((await databaseFiles(location)).length === 0) return;
  const tables = await damagedTables(location);
  if (tables.length > 0) report?.(`left out ${tables.join(', ')}, whose checksums are wrong`);
  await removeTables(location, tables);
  await LevelMedium.repair(location);
  report?.(`rebuilt the files of '${location}' from what can be read of them`);
}

async function keepDamaged(originals: Originals | undefined, { report }: OpenOptions): Promise<void> {
  const folder = await originals?.keepAs(`damaged-${new Date().toISOString().replaceAll(':', '-')}`);
  if (folder !== undefined) report?.(`the files as they were found are kept in '${folder}'`);
}

/** Checks that the folder holds a store that this version understands, or makes a new one in an empty folder. */
async function recognise(medium: LevelMedium, testimony: Testimony | undefined, options: OpenOptions) {
  const { location } = medium;
  const findings = await medium.examine();
  const isEmpty = findings.found.rows === 0 && findings.broken.length === 0;
  // A witness that has seen nothing yet is left by a process that died while it made the store.
  if (isEmpty && findings.ledger === undefined && (testimony?.synced ?? 0) === 0) {
    return { storeID: await make(medium), isLossy: false };
  }
  const schema = schemaOf(medium);
  if (schema > SCHEMA_VERSION) {
    const why = `'${location}' has schema version ${schema}, this server knows ${SCHEMA_VERSION}`;
    throw corruptRow('meta', storeRow.key(), why);
  }
  if (schema > 0 && schema < SCHEMA_VERSION) {
    const { ledger, next, storeID } = await migrate(medium, schema);
    medium.begin(ledger, next, storeID);
    options.report?.(`took '${location}' from schema version ${schema} to ${SCHEMA_VERSION}`);
    return { storeID, isLossy: false };
  }
  if (testimony === undefined && findings.ledger === undefined && !startsLikeOurs(medium)) {
    for (const key of await medium.keys('', '\u{10ffff}', 1)) {
      throw corruptRow(
        'meta',
        storeRow.key(),
        `it is missing in '${location}', which holds '${rowName(key)}'`,
      );
    }
  }
  const fault = faultOf(medium, findings, testimony);
  if (fault === undefined) {
    const storeID = readRow(medium.readApart, storeRow)?.storeID;
    if (storeID === undefined || findings.ledger === undefined) throw new TypeError('a whole store has both');
    medium.begin(findings.ledger, readNextSessionID(medium.readApart), storeID);
    if (options.acceptLoss === true) options.report?.('nothing is lost: --accept-loss is not needed');
    return { storeID, isLossy: false };
  }
  if (options.acceptLoss !== true) throw damaged(location, fault);
  options.report?.(`'${location}' is damaged: ${fault}`);
  const saved = await salvage(medium, findings, testimony);
  medium.begin(saved.ledger, saved.next, saved.storeID);
  for (const sentence of saved.lost) options.report?.(sentence);
  return { storeID: saved.storeID, isLossy: true };
}

async function make(medium: LevelMedium): Promise<Uint8Array> {
  const storeID = Uint8Array.from(randomBytes(16));
  medium.begin(EMPTY_LEDGER, 1, storeID);
  await medium.write(
    [
      [storeRow.key(), storeRow.encode({ schema: SCHEMA_VERSION, storeID })],
      [nextSessionIDRow.key(), nextSessionIDRow.encode(1)],
    ],
    true,
  );
  return storeID;
}

/** @returns 0 for a row that is missing or broken. */
function schemaOf(medium: LevelMedium): number {
  const unsealed = medium.readUnsealed(storeRow.key());
  if (unsealed?.startsWith('[1,1,') === true) return 1;
  try {
    return readRow(medium.readApart, storeRow)?.schema ?? 0;
  } catch {
    // It shows as a broken row.
    return 0;
  }
}

function startsLikeOurs(medium: LevelMedium): boolean {
  return [LEDGER_KEY, storeRow.key(), nextSessionIDRow.key()].some(
    (key) => medium.readUnsealed(key) !== undefined,
  );
}

/** Says what is missing or wrong; `undefined` when all that was acknowledged is there. */
function faultOf(
  medium: LevelMedium,
  { found, ledger, broken }: Findings,
  testimony: Testimony | undefined,
): string | undefined {
  const told = newer(ledger, testimony);
  const counts =
    told === undefined
      ? `it holds ${found.keys} sessions, and nothing tells how many there were`
      : `${found.keys} of ${told.keys} sessions are there, ${found.rows} of ${told.rows} rows`;
  if (broken.length > 0) {
    const first = rowName(broken[0] ?? '');
    const names = broken.length === 1 ? `'${first}'` : `'${first}' and others`;
    return `${broken.length} rows cannot be read (${names}); ${counts} and can`;
  }
  if (ledger === undefined) return `row '${LEDGER_KEY}' is missing or cannot be read; ${counts}`;
  if (testimony === undefined) return `the file that tells what was acknowledged is missing; ${counts}`;
  if (ledger.synced < testimony.synced) {
    const lost = testimony.synced - ledger.synced;
    return `the last ${lost} writes that were acknowledged are missing; ${counts}`;
  }
  if (found.rows !== ledger.rows || found.keys !== ledger.keys) return `rows were lost or added; ${counts}`;
  if (found.sum !== ledger.sum) return `some rows are older than what was acknowledged; ${counts}`;
  for (const row of [storeRow, nextSessionIDRow]) {
    if (medium.readApart(row.key()) === undefined)
      return corruptRow('meta', row.key(), 'it is missing').message;
  }
  const next = readNextSessionID(medium.readApart);
  return medium.readApart(sessionRow.key(next)) === undefined
    ? undefined
    : `${nextSessionIDRow.key()} would dispense an id again`;
}

function newer(ledger: Findings['ledger'], testimony: Testimony | undefined) {
  if (ledger === undefined || testimony === undefined) return ledger ?? testimony;
  return testimony.synced > ledger.synced ? testimony : ledger;
}

function damaged(location: string, fault: string): WebgramError {
  const message =
    `the store '${location}' is damaged: ${fault}. It was left as it is. Put back a backup, or start with ` +
    `--repair, and then with --accept-loss to go on without what is lost`;
  return new WebgramError('WEBGRAM_STORE_CORRUPT', message);
}

/** @param told What is known of the store from outside. */
function openError(error: unknown, location: string, told: string): unknown {
  if (levelCode(error) === 'LEVEL_LOCKED') {
    const message = `the store '${location}' is open in another process; stop that one, or give each its own folder`;
    return new WebgramError('WEBGRAM_STORE_LOCKED', message, { cause: error });
  }
  if (error instanceof WebgramError) {
    if (error.code !== 'WEBGRAM_STORE_CORRUPT' || error.message.startsWith('the store ')) return error;
    return new WebgramError('WEBGRAM_STORE_CORRUPT', damaged(location, `${error.message}${told}`).message, {
      cause: error,
    });
  }
  if (levelCode(error) === 'LEVEL_CORRUPTION') {
    const message = damaged(location, `LevelDB cannot read its files${told}`).message;
    return new WebgramError('WEBGRAM_STORE_CORRUPT', message, { cause: error });
  }
  return new WebgramError('WEBGRAM_STORE_FAILED', `the store '${location}' cannot be opened`, {
    cause: error,
  });
}

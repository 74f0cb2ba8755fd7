import { corruptRow, nextSessionIDRow, SCHEMA_VERSION, storeRow } from './level-rows.ts';
import { EMPTY_LEDGER, enter, seal, type Ledger } from './level-seal.ts';
import type { LevelMedium } from './level-medium.ts';
import type { Write } from './write-queue.ts';

/** All rows of a store by key, without their seals. */
type Rows = Map<string, string>;

/** Takes all rows from the version it stands under to the next one, in place. */
const MIGRATIONS: Record<number, (rows: Rows) => void> = {
  1: mergePresence,
};

/**
 * Takes a store to the present schema in one atomic, synced write: it is of the old version or of the new one,
 * whatever happens. All rows are in memory meanwhile.
 */
export async function migrate(medium: LevelMedium, from: number) {
  const before: Rows = new Map();
  for await (const rows of medium.scan()) {
    for (const [key, text] of rows) before.set(key, text);
  }
  const after = new Map(before);
  for (let version = from; version < SCHEMA_VERSION; version += 1) {
    const step = MIGRATIONS[version];
    if (step === undefined)
      throw corruptRow('meta', storeRow.key(), `nothing leads on from schema ${version}`);
    step(after);
  }
  const { storeID } = storeRow.parse(after.get(storeRow.key()), storeRow.key());
  after.set(storeRow.key(), storeRow.encode({ schema: SCHEMA_VERSION, storeID }));
  const next = nextSessionIDRow.parse(after.get(nextSessionIDRow.key()), nextSessionIDRow.key());
  const ledger: Ledger = { ...EMPTY_LEDGER, synced: 1 };
  for (const [key, text] of after) enter(ledger, key, seal(key, text), 1);
  const gone = [...before.keys()].filter((key) => !after.has(key)).map((key): Write => [key, undefined]);
  await medium.rewrite([...after, ...gone], ledger);
  return { ledger, next, storeID };
}

/** Version 1 had no seals, and kept visits and generations in rows of their own. */
function mergePresence(rows: Rows): void {
  const generations = namesUnder(rows, 'generation/');
  const visits = namesUnder(rows, 'visits/');
  for (const name of new Set([...generations, ...visits])) {
    const [, generation = 0] = JSON.parse(rows.get(`generation/${name}`) ?? '[1]') as number[];
    const [, firstMs, latestMs, previousMs] = JSON.parse(rows.get(`visits/${name}`) ?? '[1]') as number[];
    const fields = [1, generation, null, firstMs, latestMs, previousMs];
    const length = fields.findLastIndex((field) => field !== null && field !== undefined) + 1;
    rows.set(`presence/${name}`, JSON.stringify(fields.slice(0, length)));
    rows.delete(`generation/${name}`);
    rows.delete(`visits/${name}`);
  }
  for (const name of namesUnder(rows, 'key/')) {
    const [, , , reason, atMs] = JSON.parse(rows.get(`key/${name}`) ?? '[]') as unknown[];
    if (reason !== undefined) rows.set(`ended/${String(atMs).padStart(16, '0')}/${name}`, '');
  }
}

function namesUnder(rows: Rows, prefix: string): string[] {
  return [...rows.keys()].filter((key) => key.startsWith(prefix)).map((key) => key.slice(prefix.length));
}

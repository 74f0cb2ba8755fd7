import { cp, mkdir, mkdtemp, open, readdir, readFile, rm, stat, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { ClassicLevel } from 'classic-level';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { randomFrom } from '../testing/random.ts';
import { LevelStore, type LevelStoreOptions } from './level-store.ts';

const SEED = Number(process.env['SEED'] ?? Date.now() % 1_000_000);
const SESSIONS = 60;

/** What every session must be after all writes: the number that its last commit wrote. */
const EXPECTED = new Map<number, string>();

let pristine: string;
let folder: string;

/** A folder whose rows are partly in tables and partly in the log, with every session written more than once. */
beforeAll(async () => {
  pristine = await mkdtemp(path.join(tmpdir(), 'webgram-damage-'));
  for (const round of [1, 2]) {
    const store = new LevelStore(pristine);
    await store.open();
    for (let n = 1; n <= SESSIONS; n += 1) {
      const keyID = `key-${n}`;
      if (n <= SESSIONS / 2 || round === 2) {
        await store.create({ keyID, publicKey: new Uint8Array(65).fill(n), nowMs: 1, fromClient: undefined });
        const session = await store.load(n, 1);
        const data = `${round}-${n}-`.repeat(round === 1 ? 3 : 20);
        const { sessionID, tag, life } = session!;
        await store.commit({
          sessionID,
          expectedTag: tag,
          tag: `${tag}+`,
          generation: 0,
          lineage: [[life, 1]],
          data,
          streams: new Map([['tab', data]]),
        });
        EXPECTED.set(n, data);
      }
    }
    if (round === 2) await store.end(1, 'revoked', 1);
    await store.close();
  }
  EXPECTED.delete(1);
}, 30_000);

afterAll(() => rm(pristine, { recursive: true }));

beforeEach(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'webgram-damage-'));
  await fresh();
});

afterEach(() => rm(folder, { recursive: true }));

async function fresh(): Promise<void> {
  await rm(folder, { recursive: true });
  await cp(pristine, folder, { recursive: true });
}

async function fileNamed(pattern: RegExp): Promise<string> {
  const name = (await readdir(folder))
    .filter((file) => pattern.test(file))
    .sort()
    .at(-1);
  if (name === undefined) throw new Error(`no file like ${pattern} in ${folder}`);
  return path.join(folder, name);
}

/** Names and sizes of the files that LevelDB reads. */
async function listing(): Promise<string[]> {
  const names = (await readdir(folder)).filter((name) => /^\d|^MANIFEST|^CURRENT/.test(name)).sort();
  return Promise.all(names.map(async (name) => `${name} ${(await stat(path.join(folder, name))).size}`));
}

async function tryOpen(options: LevelStoreOptions = {}): Promise<LevelStore | string> {
  const store = new LevelStore(folder, options);
  try {
    await store.open();
    return store;
  } catch (error) {
    const { code, message } = error as { code: string; message: string };
    expect(code, message).toBe('WEBGRAM_STORE_CORRUPT');
    return message;
  }
}

/** How many sessions are as they were acknowledged, and how many are not. */
async function count(store: LevelStore): Promise<{ right: number; wrong: number }> {
  const result = { right: 0, wrong: 0 };
  for (const [sessionID, data] of EXPECTED) {
    const key = await store.findKey(`key-${sessionID}`);
    const session = await store.load(sessionID, 1);
    const isRight =
      key?.sessionID === sessionID && session?.data === data && session.streams.get('tab') === data;
    result[isRight ? 'right' : 'wrong'] += 1;
  }
  return result;
}

/** All is there, or it is refused, with a count and a way out, and left as it was. @returns Whether it was refused. */
async function expectAllOrNothing(context: string): Promise<boolean> {
  const before = await listing();
  const store = await tryOpen();
  if (typeof store === 'string') {
    expect(store, context).toMatch(/Put back a backup, or start with --repair/);
    expect(await listing(), context).toEqual(before);
    return true;
  }
  expect(await count(store), context).toEqual({ right: EXPECTED.size, wrong: 0 });
  expect((await store.findKey('key-1'))?.ended, context).toMatchObject({ reason: 'revoked' });
  await store.close();
  return false;
}

async function flip(file: string, offset: number): Promise<void> {
  const handle = await open(file, 'r+');
  const { buffer } = await handle.read(Buffer.alloc(1), 0, 1, offset);
  buffer[0] = (buffer[0] ?? 0) ^ 0x41;
  await handle.write(buffer, 0, 1, offset);
  await handle.close();
}

/** Numbers below `limit` that the seed decides. */
function randomNumbers(howMany: number, limit: number): number[] {
  const random = randomFrom(SEED);
  return Array.from({ length: howMany }, () => Math.floor(random() * limit));
}

describe(`a store that was damaged (seed ${SEED})`, { timeout: 120_000 }, () => {
  it('opens with everything when nothing is wrong', async () => {
    expect(await expectAllOrNothing('untouched')).toBe(false);
  });

  // C32, and what LevelDB passes over in silence.
  it('is whole or refused with one byte flipped in the log, at 200 places', async () => {
    const log = await fileNamed(/\.log$/);
    const { size } = await stat(log);
    let refused = 0;
    for (const offset of randomNumbers(200, size)) {
      await fresh();
      await flip(log, offset);
      if (await expectAllOrNothing(`byte ${offset} of ${size} flipped`)) refused += 1;
    }
    expect(refused).toBeGreaterThan(150);
  });

  it('is refused with the end of the log cut off, 1 to 64 bytes', async () => {
    const log = await fileNamed(/\.log$/);
    const { size } = await stat(log);
    for (let bytes = 1; bytes <= 64; bytes += 1) {
      await fresh();
      await truncate(log, size - bytes);
      expect(await expectAllOrNothing(`${bytes} bytes cut off`), `${bytes} bytes`).toBe(true);
    }
  });

  it.for([/\.ldb$/, /^MANIFEST/, /^CURRENT$/, /^ACKNOWLEDGED$/])(
    'is whole or refused with bytes flipped in %s',
    async (pattern) => {
      const { size } = await stat(await fileNamed(pattern));
      for (const offset of randomNumbers(40, size)) {
        await fresh();
        await flip(await fileNamed(pattern), offset);
        await expectAllOrNothing(`byte ${offset} of ${size} in ${pattern}`);
      }
    },
  );

  it.for([/\.log$/, /\.ldb$/, /^MANIFEST/, /^CURRENT$/, /^ACKNOWLEDGED$/])(
    'is refused without %s',
    async (pattern) => {
      await rm(await fileNamed(pattern));
      expect(await expectAllOrNothing(`without ${pattern}`)).toBe(true);
    },
  );

  it.for([/\.log$/, /\.ldb$/, /^MANIFEST/, /^CURRENT$/, /^ACKNOWLEDGED$/])(
    'is whole or refused with %s cut short',
    async (pattern) => {
      const { size } = await stat(await fileNamed(pattern));
      for (const length of [0, 1, ...randomNumbers(10, size), size - 1]) {
        await fresh();
        await truncate(await fileNamed(pattern), length);
        await expectAllOrNothing(`${pattern} cut to ${length} of ${size}`);
      }
    },
  );

  it('opens with what a process left that died while it wrote a table, and clears it away', async () => {
    const table = await readFile(await fileNamed(/\.ldb$/));
    await writeFile(path.join(folder, '009999.ldb'), table.subarray(0, table.length / 2));
    expect(await expectAllOrNothing('an unfinished table')).toBe(false);
    expect(await readdir(folder)).not.toContain('009999.ldb');
  });

  it('opens with what a process left that died while it opened the store, and clears it away', async () => {
    await mkdir(path.join(folder, 'before-open-1-1'));
    expect(await expectAllOrNothing('second names')).toBe(false);
    expect((await readdir(folder)).filter((name) => name.startsWith('before-open'))).toEqual([]);
  });

  it('is refused with a row removed, and says how many sessions are there', async () => {
    const rows = new ClassicLevel(folder);
    await rows.open();
    for (const n of [2, 3]) await rows.del(`key/key-${n}`);
    await rows.close();
    const message = await tryOpen();
    expect(message).toContain(`${SESSIONS - 2} of ${SESSIONS} sessions are there`);
  });

  it('is refused with an older version of a row', async () => {
    const rows = new ClassicLevel(folder);
    await rows.open();
    const before = String(await rows.get('head/0000000000000002'));
    await rows.close();
    const store = (await tryOpen()) as LevelStore;
    await store.load(2, 1);
    await store.close();
    await rows.open();
    await rows.put('head/0000000000000002', before);
    await rows.close();
    expect(await tryOpen()).toContain('some rows are older than what was acknowledged');
  });

  it('is refused with a row that another program has written, and names it', async () => {
    const rows = new ClassicLevel(folder);
    await rows.open();
    await rows.put('data/0000000000000002', 'x'.repeat(20));
    await rows.close();
    expect(await tryOpen()).toContain("1 rows cannot be read ('data/0000000000000002')");
  });
});

describe('a repair', { timeout: 60_000 }, () => {
  it.for([/^MANIFEST/, /^CURRENT$/])('brings everything back without %s', async (pattern) => {
    await rm(await fileNamed(pattern));
    expect(await tryOpen()).toBeTypeOf('string');
    const told: string[] = [];
    const store = (await tryOpen({ repair: true, report: (line) => told.push(line) })) as LevelStore;
    expect(await count(store)).toEqual({ right: EXPECTED.size, wrong: 0 });
    await store.close();
    expect(told).toHaveLength(1);
    expect(await expectAllOrNothing('after the repair')).toBe(false);
  });

  it('gives nothing up: what is lost still keeps the store from opening, and the files stay', async () => {
    await rm(await fileNamed(/\.ldb$/));
    const before = await listing();
    expect(await tryOpen({ repair: true })).toMatch(/sessions are there/);
    expect(await listing()).toEqual(before);
  });

  it.for([/\.ldb$/, /\.log$/, /^ACKNOWLEDGED$/])(
    'with loss accepted goes on without what is lost, says what, and dispenses no id again: %s',
    async (pattern) => {
      await rm(await fileNamed(pattern));
      const told: string[] = [];
      const report = (line: string) => told.push(line);
      const store = (await tryOpen({ repair: true, acceptLoss: true, report })) as LevelStore;
      expect(store).toBeInstanceOf(LevelStore);
      const { right, wrong } = await count(store);
      expect(told.join('\n')).toMatch(/sessions are lost; \d+ are alive/);
      if (pattern.source === '\\.log$') expect(wrong).toBeGreaterThan(0);
      else if (pattern.source === '^ACKNOWLEDGED$') expect(wrong).toBe(0);
      expect(await store.nextSessionID()).toBeGreaterThan(SESSIONS);
      const created = await store.create({
        keyID: 'after',
        publicKey: new Uint8Array(65),
        nowMs: 1,
        fromClient: undefined,
      });
      expect('sessionID' in created && created.sessionID).toBeGreaterThan(SESSIONS);
      await store.close();
      const again = (await tryOpen()) as LevelStore;
      expect((await count(again)).right).toBe(right);
      await again.close();
      const kept = (await readdir(folder)).filter((name) => name.startsWith('damaged-'));
      expect(kept).toHaveLength(1);
    },
  );

  it('with loss accepted keeps the store’s name when nothing else is left', async () => {
    const before = (await tryOpen()) as LevelStore;
    const { storeID } = before;
    await before.close();
    for (const name of await readdir(folder)) {
      if (name !== 'ACKNOWLEDGED') await rm(path.join(folder, name), { recursive: true });
    }
    expect(await tryOpen()).toContain(`${SESSIONS} sessions were acknowledged`);
    const store = (await tryOpen({ repair: true, acceptLoss: true })) as LevelStore;
    expect(store.storeID).toEqual(storeID);
    expect(await store.nextSessionID()).toBe(SESSIONS + 1);
    await store.close();
  });

  it('that was not needed says so', async () => {
    const told: string[] = [];
    const store = (await tryOpen({ acceptLoss: true, report: (line) => told.push(line) })) as LevelStore;
    await store.close();
    expect(told).toEqual(['nothing is lost: --accept-loss is not needed']);
  });

  it('leaves a folder that is no store alone', async () => {
    await rm(folder, { recursive: true });
    const rows = new ClassicLevel(folder);
    await rows.open();
    await rows.put('theirs', '1');
    await rows.close();
    await writeFile(path.join(folder, 'note.txt'), 'theirs');
    expect(await tryOpen()).toContain("holds 'theirs'");
    expect(await readFile(path.join(folder, 'note.txt'), 'utf8')).toBe('theirs');
  });
});

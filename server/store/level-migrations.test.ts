import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { ClassicLevel } from 'classic-level';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { LevelMedium } from './level-medium.ts';
import { LevelStore } from './level-store.ts';

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'webgram-migrations-'));
});
afterEach(() => rm(folder, { recursive: true }));

const PUBLIC_KEY = Buffer.alloc(65, 4).toString('base64url');

/** As schema version 1 had them: two sessions, of which the second has ended. */
const VERSION_1: [string, string][] = [
  ['meta/store', '[1,1,"AAECAwQFBgcICQoLDA0ODw"]'],
  ['meta/next-session-id', '[1,3]'],
  ['key/a', `[1,1,"${PUBLIC_KEY}"]`],
  ['key/b', `[1,2,"${PUBLIC_KEY}","revoked",7000]`],
  ['session/0000000000000001', '[1,"a",1000,"{}"]'],
  ['head/0000000000000001', '[1,"tag",5000,[[5000,2]]]'],
  ['generation/0000000000000001', '[1,6000]'],
  ['data/0000000000000001', '1:{"x":1}'],
  ['tabs/0000000000000001', '[1,"tab"]'],
  ['stream/0000000000000001/tab', '1:[]'],
  ['visits/0000000000000001', '[1,1000,3000,2000]'],
];

async function writeVersion1(): Promise<void> {
  const rows = new ClassicLevel(folder);
  await rows.open();
  await rows.batch(VERSION_1.map(([key, value]) => ({ type: 'put', key, value })));
  await rows.close();
}

async function expectMigrated(store: LevelStore): Promise<void> {
  expect(Buffer.from(store.storeID).toString('base64url')).toBe('AAECAwQFBgcICQoLDA0ODw');
  expect(await store.nextSessionID()).toBe(3);
  expect(await store.findKey('a')).toMatchObject({ sessionID: 1, createdMs: 1_000 });
  expect(await store.findKey('b')).toMatchObject({ sessionID: 2, ended: { reason: 'revoked', atMs: 7_000 } });
  expect(await store.load(1, 1)).toMatchObject({
    keyID: 'a',
    fromClient: '{}',
    lineage: [[5_000, 2]],
    data: '{"x":1}',
    streams: new Map([['tab', '[]']]),
    visits: { firstMs: 1_000, previousMs: 2_000, latestMs: 3_000 },
  });
  expect(await store.claim(1, 1)).toBe(6_001);
}

it('takes a store of schema version 1 to the present one, and opens it again as any other', async () => {
  await writeVersion1();
  const told: string[] = [];
  const store = new LevelStore(folder, { report: (line) => told.push(line) });
  await store.open();
  expect(told).toEqual([`took '${folder}' from schema version 1 to 2`]);
  await expectMigrated(store);
  expect(await store.forgetEnded(8_000, 10)).toBe(1);
  await store.close();
  await store.open();
  expect(told).toHaveLength(1);
  expect(await store.load(1, 1)).toMatchObject({ data: '{"x":1}' });
  await store.close();
});

it('leaves the old version as it is when it is cut off, and begins anew', async () => {
  await writeVersion1();
  const { rewrite } = LevelMedium.prototype;
  LevelMedium.prototype.rewrite = () => Promise.reject(new Error('cut off'));
  try {
    await expect(new LevelStore(folder).open()).rejects.toMatchObject({ code: 'WEBGRAM_STORE_FAILED' });
  } finally {
    LevelMedium.prototype.rewrite = rewrite;
  }
  const rows = new ClassicLevel(folder);
  await rows.open();
  expect(await rows.iterator().all()).toEqual(VERSION_1.toSorted(([a], [b]) => (a < b ? -1 : 1)));
  await rows.close();
  const store = new LevelStore(folder);
  await store.open();
  await expectMigrated(store);
  await store.close();
});

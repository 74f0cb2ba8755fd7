import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout } from 'node:timers/promises';
import { ClassicLevel } from 'classic-level';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, onTestFinished } from 'vitest';
import { bundleForNode, type Bundle } from '../testing/bundle.ts';
import { LevelMedium } from './level-medium.ts';
import { EMPTY_LEDGER } from './level-seal.ts';
import { rowName } from './level-rows.ts';
import { LevelStore } from './level-store.ts';
import { describeStore } from './store-conformance.ts';

const FOLDER_PREFIX = path.join(tmpdir(), 'webgram-level-store-');

describeStore('LevelStore', {
  async make() {
    const folder = await mkdtemp(FOLDER_PREFIX);
    return { store: () => new LevelStore(folder), remove: () => rm(folder, { recursive: true }) };
  },
  describe,
  it,
});

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(FOLDER_PREFIX);
});
afterEach(() => rm(folder, { recursive: true }));

/** Opens the test's folder as a store, until the test is over. */
async function openStore(location = folder): Promise<LevelStore> {
  const store = new LevelStore(location);
  onTestFinished(() => store.close());
  await store.open();
  return store;
}

/** Works on the bare rows of the test's folder. */
async function withRows<Result>(work: (rows: ClassicLevel) => Promise<Result>): Promise<Result> {
  const rows = new ClassicLevel(folder);
  await rows.open();
  try {
    return await work(rows);
  } finally {
    await rows.close();
  }
}

/** Changes a row as if the store itself had written it. */
async function tamper(key: string, text: string | undefined): Promise<void> {
  const medium = await LevelMedium.open(folder, false);
  try {
    const { ledger } = await medium.examine();
    await medium.rewrite([[key, text]], EMPTY_LEDGER);
    const { found } = await medium.examine();
    await medium.rewrite([], { ...found, synced: ledger?.synced ?? 0 });
  } finally {
    await medium.close();
  }
}

/** Makes session 1 with a row of every kind, and session 2. */
async function fillStore(): Promise<void> {
  const store = new LevelStore(folder);
  await store.open();
  for (const keyID of ['a', 'b']) {
    await store.create({ keyID, publicKey: new Uint8Array(65).fill(4), nowMs: 1, fromClient: undefined });
  }
  await store.claim(1, 1);
  await store.commit(await commitAfterLoad(store, 1));
  await store.writeVisits(1, { firstMs: 1, latestMs: 1 });
  await store.close();
}

async function commitAfterLoad(store: LevelStore, sessionID: number) {
  const { tag: expectedTag = '', generation = 0 } = (await store.load(sessionID, 1)) ?? {};
  return {
    sessionID,
    expectedTag,
    tag: 'next',
    generation,
    lineage: [],
    data: '1',
    streams: new Map([['tab', '1']]),
  };
}

describe('a folder of LevelStore', () => {
  it('is open in one store at a time, and can be opened when that one has closed', async () => {
    const first = await openStore();
    const second = new LevelStore(folder);
    await expect(second.open()).rejects.toMatchObject({
      code: 'WEBGRAM_STORE_LOCKED',
      message: expect.stringContaining(`'${folder}' is open in another process; stop that one`) as string,
    });
    await expect(second.nextSessionID()).rejects.toMatchObject({ code: 'WEBGRAM_STORE_CLOSED' });
    expect(await first.nextSessionID()).toBe(1);
    await first.close();
    await second.open();
    await second.close();
  });

  it('that cannot be made says why', async () => {
    const file = path.join(folder, 'file');
    await writeFile(file, '');
    const store = new LevelStore(path.join(file, 'store'));
    await expect(store.open()).rejects.toMatchObject({
      code: 'WEBGRAM_STORE_FAILED',
      cause: expect.any(Error) as Error,
    });
    await store.close();
  });

  it('that holds the rows of another program is refused and left as it is', async () => {
    await withRows((rows) => rows.put('nextSessionID', '7'));
    await expect(new LevelStore(folder).open()).rejects.toMatchObject({ code: 'WEBGRAM_STORE_CORRUPT' });
    expect(await withRows((rows) => rows.keys().all())).toEqual(['nextSessionID']);
  });

  it('of a newer schema is refused', async () => {
    await fillStore();
    await tamper('meta/store', '[1,3,"AAAAAAAAAAAAAAAAAAAAAA"]');
    await expect(new LevelStore(folder).open()).rejects.toMatchObject({
      code: 'WEBGRAM_STORE_CORRUPT',
      message: expect.stringContaining('schema version 3') as string,
    });
  });

  it('that would dispense an id again is refused', async () => {
    await fillStore();
    await tamper('meta/next-session-id', '[1,2]');
    await expect(new LevelStore(folder).open()).rejects.toMatchObject({
      code: 'WEBGRAM_STORE_CORRUPT',
      message: expect.stringContaining('would dispense an id again') as string,
    });
  });

  it('keeps one row of a session that has ended', async () => {
    await fillStore();
    const before = await withRows((rows) => rows.keys().all());
    const ofSession1 = before.filter((key) => key === 'key/a' || key.includes('/0000000000000001'));
    expect(ofSession1).toHaveLength(7);
    const store = await openStore();
    await store.end(1, 'revoked', 2);
    await store.close();
    const left = await withRows((rows) => rows.keys().all());
    expect(before.filter((key) => !left.includes(key))).toEqual(ofSession1.filter((key) => key !== 'key/a'));
  });
});

describe('a row that cannot be understood', () => {
  const GARBAGE = ['garbage', '', '{}', '[2,"x",1,1]', '[1,null,null,null]', '[1,-1,0.5,"x"]'];
  const calls = {
    findKey: (store: LevelStore) => store.findKey('a'),
    create: (store: LevelStore) =>
      store.create({ keyID: 'a', publicKey: new Uint8Array(65), nowMs: 1, fromClient: undefined }),
    claim: (store: LevelStore) => store.claim(1, 1),
    load: (store: LevelStore) => store.load(1, 1),
    commit: (store: LevelStore) =>
      store.commit({
        sessionID: 1,
        expectedTag: 'next',
        tag: 'x',
        generation: 1,
        lineage: [],
        streams: new Map([['tab', 'x']]),
      }),
    end: (store: LevelStore) => store.end(1, 'revoked', 1),
  };

  it.for<[key: string, names: (keyof typeof calls)[]]>([
    ['key/a', ['findKey', 'create', 'end']],
    ['session/0000000000000001', ['load', 'claim', 'end', 'findKey']],
    ['head/0000000000000001', ['load', 'commit']],
    ['data/0000000000000001', ['load']],
    ['tabs/0000000000000001', ['load', 'commit', 'end']],
    ['stream/0000000000000001/tab', ['load']],
    ['presence/0000000000000001', ['load', 'claim', 'end', 'findKey']],
  ])('is named, and hinders no other session: %s', async ([key, names]) => {
    await fillStore();
    for (const garbage of GARBAGE) {
      await tamper(key, garbage);
      const store = await openStore();
      for (const name of names) {
        await expect(calls[name](store), `${name} on ${garbage}`).rejects.toMatchObject({
          code: 'WEBGRAM_STORE_CORRUPT',
          message: expect.stringContaining(`${key.split('/')[0]} row '${rowName(key)}'`) as string,
        });
      }
      expect(await store.load(2, 1)).toMatchObject({ keyID: 'b' });
      await store.close();
    }
  });

  it.for(['meta/store', 'meta/next-session-id'])('keeps the store from opening: %s', async (key) => {
    await fillStore();
    for (const garbage of [...GARBAGE, undefined]) {
      await tamper(key, garbage);
      const store = new LevelStore(folder);
      await expect(store.open(), `on ${garbage}`).rejects.toMatchObject({
        code: 'WEBGRAM_STORE_CORRUPT',
        message: expect.stringContaining(`meta row '${key}'`) as string,
      });
    }
  });

  it.for<[key: string, name: keyof typeof calls]>([
    ['key/a', 'end'],
    ['stream/0000000000000001/tab', 'load'],
  ])('is named when it is missing: %s', async ([key, name]) => {
    await fillStore();
    await tamper(key, undefined);
    const store = await openStore();
    await expect(calls[name](store)).rejects.toMatchObject({
      code: 'WEBGRAM_STORE_CORRUPT',
      message: expect.stringContaining(`'${rowName(key)}' cannot be understood: it is missing`) as string,
    });
  });
});

describe('LevelStore in a process that dies', { timeout: 60_000 }, () => {
  let bundle: Bundle;

  beforeAll(async () => {
    bundle = await bundleForNode('server/store/level-store-child.ts');
  }, 60_000);
  afterAll(() => bundle.remove());

  /** Runs the child on the test's folder. What it says is split into words. */
  function startChild(prefix: string, shellPrefix = '') {
    const file = (name: string) => `'${name}'`;
    const command = [file(process.execPath), file(bundle.file), file(folder), prefix];
    const child = spawn('/bin/sh', ['-c', `${shellPrefix} exec ${command.join(' ')}`], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    onTestFinished(() => void child.kill('SIGKILL'));
    const said: string[][] = [];
    const ended = once(child, 'close');
    const lines = createInterface({ input: child.stdout });
    let onLine = (): void => undefined;
    lines.on('line', (line) => {
      said.push(line.split(' '));
      onLine();
    });
    const saidLines = (count: number) =>
      new Promise<void>((resolve) => {
        onLine = () => said.length >= count && resolve();
        onLine();
      });
    return { child, said, ended, saidLines };
  }

  /** Checks that all that the child was told is in the store, and that no id of it comes again. */
  async function expectAcknowledged(said: string[][], context: string): Promise<void> {
    const store = await openStore();
    const ids = new Set<number>();
    const commits = new Map<number, number>();
    for (const [what, id, detail = ''] of said) {
      const sessionID = Number(id);
      if (what === 'committed') commits.set(sessionID, Number(detail));
      if (what !== 'created') continue;
      expect(ids.has(sessionID), `${id} is given once, ${context}`).toBe(false);
      ids.add(sessionID);
      expect(await store.findKey(detail), context).toMatchObject({ sessionID });
    }
    for (const sessionID of ids) {
      const acknowledged = commits.get(sessionID) ?? 0;
      const { data, streams, lineage } = (await store.load(sessionID, 1)) ?? {};
      const found = Number(data ?? 0);
      const ofSession = `commits of ${sessionID}, ${context}`;
      expect([acknowledged, acknowledged + 1], ofSession).toContain(found);
      expect(Number(streams?.get('tab') ?? 0), ofSession).toBe(found);
      expect(lineage, ofSession).toEqual(found === 0 ? [] : [[expect.any(Number), found]]);
    }
    expect(await store.nextSessionID(), context).toBeGreaterThan(Math.max(...ids));
    await store.close();
  }

  it('keeps all it acknowledged and dispenses no id twice, killed with -9 again and again', async () => {
    const said: string[][] = [];
    for (let round = 1; round <= 8; round++) {
      const lines = 5 + Math.floor(Math.random() * 800);
      // Not in step with what it says: in the middle of a write as well.
      const delayMs = Math.random() * 3;
      const context = `round ${round}, killed ${delayMs} ms after ${lines} lines`;
      const run = startChild(`round-${round}`);
      await run.saidLines(lines);
      await setTimeout(delayMs);
      run.child.kill('SIGKILL');
      expect(await run.ended, context).toEqual([null, 'SIGKILL']);
      said.push(...run.said);
      await expectAcknowledged(said, context);
    }
  });

  it('keeps other processes out while it lives', async () => {
    const run = startChild('one');
    await run.saidLines(1);
    await expect(new LevelStore(folder).open()).rejects.toMatchObject({ code: 'WEBGRAM_STORE_LOCKED' });
    run.child.kill('SIGKILL');
    await run.ended;
    await openStore();
  });

  it('goes on after a write that was cut off, and has all it acknowledged when opened again', async () => {
    // A limit on the length of files fails the write in the middle of a record, as a full disk does.
    const run = startChild('one', 'ulimit -f 300;');
    expect(await run.ended).toEqual([0, null]);
    const created = run.said.filter(([what]) => what === 'created');
    expect(created.length).toBeGreaterThan(10);
    expect(
      run.said.slice(run.said.findIndex(([what]) => what === 'failed')).map((words) => words.join(' ')),
    ).toEqual([
      ...Array.from({ length: 16 }, () => 'failed WEBGRAM_STORE_FAILED'),
      'again created',
      `found ${created.find(([, , keyID]) => keyID === 'one-1')?.[1]}`,
      'closed',
    ]);
    await expectAcknowledged(run.said, 'full');
    const store = await openStore();
    const next = await store.nextSessionID();
    expect(
      await store.create({ keyID: 'after', publicKey: new Uint8Array(65), nowMs: 1, fromClient: undefined }),
    ).toEqual({ sessionID: next, created: true });
  });
});

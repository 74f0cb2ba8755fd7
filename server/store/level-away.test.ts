import { execFileSync } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { LevelMedium } from './level-medium.ts';
import { LevelStore } from './level-store.ts';
import type { StoreChange } from './store.ts';

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

async function makeFolder(): Promise<string> {
  const folder = await mkdtemp(path.join(tmpdir(), 'webgram-away-'));
  cleanups.push(() => rm(folder, { recursive: true, force: true }));
  return folder;
}

/** A file system of its own, of 24 MiB; `undefined` where that is not allowed. */
async function mountSmall(): Promise<string | undefined> {
  const folder = await makeFolder();
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=24m', 'tmpfs', folder], { stdio: 'ignore' });
  } catch {
    return undefined;
  }
  cleanups.push(() => execFileSync('umount', ['-l', folder]));
  return folder;
}

async function openStore(folder: string) {
  const store = new LevelStore(path.join(folder, 'db'));
  const changes: string[] = [];
  store.onChange((change: StoreChange) => changes.push(change.name));
  cleanups.push(() => store.close());
  await store.open();
  return { store, changes };
}

const create = (store: LevelStore, keyID: string, fromClient?: string) =>
  store.create({ keyID, publicKey: new Uint8Array(65), nowMs: 1, fromClient });

const codeOf = (error: unknown) => (error as { code: string }).code;

/** Makes the writes of every medium fail from the nth on; gives back what ends that. */
function failWrites(cause: Error, options: { isWritten?: boolean } = {}): () => void {
  const { write } = LevelMedium.prototype;
  LevelMedium.prototype.write = async function (...args) {
    if (options.isWritten === true) await write.apply(this, args);
    throw cause;
  };
  const end = () => {
    LevelMedium.prototype.write = write;
  };
  cleanups.push(end);
  return end;
}

describe('LevelStore on a medium that is full', { timeout: 30_000 }, () => {
  it('refuses writes with WEBGRAM_STORE_FULL, reads on, and goes on by itself when there is room', async (context) => {
    const folder = await mountSmall();
    if (folder === undefined) {
      context.skip('a file system can be mounted by root only');
      return;
    }
    const { store, changes } = await openStore(folder);
    await create(store, 'before');
    await writeFile(path.join(folder, 'ballast'), Buffer.alloc(20 * 1024 * 1024));
    const acknowledged: string[] = ['before'];
    const codes = new Set<string>();
    for (let n = 1; n <= 40 && codes.size === 0; n += 1) {
      await create(store, `key-${n}`, `"${Math.random().toString(36).repeat(20_000)}"`).then(
        () => acknowledged.push(`key-${n}`),
        (error: unknown) => {
          expect(error).toMatchObject({ retryable: true });
          codes.add(codeOf(error));
        },
      );
    }
    expect([...codes]).toEqual(['WEBGRAM_STORE_FULL']);
    expect(changes).toEqual(['away']);
    for (const keyID of acknowledged) expect(await store.findKey(keyID)).toBeDefined();
    expect(await create(store, 'meanwhile').catch(codeOf)).toBe('WEBGRAM_STORE_FULL');

    await rm(path.join(folder, 'ballast'));
    await expect
      .poll(() => create(store, 'after').catch(codeOf), { timeout: 10_000 })
      .toMatchObject({
        created: expect.any(Boolean) as boolean,
      });
    expect(changes).toEqual(['away', 'back']);
    for (const keyID of [...acknowledged, 'after']) expect(await store.findKey(keyID)).toBeDefined();
    expect(await store.findKey('meanwhile')).toBeUndefined();
    await store.close();
    const again = await openStore(folder);
    for (const keyID of [...acknowledged, 'after']) expect(await again.store.findKey(keyID)).toBeDefined();
  });
});

describe('LevelStore after a write that failed', () => {
  it('rejects what was in that batch, and goes on with what waited', async () => {
    const { store, changes } = await openStore(await makeFolder());
    const restore = failWrites(Object.assign(new Error('input/output error'), { code: 'EIO' }));
    const failed = create(store, 'a');
    const outcome = failed.catch((error: unknown) => error);
    await new Promise((resolve) => process.nextTick(resolve));
    const waiting = create(store, 'b');
    restore();
    expect(await outcome).toMatchObject({ code: 'WEBGRAM_STORE_FAILED', retryable: true });
    expect(await waiting).toEqual({ sessionID: 1, created: true });
    expect(changes).toEqual(['away', 'back']);
    expect(await store.findKey('a')).toBeUndefined();
  });

  it('reads while it opens itself again', async () => {
    const { store } = await openStore(await makeFolder());
    await create(store, 'before');
    const restore = failWrites(new Error('broken'));
    const outcome = create(store, 'a').catch(codeOf);
    const found: unknown[] = [];
    for (let n = 0; n < 50; n += 1) {
      found.push((await store.findKey('before'))?.sessionID);
      if (n === 10) restore();
      await new Promise((resolve) => setImmediate(resolve));
    }
    expect(new Set(found)).toEqual(new Set([1]));
    expect(await outcome).toBe('WEBGRAM_STORE_FAILED');
  });

  it('refuses the commit that rests on one whose outcome is unknown, or takes it: never in between', async () => {
    for (const isWritten of [true, false]) {
      const { store } = await openStore(await makeFolder());
      await create(store, 'a');
      const session = await store.load(1, 1);
      const commit = {
        sessionID: 1,
        expectedTag: session!.tag,
        tag: 'one',
        lineage: [[session!.life, 1]] as const,
        data: '1',
        streams: new Map([['tab', '1']]),
      };
      const restore = failWrites(new Error('broken'), { isWritten });
      expect(await store.commit(commit).catch(codeOf)).toBe('WEBGRAM_STORE_FAILED');
      restore();
      expect(await store.headTag(1)).toBe(isWritten ? 'one' : session!.tag);
      const second = {
        ...commit,
        expectedTag: 'one',
        tag: 'two',
        data: '2',
        streams: new Map([['tab', '2']]),
      };
      expect(await store.commit(second).then(() => 'taken', codeOf)).toBe(
        isWritten ? 'taken' : 'WEBGRAM_STORE_CONFLICT',
      );
      const { data, streams } = (await store.load(1, 1))!;
      expect([data, streams.get('tab')]).toEqual(isWritten ? ['2', '2'] : [undefined, undefined]);
    }
  });

  it('gives a medium that fails again and again longer and longer, and refuses at once meanwhile', async () => {
    const { store, changes } = await openStore(await makeFolder());
    const restore = failWrites(new Error('broken'));
    for (let n = 0; n < 20; n += 1)
      expect(await create(store, `key-${n}`).catch(codeOf)).toBe('WEBGRAM_STORE_FAILED');
    expect(changes.filter((name) => name === 'away').length).toBeLessThan(4);
    restore();
    await expect
      .poll(() => create(store, 'after').catch(codeOf), { timeout: 5_000 })
      .toMatchObject({ created: true });
  });

  it('closes while it is away', async () => {
    const { store } = await openStore(await makeFolder());
    const restore = failWrites(new Error('broken'));
    for (let n = 0; n < 3; n += 1) await create(store, `key-${n}`).catch(codeOf);
    await store.close();
    restore();
    await store.open();
    expect(await create(store, 'after')).toMatchObject({ created: true });
  });
});

import { expect, test } from 'vitest';
import { IdbKeyStore } from './idb-key-store.ts';
import { WorkerCalls } from './testing/worker-calls.ts';

let runs = 0;

/** A run of a worker: its memory is its own. */
async function startWorker(database: string, limitMs?: number): Promise<WorkerCalls> {
  const script = new URL('./testing/keyring-worker.ts', import.meta.url);
  const { port } = new SharedWorker(script, { type: 'module', name: `keyring ${Date.now()} ${runs++}` });
  const worker = new WorkerCalls(port);
  await worker.call('open', database, limitMs);
  return worker;
}

function newDatabase(): string {
  return `keyring-test-${crypto.randomUUID()}`;
}

async function storedIdentities(database: string): Promise<{ privateKey: CryptoKey; setAside?: unknown }[]> {
  const records = await new IdbKeyStore(database).read('wss://server.example/ identity ');
  return [...records.values()] as { privateKey: CryptoKey; setAside?: unknown }[];
}

test('makes an identity whose key is stored, signs, and can never be read', async () => {
  const database = newDatabase();
  const worker = await startWorker(database);
  const identity = await worker.call('identity');
  expect(identity).toMatchObject({ storage: 'persistent', madeBecause: 'new', sessionID: null });
  expect(await worker.call('signs')).toBe(true);

  const [stored, ...more] = await storedIdentities(database);
  expect(more).toEqual([]);
  const { privateKey } = stored!;
  expect(privateKey).toBeInstanceOf(CryptoKey);
  expect(privateKey.extractable).toBe(false);
  expect(privateKey.usages).toEqual(['sign']);
  for (const format of ['pkcs8', 'jwk'] as const) {
    await expect(crypto.subtle.exportKey(format, privateKey)).rejects.toMatchObject({
      name: 'InvalidAccessError',
    });
  }
});

test('another run of the worker finds identity, session and pins', async () => {
  const database = newDatabase();
  const first = await startWorker(database);
  const made = (await first.call('identity')) as { publicKey: string; localID: string };
  await first.call('confirmed', 7);

  const second = await startWorker(database);
  const found = await second.call('identity');
  expect(found).toMatchObject({ publicKey: made.publicKey, localID: made.localID, sessionID: 7 });
  expect(found).toMatchObject({ storage: 'persistent', madeBecause: undefined });
  expect(await second.call('signs')).toBe(true);
  expect(await second.call('pins')).toEqual([made.publicKey]);
});

test('two workers that start at once on one storage have one identity', async () => {
  const database = newDatabase();
  const workers = await Promise.all([startWorker(database), startWorker(database), startWorker(database)]);
  const identities = await Promise.all(workers.map((worker) => worker.call('identity')));
  const keys = new Set(identities.map((identity) => (identity as { publicKey: string }).publicKey));
  expect(keys.size).toBe(1);
  expect(await storedIdentities(database)).toHaveLength(1);
});

test('a browser that refuses to store keys gets an identity in memory, the same as long as the worker lives', async () => {
  const worker = await startWorker(newDatabase());
  await worker.call('refusePuts');
  const identity = await worker.call('identity');
  expect(identity).toMatchObject({ storage: 'memory' });
  expect(await worker.call('signs')).toBe(true);
  await worker.call('confirmed', 3);
  expect(await worker.call('identity')).toEqual({ ...(identity as object), sessionID: 3 });
  expect(await worker.call('canKeepKeys')).toBe(false);
});

test('a key that does not come back as it was written is not trusted', async () => {
  const worker = await startWorker(newDatabase());
  await worker.call('loseKeys');
  expect(await worker.call('identity')).toMatchObject({ storage: 'memory' });
  expect(await worker.call('signs')).toBe(true);
  expect(await worker.call('canKeepKeys')).toBe(false);
});

test('a database that hangs once is opened anew; one that always hangs means memory', async () => {
  const once = await startWorker(newDatabase(), 300);
  await once.call('hangOpens', 1);
  expect(await once.call('identity')).toMatchObject({ storage: 'persistent' });

  const always = await startWorker(newDatabase(), 100);
  await always.call('hangOpens', Infinity);
  expect(await always.call('identity')).toMatchObject({ storage: 'memory' });
});

test('the probe passes here, and its key does not get in the way', async () => {
  const database = newDatabase();
  const worker = await startWorker(database);
  expect(await worker.call('canKeepKeys')).toBe(true);
  expect(await worker.call('canKeepKeys')).toBe(true);
  expect(await storedIdentities(database)).toEqual([]);
});

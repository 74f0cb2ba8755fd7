import { beforeEach, expect, test } from 'vitest';
import { MemoryKeyStore } from './key-store.ts';
import type { KeyStore } from './key-store.ts';
import { Keyring } from './keyring.ts';
import { webCrypto } from './web-crypto.ts';
import { webKeys } from './web-keys.ts';

const ADDRESS = 'wss://server.example/';
const [A, B] = ['a'.repeat(21) + 'A', 'b'.repeat(21) + 'A'];
let store: MemoryKeyStore;

beforeEach(() => {
  store = new MemoryKeyStore('persistent');
});

/** Another run of the host. */
function keyring(of: KeyStore = store, address = ADDRESS): Keyring {
  return new Keyring({ address, keyStore: of, keys: webKeys, crypto: webCrypto, clock: { nowMs: () => 5 } });
}

async function records(prefix = ADDRESS): Promise<Map<string, Record<string, unknown>>> {
  return new Map(await store.read(prefix)) as Map<string, Record<string, unknown>>;
}

async function edit(key: string, change: (record: Record<string, unknown>) => unknown): Promise<void> {
  const record = (await records('')).get(key)!;
  await store.update('', () => [[key, change(record)]]);
}

test('an identity belongs to a server address and a store', async () => {
  const first = await keyring().identity(A);
  const otherStore = await keyring().identity(B);
  const otherServer = await keyring(store, 'wss://other.example/').identity(A);
  expect(new Set([first, otherStore, otherServer].map(({ localID }) => localID)).size).toBe(3);
  expect([first, otherStore, otherServer].map(({ madeBecause }) => madeBecause)).toEqual([
    'new',
    'store-lost',
    'new',
  ]);
  expect((await keyring().identity(A)).localID).toBe(first.localID);
  expect((await keyring().identity(B)).localID).toBe(otherStore.localID);
});

test('no address begins with another one', async () => {
  await keyring(store, 'wss://server.example/x').identity(A);
  expect((await keyring(store, 'wss://server.example/').identity(A)).madeBecause).toBe('new');
});

test('a record of a later version is never overwritten; the identity lives in memory', async () => {
  const { localID } = await keyring().identity(A);
  const key = `${ADDRESS} identity ${A} ${localID}`;
  await edit(key, (record) => ({ ...record, version: 2, unheardOf: true }));
  const before = await records();
  const ring = keyring();
  const identity = await ring.identity(A);
  expect(identity).toMatchObject({ storage: 'memory' });
  await ring.confirmed(identity, identity.key, 9, [identity.key.publicKey]);
  await ring.denied(identity, 'revoked');
  expect(await records()).toEqual(before);

  await edit(`${ADDRESS} server`, (record) => ({ ...record, version: 2 }));
  expect(await keyring().identity(B)).toMatchObject({ storage: 'memory' });
});

test('fields that this version does not know are kept', async () => {
  const { localID } = await keyring().identity(A);
  const key = `${ADDRESS} identity ${A} ${localID}`;
  await edit(key, (record) => ({ ...record, label: 'Alice', next: { publicKey: 1 } }));
  await edit(`${ADDRESS} server`, (record) => ({ ...record, color: 'green' }));
  const ring = keyring();
  const identity = await ring.identity(A);
  await ring.confirmed(identity, identity.key, 7, [identity.key.publicKey]);
  const after = await records();
  expect(after.get(key)).toMatchObject({ label: 'Alice', next: { publicKey: 1 }, sessionID: 7 });
  expect(after.get(`${ADDRESS} server`)).toMatchObject({ color: 'green', pins: [identity.key.publicKey] });
});

test('a key that was read but does not sign is kept aside, and its loss has a name', async () => {
  const { localID } = await keyring().identity(A);
  const key = `${ADDRESS} identity ${A} ${localID}`;
  await edit(key, (record) => ({ ...record, privateKey: null }));
  const identity = await keyring().identity(A);
  expect(identity).toMatchObject({ storage: 'persistent', madeBecause: 'key-lost' });
  expect((await records()).get(key)).toMatchObject({ setAside: { reason: 'key-lost', atMs: 5 } });
  expect((await keyring().identity(A)).localID).toBe(identity.localID);
});

test('a record that is gone or damaged while it was in use means that the key was lost', async () => {
  const { localID } = await keyring().identity(A);
  const key = `${ADDRESS} identity ${A} ${localID}`;
  await edit(key, () => ({ version: 1, rubbish: true }));
  expect(await keyring().identity(A)).toMatchObject({ madeBecause: 'key-lost' });
  expect((await records()).get(key)).toEqual({ version: 1, rubbish: true });
});

test('a damaged server record costs the pins, not the identity', async () => {
  const { localID } = await keyring().identity(A);
  await edit(`${ADDRESS} server`, () => 'rubbish');
  expect((await keyring().identity(A)).localID).toBe(localID);
});

test('revoked drops an identity, unknown keeps it aside; the next one says why', async () => {
  const ring = keyring();
  const first = await ring.identity(A);
  await ring.denied(first, 'unknown');
  const second = await ring.identity(A);
  expect(second.madeBecause).toBe('store-lost');
  await ring.denied(second, 'revoked');
  const third = await ring.identity(A);
  expect(third.madeBecause).toBe('revoked');
  const kept = [...(await records())].filter(([key]) => key.includes(' identity '));
  expect(kept.map(([, record]) => record['localID']).sort()).toEqual([first.localID, third.localID].sort());
  expect((await keyring().identity(A)).localID).toBe(third.localID);
});

test('a store that cannot be read is not one without identities', async () => {
  const { localID } = await keyring().identity(A);
  const broken: KeyStore = {
    storage: 'persistent',
    read: () => Promise.reject(new Error('unreadable')),
    update: () => Promise.reject(new Error('unwritable')),
  };
  const ring = keyring(broken);
  const identity = await ring.identity(A);
  expect(identity).toMatchObject({ storage: 'memory' });
  expect(await ring.identity(A)).toBe(identity);
  expect(await ring.pins()).toEqual([]);
  await ring.confirmed(identity, identity.key, 1, [identity.key.publicKey]);
  expect(await ring.pins()).toEqual([identity.key.publicKey]);
  expect((await keyring().identity(A)).localID).toBe(localID);
});

test('site data that is cleared under a living host ends in memory, and says so', async () => {
  const ring = keyring();
  const identity = await ring.identity(A);
  const all = [...(await records()).keys()];
  await store.update('', () => all.map((key) => [key, undefined]));
  await ring.confirmed(identity, identity.key, 4, [identity.key.publicKey]);
  expect(identity).toMatchObject({ storage: 'memory', sessionID: 4 });
  expect([...(await records()).keys()].filter((key) => key.includes(' identity '))).toEqual([]);
});

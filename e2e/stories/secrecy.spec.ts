import { readFileSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import path from 'node:path';
import { createECDH } from 'node:crypto';
import { WebSocket } from 'ws';
import type { Recording } from '../faults/recording.ts';
import { addOne, sessionIDOf, statsOf } from '../kit/page.ts';
import { expect, openTab, test } from '../kit/test.ts';
import type { TestServer } from '../kit/test-server.ts';

test('the identity is nowhere but in IndexedDB, as a key that cannot be exported', async ({
  context,
  host,
  wire,
}) => {
  const page = await openTab(context, wire.url);
  await addOne(page, 1);
  await expect(page.locator('#result')).toHaveText('2');

  expect(await context.cookies()).toEqual([]);
  const elsewhere = await page.evaluate(() => [
    localStorage.length,
    sessionStorage.length,
    document.cookie,
    name,
  ]);
  expect(elsewhere).toEqual([0, 0, '', '']);

  const keys = await page.evaluate(async () => {
    const promised = <T>(request: IDBRequest<T>) =>
      new Promise<T>((resolve, reject) => {
        request.onsuccess = () => resolve(request.result);
        request.onerror = () => reject(new Error(request.error?.message));
      });
    const found: CryptoKey[] = [];
    const collect = (value: unknown) => {
      if (value instanceof CryptoKey) found.push(value);
      else if (typeof value === 'object' && value !== null && !ArrayBuffer.isView(value)) {
        Object.values(value).forEach(collect);
      }
    };
    for (const { name } of await indexedDB.databases()) {
      const db = await promised(indexedDB.open(name!));
      for (const store of db.objectStoreNames) {
        collect(await promised(db.transaction(store).objectStore(store).getAll()));
      }
      db.close();
    }
    const formats = ['jwk', 'pkcs8', 'raw', 'spki'] as const;
    return Promise.all(
      found.map(async (key) => ({
        type: key.type,
        extractable: key.extractable,
        usages: key.usages,
        exports: await Promise.all(
          formats.map((format) =>
            crypto.subtle.exportKey(format, key).then(
              () => `exported as ${format}`,
              (error: Error) => error.name,
            ),
          ),
        ),
      })),
    );
  });
  // The identity, and the throw-away key with which a worker finds out whether it can keep keys.
  expect(keys).toHaveLength(host === 'shared-worker' ? 2 : 1);
  for (const key of keys) {
    expect(key).toMatchObject({ type: 'private', extractable: false, usages: ['sign'] });
    for (const outcome of key.exports) expect(outcome).not.toContain('exported');
  }
});

test('no byte that leaves the browser holds a private key, and the server stores none @chromium', async ({
  profiles,
  server,
  wire,
}) => {
  const profile = await profiles.create();
  const context = await profiles.open(profile);
  const page = await openTab(context, wire.url);
  await addOne(page, 1);
  await expect(page.locator('#result')).toHaveText('2');
  wire.cut();
  await addOne(page, 2);
  await expect(page.locator('#result')).toHaveText('3', { timeout: 25_000 });
  await context.close();

  const scalars = privateKeysOnDisk(await filesUnder(path.join(profile, 'Default', 'IndexedDB')));
  expect(scalars.length).toBeGreaterThan(0);
  const sent = wire.recordings.flatMap((recording) => [
    recording.bytes,
    ...[...recording.clientMessages, ...recording.serverMessages].flatMap(({ payload }) => decoded(payload)),
  ]);
  // That we have the right keys: the public half of one of them was sent.
  const publicKeys = scalars.map(publicKeyOf);
  expect(publicKeys.some((key) => sent.some((bytes) => bytes.includes(key)))).toBe(true);

  await server.stop();
  const stored = (await filesUnder(server.folder)).map((file) => readFileSync(file));
  for (const scalar of scalars) {
    for (const spelling of spellings(scalar)) {
      expect(sent.some((bytes) => bytes.includes(spelling))).toBe(false);
      expect(stored.some((bytes) => bytes.includes(spelling))).toBe(false);
    }
  }
});

test('what was recorded of a create and a resume lets nobody in, and harms nobody', async ({
  context,
  server,
  wire,
}) => {
  const page = await openTab(context, wire.url);
  await addOne(page, 999);
  await expect(page.locator('#result')).toHaveText('1000');
  wire.cut();
  await addOne(page, 41);
  await expect(page.locator('#result')).toHaveText('42', { timeout: 25_000 });

  const [created, resumed] = wire.webSockets.filter(({ clientMessages }) => clientMessages.length > 1);
  expect(created!.clientMessages[0]!.payload.toString()).toMatch(/^\["session-create",/);
  expect(resumed!.clientMessages[0]!.payload.toString()).toMatch(/^\["session-resume",/);

  for (const recording of [created!, resumed!]) {
    const { code, heard } = await replay(server, recording);
    expect(code).toBe(4401);
    expect(heard.map((text) => (JSON.parse(text) as string[])[0])).toEqual(['hello', 'session-denied']);
  }

  // The link of the honest tab was not touched, and its identity still opens another.
  await expect.poll(() => statsOf(page)).toEqual({ sockets: 1, sessions: 1, conns: 1 });
  expect(wire.webSockets.filter(({ clientMessages }) => clientMessages.length > 1)).toHaveLength(2);
  wire.cut();
  await addOne(page, 6);
  await expect(page.locator('#result')).toHaveText('7', { timeout: 25_000 });
  expect(await sessionIDOf(page)).toBe(1);
});

test('a flood of replays does not keep the owner out', async ({ context, server, wire }) => {
  const page = await openTab(context, wire.url);
  wire.cut();
  await addOne(page, 41);
  await expect(page.locator('#result')).toHaveText('42', { timeout: 25_000 });
  const resumed = wire.webSockets.findLast(({ clientMessages }) => clientMessages.length > 1)!;

  const codes: number[] = [];
  for (let count = 0; count < 40; count++) codes.push((await replay(server, resumed)).code);
  for (const code of codes) expect([4401, 4429]).toContain(code);

  wire.cut();
  await addOne(page, 6);
  await expect(page.locator('#result')).toHaveText('7', { timeout: 25_000 });
});

/** Sends the client's side of a recorded connection over a new socket, word for word, behind the server's hello. */
function replay(server: TestServer, recording: Recording): Promise<{ code: number; heard: string[] }> {
  const header = (name: string) => new RegExp(`^${name}: *(.*?)\r$`, 'im').exec(recording.requestHead)![1]!;
  const socket = new WebSocket(server.wsUrl, header('sec-websocket-protocol').split(/, */), {
    headers: { Host: header('host'), Origin: header('origin') },
    perMessageDeflate: false,
  });
  const heard: string[] = [];
  socket.on('message', (data: Buffer, isBinary) => {
    heard.push(isBinary ? data.toString('base64url') : data.toString());
    if (heard.length > 1) return;
    for (const { payload, opcode } of recording.clientMessages)
      socket.send(payload, { binary: opcode === 2 });
  });
  return new Promise((resolve, reject) => {
    const limit = setTimeout(() => {
      socket.terminate();
      reject(new Error('the server does not close'));
    }, 15_000);
    socket.once('error', reject);
    socket.once('close', (code) => {
      clearTimeout(limit);
      resolve({ code, heard });
    });
  });
}

async function filesUnder(folder: string): Promise<string[]> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  return entries.filter((entry) => entry.isFile()).map((entry) => path.join(entry.parentPath, entry.name));
}

/** What stands before the 32 bytes of a P-256 private key in PKCS #8 (RFC 5208, RFC 5915). */
const PKCS8_P256 = Buffer.from('301306072a8648ce3d020106082a8648ce3d030107046d306b0201010420', 'hex');

/** Chromium keeps keys that cannot be exported readable on the disk of their profile. */
function privateKeysOnDisk(files: string[]): Buffer[] {
  const found = new Map<string, Buffer>();
  for (const file of files) {
    const bytes = readFileSync(file);
    for (let at = bytes.indexOf(PKCS8_P256); at >= 0; at = bytes.indexOf(PKCS8_P256, at + 1)) {
      const begin = at + PKCS8_P256.length;
      const scalar = bytes.subarray(begin, begin + 32);
      found.set(scalar.toString('hex'), scalar);
    }
  }
  return [...found.values()];
}

function publicKeyOf(scalar: Buffer): Buffer {
  const ecdh = createECDH('prime256v1');
  ecdh.setPrivateKey(scalar);
  return ecdh.getPublicKey();
}

/** A message as it is, and every base64url text in it decoded. */
function decoded(payload: Buffer): Buffer[] {
  const texts = payload.toString('latin1').match(/[A-Za-z0-9_-]{20,}/g) ?? [];
  return [payload, ...texts.map((text) => Buffer.from(text, 'base64url'))];
}

function spellings(scalar: Buffer): (Buffer | string)[] {
  const hex = scalar.toString('hex');
  return [
    scalar,
    hex,
    hex.toUpperCase(),
    scalar.toString('base64url'),
    scalar.toString('base64').slice(0, 42),
  ];
}

import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { WebSocket } from 'ws';
import { CLOSE } from 'webgram';
import { NodeSigningKey } from './node-crypto.ts';
import { Server } from './server.ts';
import { LevelStore } from './store/level-store.ts';
import { TestLink, TestTab, type TestIdentity } from './testing/test-client.ts';

const SILENT = {
  debug: () => undefined,
  info: () => undefined,
  warn: () => undefined,
  error: () => undefined,
};

let folder: string;
let logged: string[];
const servers: Server[] = [];
const links: TestLink[] = [];

beforeEach(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'webgram-backup-'));
  logged = [];
});

afterEach(async () => {
  for (const { socket } of links.splice(0)) socket.terminate();
  for (const server of servers.splice(0)) await server.close();
  await rm(folder, { recursive: true });
});

async function start(db: string): Promise<Server> {
  const log = { ...SILENT, error: (_fields: unknown, message: string) => logged.push(message) };
  const keyFile = path.join(folder, 'key');
  const server = new Server({ port: 0, db: path.join(folder, db), keyFile, log, manualStart: true });
  servers.push(server);
  server.answer['count'] = async (conn) => {
    const data = conn.sessionData as { count?: number };
    data.count = (data.count ?? 0) + 1;
    await conn.save();
    return data.count;
  };
  await server.start();
  return server;
}

async function connect(server: Server): Promise<TestLink> {
  const link = await TestLink.open({ address: server.address, WebSocket });
  links.push(link);
  return link;
}

async function enter(server: Server, identity: TestIdentity): Promise<TestLink> {
  const link = await connect(server);
  expect(await link.enter(identity)).toMatchObject({ kind: 'ok' });
  return link;
}

async function lineageSeen(link: TestLink): Promise<[number, number][]> {
  link.send(new TestTab(link, 2).attachEnvelope());
  const attached = await link.next('attached');
  return attached.lineage;
}

test('a backup that is restored is told to clients: newer sessions wait, newer commits are missing from the lineage', async () => {
  const server = await start('db');
  const [before, after]: TestIdentity[] = [
    { key: NodeSigningKey.generate() },
    { key: NodeSigningKey.generate() },
  ];
  const link = await enter(server, before!);
  const tab = new TestTab(link);
  await tab.attach();
  for (let n = 1; n <= 3; n += 1) expect(await tab.ask('count')).toBe(n);
  // While it serves on.
  const asking = (async () => {
    for (let n = 0; n < 50; n += 1) await tab.ask('count');
  })();
  await server.backup(path.join(folder, 'copy'));
  await asking;
  expect(await tab.ask('count')).toBe(54);
  await enter(server, after!);
  const [[life, newest]] = (await lineageSeen(link)) as [[number, number]];
  await server.close();

  const restored = await start('copy');
  const resumed = await connect(restored);
  expect(resumed.hello.storeID).toEqual(link.hello.storeID);
  const refused = await connect(restored);
  void refused.enter(after!).catch(() => undefined);
  expect(await refused.waitForClose()).toMatchObject({ code: CLOSE.tryLater });
  expect(logged.join()).toContain('is it an older copy?');

  expect(await resumed.enter(before!)).toMatchObject({ kind: 'ok', sessionID: 1 });
  const held = (await lineageSeen(resumed)).find(([one]) => one === life);
  expect(held![1]).toBeGreaterThanOrEqual(3);
  // A tab that has seen that commit finds it missing, and reports `store-lost`.
  expect(held![1]).toBeLessThan(newest);
  const again = new TestTab(resumed);
  await again.attach();
  expect(await again.ask('count')).toBeLessThan(55);
});

test('a backup holds all that was acknowledged before it, of many sessions that are being created', async () => {
  const store = new LevelStore(path.join(folder, 'db'));
  await store.open();
  const acknowledged: string[] = [];
  let isDone = false;
  const creating = Promise.all(
    Array.from({ length: 8 }, async (_, worker) => {
      for (let n = 0; !isDone; n += 1) {
        const keyID = `key-${worker}-${n}`;
        await store.create({ keyID, publicKey: new Uint8Array(65), nowMs: 1, fromClient: undefined });
        acknowledged.push(keyID);
      }
    }),
  );
  for (const name of ['one', 'two', 'three']) {
    const atLeast = [...acknowledged];
    await store.backup(path.join(folder, name));
    const copy = new LevelStore(path.join(folder, name));
    await copy.open();
    for (const keyID of atLeast) expect(await copy.findKey(keyID)).toBeDefined();
    await copy.close();
  }
  isDone = true;
  await creating;
  await store.close();
});

test('a backup is refused into a folder that holds something, and when the store is closed', async () => {
  const server = await start('db');
  await writeFile(path.join(folder, 'note'), 'theirs');
  await expect(server.backup(folder)).rejects.toMatchObject({ code: 'WEBGRAM_BACKUP_FAILED' });
  await server.close();
  await expect(server.backup(path.join(folder, 'copy'))).rejects.toMatchObject({
    code: 'WEBGRAM_STORE_CLOSED',
  });
});

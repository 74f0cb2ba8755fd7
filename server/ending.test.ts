import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { CLOSE, endEnvelope, WebgramError } from 'webgram';
import { NodeSigningKey } from './node-crypto.ts';
import { MemoryStore } from './store/memory-store.ts';
import { Scene } from './testing/scene.ts';
import type { TestIdentity, TestLink } from './testing/test-client.ts';
import { nextStore, STORES } from './testing/stores.ts';
import { until } from './testing/until.ts';

const REVOKED = { kind: 'denied', code: 'revoked' };

let scene: Scene;
let identity: TestIdentity;

beforeEach(() => {
  scene = new Scene();
  identity = scene.identity();
});

afterEach(() => {
  vi.restoreAllMocks();
  return scene.close();
});

async function expectEnd(link: TestLink): Promise<void> {
  expect(await link.next('bye')).toMatchObject({ reason: 'revoked', args: [] });
  expect(await link.waitForClose()).toMatchObject({ code: CLOSE.revoked });
}

describe.each(STORES)('who owns the key ends the session, on %s', (_kind, makeStore) => {
  let folder: string;

  async function start(): Promise<void> {
    const mayRevoke = () => expect.unreachable('nobody asks for another device');
    await scene.start({ keyFile: path.join(folder, 'key'), mayRevoke });
  }

  beforeEach(async () => {
    folder = await mkdtemp(path.join(tmpdir(), 'webgram-ending-'));
    scene.store = makeStore(folder);
    await start();
  });

  afterEach(async () => {
    await scene.close();
    await rm(folder, { recursive: true });
  });

  test('without a tab; its key is denied from then on, by resume and by create, and after a restart', async () => {
    const { server } = scene;
    const other = await scene.tab();
    const link = await scene.enter(identity);
    await scene.store.setAccount(identity.sessionID!, 'alice');
    link.send(endEnvelope());
    await expectEnd(link);
    expect(await scene.attempt(identity)).toEqual(REVOKED);
    expect(await scene.attempt({ key: identity.key })).toEqual(REVOKED);
    expect(await server.sessions.list('alice')).toEqual([]);
    expect(server.sessions.live.has(identity.sessionID!)).toBe(false);
    expect(await other.ask('incr', 1)).toBe(2);
    expect(scene.messages()).toEqual([]);
    await scene.close();
    scene.store = nextStore(scene.store, folder);
    await start();
    expect(await scene.attempt(identity)).toEqual(REVOKED);
  });

  test('in the same flight as the proof', async () => {
    await (await scene.enter(identity)).close();
    const link = await scene.connect();
    expect(await link.enter(identity, [endEnvelope()])).toMatchObject({ kind: 'ok' });
    await expectEnd(link);
    expect(await scene.attempt(identity)).toEqual(REVOKED);
  });

  test('and leaves at once: it ends all the same', async () => {
    const link = await scene.enter(identity);
    link.send(endEnvelope());
    await link.close();
    await expect.poll(() => scene.attempt(identity)).toEqual(REVOKED);
    expect(scene.messages()).toEqual([]);
  });

  test('while a handler is under way and a commit is written, which have no effect', async () => {
    const { server, store } = scene;
    const closed: unknown[] = [];
    server.on('$closed', (_conn, reason) => closed.push(reason));
    let release = (): void => undefined;
    server.answer['slow'] = async (conn) => {
      conn.sessionData['x'] = 1;
      await conn.save({ now: true });
      await new Promise<void>((resolve) => (release = resolve));
      conn.sessionData['x'] = 2;
      await conn.save();
    };
    const tab = await scene.tab(identity);
    tab.link.sendTogether([tab.askEnvelope('slow'), endEnvelope()]);
    await expectEnd(tab.link);
    release();
    expect(closed).toEqual(['revoked']);
    expect(await store.load(identity.sessionID!, Date.now())).toBeUndefined();
    expect(await scene.attempt(identity)).toEqual(REVOKED);
  });
});

describe('the end of a session', () => {
  test('is written once, however often it is said', async () => {
    await scene.start();
    const ends = vi.spyOn(MemoryStore.prototype, 'end');
    const link = await scene.enter(identity);
    link.sendTogether(Array.from({ length: 1_000 }, endEnvelope));
    link.send(endEnvelope());
    await expectEnd(link);
    expect(ends).toHaveBeenCalledTimes(1);
  });

  test('is not read behind a proof that fails', async () => {
    await scene.start();
    await (await scene.enter(identity)).close();
    const stranger = { ...identity, key: NodeSigningKey.generate() };
    const link = await scene.connect();
    expect(await link.enter(stranger, [endEnvelope()])).toEqual({ kind: 'denied', code: 'unknown' });
    expect(await scene.attempt(identity)).toMatchObject({ kind: 'ok' });
  });

  test('with anything more in it closes the socket and ends nothing', async () => {
    await scene.start();
    const link = await scene.enter(identity);
    link.send({ ...endEnvelope(), args: [2] });
    expect(await link.waitForClose()).toMatchObject({ code: CLOSE.badFrame });
    expect(await scene.attempt(identity)).toMatchObject({ kind: 'ok' });
  });

  test('that the store cannot write closes with 1013, and is said again later', async () => {
    await scene.start();
    const failure = new WebgramError('WEBGRAM_STORE_FAILED', 'the disk is away', { retryable: true });
    vi.spyOn(MemoryStore.prototype, 'end').mockRejectedValueOnce(failure);
    const link = await scene.enter(identity);
    link.send(endEnvelope());
    expect(await link.waitForClose()).toMatchObject({ code: CLOSE.tryLater });
    const again = await scene.enter(identity);
    again.send(endEnvelope());
    await expectEnd(again);
    expect(await scene.attempt(identity)).toEqual(REVOKED);
  });

  test('ends a login that waits for the client', async () => {
    const server = await scene.start();
    const tab = await scene.tab(identity);
    const [conn] = server.connections;
    const loggingIn = expect(conn!.login('alice')).rejects.toMatchObject({ code: 'WEBGRAM_CLOSED' });
    const renewal = await tab.link.renewal(identity);
    tab.link.sendTogether([endEnvelope(), await renewal.answer(NodeSigningKey.generate())]);
    await loggingIn;
    expect(await scene.attempt(identity)).toEqual(REVOKED);
    expect(await server.sessions.list('alice')).toEqual([]);
  });

  test('comes behind a login that is being written: the new key is revoked with it', async () => {
    let release = (): void => undefined;
    const released = new Promise<void>((resolve) => (release = resolve));
    const { renew } = MemoryStore.prototype;
    const renewals = vi.spyOn(MemoryStore.prototype, 'renew');
    renewals.mockImplementation(async function (this: MemoryStore, key) {
      await released;
      return renew.call(this, key);
    });
    const server = await scene.start();
    const tab = await scene.tab(identity);
    const [conn] = server.connections;
    const loggingIn = conn!.login('alice');
    const renewal = await tab.link.renewal(identity);
    const next = NodeSigningKey.generate();
    tab.link.send(await renewal.answer(next));
    await until(() => renewals.mock.calls.length > 0);
    tab.link.sendTogether([endEnvelope(), { kind: 'ping', n: 1 }]);
    await tab.link.next('pong');
    release();
    expect(await tab.link.next('bye')).toMatchObject({
      reason: expect.stringMatching(/^(renewed|revoked)$/) as string,
    });
    await loggingIn;
    await expect.poll(() => scene.attempt({ ...identity, key: next })).toEqual(REVOKED);
    expect(await scene.attempt(identity)).toEqual({ kind: 'denied', code: 'renewed' });
    expect(await server.sessions.list('alice')).toEqual([]);
  });
});

import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { WebSocket } from 'ws';
import { CLOSE } from 'webgram';
import { endOfLife, extensionStepMs, parseLifetime, TOMBSTONE_MS } from './lifetime.ts';
import { NodeSigningKey } from './node-crypto.ts';
import type { ServerOptions } from './options.ts';
import { Server } from './server.ts';
import type { Store } from './store/store.ts';
import { nextStore, STORES } from './testing/stores.ts';
import { TestLink, TestTab, type TestIdentity } from './testing/test-client.ts';

const HOUR_MS = 3_600_000;
const START_MS = Date.parse('2026-01-01');
const SILENT = {
  debug: () => undefined,
  info: () => undefined,
  warn: () => undefined,
  error: () => undefined,
};

describe.each(STORES)('a lifetime on %s', (_name, makeStore) => {
  let folder: string;
  let store: Store;
  let server: Server;
  let nowMs: number;
  const links: TestLink[] = [];

  beforeEach(async () => {
    folder = await mkdtemp(path.join(tmpdir(), 'webgram-expiry-'));
    nowMs = START_MS;
    store = makeStore(folder);
  });

  afterEach(async () => {
    for (const { socket } of links.splice(0)) socket.terminate();
    await server.close();
    await rm(folder, { recursive: true });
  });

  async function start(options: ServerOptions): Promise<void> {
    const keyFile = path.join(folder, 'key');
    server = new Server({
      port: 0,
      store,
      keyFile,
      log: SILENT,
      manualStart: true,
      clock: () => nowMs,
      ...options,
    });
    server.answer['echo'] = (_conn, x) => x as number;
    await server.start();
  }

  async function connect(): Promise<TestLink> {
    const link = await TestLink.open({ address: server.address, WebSocket });
    links.push(link);
    return link;
  }

  async function enter(identity: TestIdentity) {
    const link = await connect();
    return { link, answer: await link.enter(identity) };
  }

  /** Lets the clock stand at a time, and the server look at it as it does every two seconds. */
  async function at(ms: number): Promise<void> {
    nowMs = START_MS + ms;
    await server.sessions.sweepDue();
  }

  const newIdentity = (): TestIdentity => ({ key: NodeSigningKey.generate() });

  // C48
  test.each([
    ['idle', { idleLifetimeMs: HOUR_MS }],
    ['absolute', { absoluteLifetimeMs: HOUR_MS, idleLifetimeMs: Infinity }],
  ])('that is %s ends an open link with an authenticated end, not a second early', async (_kind, options) => {
    await start(options);
    const identity = newIdentity();
    const { link, answer } = await enter(identity);
    expect(answer).toMatchObject({ kind: 'ok', expiresInMs: HOUR_MS });
    await at(HOUR_MS - 1_000);
    link.send({ kind: 'ping', n: 1 });
    expect(await link.next('pong')).toEqual({ kind: 'pong', n: 1 });
    await at(HOUR_MS + 1_000);
    expect(await link.next('bye')).toMatchObject({ reason: 'expired' });
    expect(await link.waitForClose()).toMatchObject({ code: CLOSE.revoked });
    expect((await enter(identity)).answer).toMatchObject({ kind: 'denied', code: 'expired' });
  });

  test.each([
    ['idle', { idleLifetimeMs: HOUR_MS }],
    ['absolute', { absoluteLifetimeMs: HOUR_MS }],
  ])('that is %s ends without a link too, swept or not', async (_kind, options) => {
    await start(options);
    const [swept, early, late] = [newIdentity(), newIdentity(), newIdentity()];
    for (const identity of [swept, early, late]) await (await enter(identity)).link.close();
    nowMs = START_MS + HOUR_MS - 1_000;
    const { link, answer } = await enter(early);
    expect(answer).toMatchObject({ kind: 'ok', sessionID: 2 });
    await link.close();
    nowMs = START_MS + HOUR_MS + 1_000;
    expect((await enter(late)).answer).toMatchObject({ kind: 'denied', code: 'expired' });
    await server.sessions.sweepDue();
    expect(await store.load(1, nowMs)).toBeUndefined();
    expect((await enter(swept)).answer).toMatchObject({ kind: 'denied', code: 'expired' });
  });

  test('is enforced within 5 s by the server itself', { timeout: 10_000 }, async () => {
    await start({ idleLifetimeMs: HOUR_MS });
    const { link } = await enter(newIdentity());
    nowMs += HOUR_MS + 1_000;
    const beganMs = performance.now();
    await expect.poll(() => server.sockets, { timeout: 5_000 }).toBe(0);
    expect(await link.waitForClose()).toMatchObject({ code: CLOSE.revoked });
    expect(performance.now() - beganMs).toBeLessThan(5_000);
  });

  test('is extended by traffic when it is idle, and not when it is absolute', async () => {
    await start({ idleLifetimeMs: HOUR_MS, absoluteLifetimeMs: 3 * HOUR_MS });
    const identity = newIdentity();
    const { link } = await enter(identity);
    const tab = new TestTab(link);
    await tab.attach();
    for (let minutes = 50; minutes < 180; minutes += 50) {
      await at(minutes * 60_000);
      expect(await tab.ask('echo', minutes)).toBe(minutes);
    }
    await at(3 * HOUR_MS - 1_000);
    expect(await tab.ask('echo', 1)).toBe(1);
    await at(3 * HOUR_MS + 1_000);
    expect(await link.next('bye')).toMatchObject({ reason: 'expired' });
  });

  test('that traffic has extended is the same after a restart', async () => {
    await start({ idleLifetimeMs: HOUR_MS });
    const identity = newIdentity();
    const { link } = await enter(identity);
    const tab = new TestTab(link);
    await tab.attach();
    nowMs += 40 * 60_000;
    await tab.ask('echo', 1);
    await link.close();
    await server.close();
    store = nextStore(store, folder);
    await start({ idleLifetimeMs: HOUR_MS });
    await at(40 * 60_000 + HOUR_MS - 1_000);
    expect((await enter(identity)).answer).toMatchObject({ kind: 'ok', expiresInMs: HOUR_MS });
  });

  test('writes no extension for every message', async () => {
    let extensions = 0;
    const { extend } = store;
    store.extend = (...args) => {
      extensions += 1;
      return extend.apply(store, args);
    };
    await start({ idleLifetimeMs: HOUR_MS });
    const tab = new TestTab((await enter(newIdentity())).link);
    await tab.attach();
    for (let n = 0; n < 200; n += 1) {
      nowMs += 1_000;
      await tab.ask('echo', n);
    }
    expect(extensions).toBeGreaterThan(3);
    expect(extensions).toBeLessThan(12);
  });

  test('that was shortened holds for sessions from before', async () => {
    await start({});
    const identity = newIdentity();
    const { answer, link } = await enter(identity);
    expect(answer).toMatchObject({ expiresInMs: 400 * 24 * HOUR_MS });
    await link.close();
    await server.close();
    store = nextStore(store, folder);
    await start({ absoluteLifetimeMs: HOUR_MS });
    nowMs += HOUR_MS + 1_000;
    expect((await enter(identity)).answer).toMatchObject({ kind: 'denied', code: 'expired' });
  });

  test('without an end says so, and tombstones are forgotten in the end', async () => {
    await start({ idleLifetimeMs: Infinity });
    const identity = newIdentity();
    expect((await enter(identity)).answer).toMatchObject({ kind: 'ok', expiresInMs: null });
    await store.end(1, 'revoked', nowMs);
    await at(TOMBSTONE_MS - 1_000);
    expect((await enter(identity)).answer).toMatchObject({ kind: 'denied', code: 'revoked' });
    await at(TOMBSTONE_MS + 61_000);
    expect((await enter(identity)).answer).toMatchObject({ kind: 'denied', code: 'unknown' });
  });
});

describe('lifetimes', () => {
  test('end at the earlier of the two', () => {
    const lifetime = { idleLifetimeMs: 10, absoluteLifetimeMs: 100 };
    expect(endOfLife(lifetime, 1_000, 1_050)).toBe(1_060);
    expect(endOfLife(lifetime, 1_000, 1_095)).toBe(1_100);
    const forEver = { idleLifetimeMs: Infinity, absoluteLifetimeMs: Infinity };
    expect(endOfLife(forEver, 1_000, 1_000)).toBeUndefined();
  });

  test('are written again in steps between a second and a minute', () => {
    expect(
      [10_000, 600_000, Infinity].map((idleLifetimeMs) =>
        extensionStepMs({ idleLifetimeMs, absoluteLifetimeMs: 1 }),
      ),
    ).toEqual([1_000, 6_000, 60_000]);
  });

  test.each([0, -1, Number.NaN, '1' as never])('of %s are refused', (value) => {
    expect(() => parseLifetime({ idleLifetimeMs: value })).toThrow(RangeError);
    expect(() => parseLifetime({ absoluteLifetimeMs: value })).toThrow(RangeError);
  });
});

import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { CLOSE, toBase64url } from 'webgram';
import { NodeSigningKey } from './node-crypto.ts';
import { MemoryStore } from './store/memory-store.ts';
import type { EndReason } from './store/store.ts';
import { LoadGatedStore } from './testing/load-gated-store.ts';
import { Scene } from './testing/scene.ts';
import type { TestIdentity, TestLink } from './testing/test-client.ts';
import { turn, until } from './testing/until.ts';

let scene: Scene;
let identity: TestIdentity;

beforeEach(async () => {
  scene = new Scene();
  identity = scene.identity();
});

afterEach(() => scene.close());

/** Sends a proof with one part replaced. @returns The denial's code as it stands in the text. */
async function deniedWith(link: TestLink, change: 'signature' | 'tag' | undefined): Promise<string> {
  const { proof } = await link.prove(identity.key, { kind: 'resume', sessionID: identity.sessionID! });
  const [type, body, signature, tag] = JSON.parse(proof) as [string, string, string, string];
  const texts = new Promise<string>((resolve) => {
    link.socket.on('message', (data: Buffer) => resolve(data.toString()));
  });
  link.sendRaw(
    JSON.stringify([
      type,
      body,
      change === 'signature' ? toBase64url(new Uint8Array(64).fill(1)) : signature,
      change === 'tag' ? toBase64url(new Uint8Array(32).fill(1)) : tag,
    ]),
  );
  const [answerType, answerBody] = JSON.parse(await texts) as [string, string];
  expect(answerType).toBe('session-denied');
  return (JSON.parse(answerBody) as [string])[0];
}

describe.each<EndReason>(['revoked', 'expired', 'renewed'])('a tombstone that says %s', (reason) => {
  beforeEach(async () => {
    await scene.start();
    await (await scene.enter(identity)).close();
    await scene.store.end(1, reason, Date.now());
  });

  test('is told to who proves the key, by resume and by create', async () => {
    expect(await scene.attempt(identity)).toEqual({ kind: 'denied', code: reason });
    expect(await scene.attempt({ key: identity.key })).toEqual({ kind: 'denied', code: reason });
  });

  test.each(['signature', 'tag'] as const)('is not told to who brings a wrong %s', async (part) => {
    expect(await deniedWith(await scene.connect(), part)).toBe('unknown');
    expect(await deniedWith(await scene.connect(), undefined)).toBe(reason);
  });

  test('closes with 4410, a hint', async () => {
    const link = await scene.connect();
    await link.enter(identity);
    expect(await link.waitForClose()).toMatchObject({ code: CLOSE.revoked });
  });
});

describe('unknown', () => {
  test('is all that a stranger learns, in the same words, whether the key exists or not', async () => {
    await scene.start();
    await (await scene.enter(identity)).close();
    const known = await scene.connect();
    const unknown = await scene.connect();
    const impostor = { ...identity, key: NodeSigningKey.generate() };
    const texts: string[] = [];
    for (const [link, key] of [
      [known, { publicKey: identity.key.publicKey, sign: (data: Uint8Array) => impostor.key.sign(data) }],
      [unknown, impostor.key],
    ] as const) {
      link.socket.on('message', (data: Buffer) => texts.push(data.toString()));
      const answer = await link.enter({ key: key as NodeSigningKey, sessionID: 1 });
      expect(answer).toEqual({ kind: 'denied', code: 'unknown' });
    }
    expect(texts[0]?.length).toBe(texts[1]?.length);
  });

  test('changes nothing in the row', async () => {
    const store = new MemoryStore();
    scene.store = store;
    await scene.start();
    await (await scene.enter(identity)).close();
    const keyID = toBase64url(
      (await import('./node-crypto.ts')).nodeCrypto.sha256(identity.key.publicKey) as Uint8Array,
    ).slice(0, 22);
    const before = await store.load(1, 0);
    for (const part of ['signature', 'tag'] as const) await deniedWith(await scene.connect(), part);
    const after = await store.load(1, 0);
    expect({ ...after, tag: '', life: 0 }).toEqual({ ...before, tag: '', life: 0 });
    expect(keyID).toHaveLength(22);
  });
});

describe('revoke', () => {
  test('ends the link with a bye within a second, the conns, and leaves a tombstone', async () => {
    const server = await scene.start();
    const tab = await scene.tab(identity);
    const closed: unknown[] = [];
    server.on('$closed', (_conn, reason) => closed.push(reason));
    expect(await server.sessions.revoke(1)).toBe(true);
    expect(await tab.link.next('bye')).toMatchObject({ reason: 'revoked' });
    expect(await tab.link.waitForClose()).toMatchObject({ code: CLOSE.revoked });
    expect(closed).toEqual(['revoked']);
    expect(server.connections.size).toBe(0);
    expect(await scene.attempt(identity)).toEqual({ kind: 'denied', code: 'revoked' });
    expect(await server.sessions.revoke(1)).toBe(false);
    expect(await server.sessions.revoke(99)).toBe(false);
  });

  test('ends a socket that reads nothing within a second', async () => {
    const server = await scene.start();
    const tab = await scene.tab(identity);
    tab.link.socket.pause();
    await server.sessions.revoke(1);
    const startedMs = performance.now();
    await expect.poll(() => server.sockets, { timeout: 3_000, interval: 20 }).toBe(0);
    expect(performance.now() - startedMs).toBeLessThan(1_500);
    tab.link.socket.resume();
  });

  test('lets no handler under way take effect', async () => {
    const server = await scene.start();
    let release = (): void => undefined;
    server.answer['slow'] = async (conn) => {
      await new Promise<void>((resolve) => (release = resolve));
      conn.sessionData['x'] = 1;
      await conn.save();
      return true;
    };
    const tab = await scene.tab(identity);
    tab.link.sendTogether([tab.askEnvelope('slow')]);
    tab.link.send({ kind: 'ping', n: 1 });
    await tab.link.next('pong');
    await server.sessions.revoke(1);
    release();
    await tab.link.waitForClose();
    expect(await scene.store.load(1, 0)).toBeUndefined();
    expect(server.sessions.live.size).toBe(0);
  });

  test('reaches a link that is just coming', async () => {
    const store = new LoadGatedStore();
    const ends = vi.spyOn(store, 'end');
    scene.store = store;
    await scene.start();
    await (await scene.enter(identity)).close();
    await scene.close();
    const server = await scene.start();
    const release = store.shut();
    const link = await scene.connect();
    const entering = link.enter(identity).catch(() => undefined);
    await until(() => store.isLoading);
    const revoking = server.sessions.revoke(1);
    await until(() => ends.mock.results.length > 0);
    await ends.mock.results[0]!.value;
    // It waits for the load now.
    await turn();
    release();
    await revoking;
    await entering;
    await link.waitForClose();
    expect(server.sessions.live.size).toBe(0);
    expect(await scene.attempt(identity)).toEqual({ kind: 'denied', code: 'revoked' });
  });
});

describe('a store that is older than its clients', () => {
  const lost = (): TestIdentity => ({ key: NodeSigningKey.generate(), sessionID: 9 });

  test('refuses them with 1013 and no denial, and says what to do, once a minute', async () => {
    await scene.start();
    for (let i = 0; i < 3; i += 1) {
      const link = await scene.connect();
      await expect(link.enter(lost())).rejects.toThrow('1013');
    }
    expect(scene.messages('error')).toEqual([expect.stringContaining('acceptOlderStore: true')]);
  });

  test('does not count them as failed proofs', async () => {
    await scene.start({ limits: { failedProofsPerMinute: 2 } });
    for (let i = 0; i < 5; i += 1) await expect(scene.attempt(lost())).rejects.toThrow('1013');
  });

  test('denies them as unknown when the operator has accepted that, and says so', async () => {
    await scene.start({ acceptOlderStore: true });
    expect(await scene.attempt(lost())).toEqual({ kind: 'denied', code: 'unknown' });
    expect(scene.messages('error')).toEqual([expect.stringContaining('older copy')]);
  });
});

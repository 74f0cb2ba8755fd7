import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { CLOSE, DEFAULT_LIMITS, parseDown, type UpEnvelope } from 'webgram';
import { NodeSigningKey } from './node-crypto.ts';
import { DEFAULT_ADDRESS_RATES } from './address-limits.ts';
import { Scene } from './testing/scene.ts';
import { TestTab, UpgradeRefused, type TestLink } from './testing/test-client.ts';

let scene: Scene;

beforeEach(() => {
  scene = new Scene();
});

afterEach(() => {
  vi.useRealTimers();
  return scene.close();
});

test('the limits are those of the protocol unless somebody says others', () => {
  expect({ ...DEFAULT_LIMITS, ...DEFAULT_ADDRESS_RATES }).toMatchObject({
    maxHandshakeBytes: 4 * 1024,
    handshakeTimeoutMs: 10_000,
    maxFrameBytes: 1024 * 1024,
    maxEarlyBytes: 32 * 1024,
    maxUnackedBytes: 1024 * 1024,
    maxUnackedCount: 1_000,
    maxTabs: 256,
    pingMs: 25_000,
    pongTimeoutMs: 10_000,
    idleTimeoutMs: 75_000,
    maxLinkMs: 3_600_000,
    renewTimeoutMs: 30_000,
    createBurst: 100,
    createsPerMinute: 60,
    failedProofsPerMinute: 20,
    maxUnproved: 50,
  });
});

test('every limit is in docs/options.md, with its default', async () => {
  const text = await readFile(path.join(import.meta.dirname, '../docs/options.md'), 'utf8');
  const rows = [...text.matchAll(/^\| `(\w+)` +\| ([\d,]+) +\|/gm)].map(([, name, value]) => [
    name,
    Number(value?.replaceAll(',', '')),
  ]);
  expect(Object.fromEntries(rows)).toEqual({ ...DEFAULT_LIMITS, ...DEFAULT_ADDRESS_RATES });
});

describe('a proof', () => {
  /** JSON may end in spaces. */
  async function proofOf(link: TestLink, length: number): Promise<string> {
    const { proof } = await link.prove(NodeSigningKey.generate(), { kind: 'create', fromClient: null });
    return proof.padEnd(length, ' ');
  }

  test('of 4 KiB is taken, one of a byte more is not', async () => {
    await scene.start();
    const link = await scene.connect();
    link.sendRaw(await proofOf(link, 4_096));
    expect(await link.answer()).toMatchObject({ kind: 'ok' });
    const other = await scene.connect();
    other.sendRaw(await proofOf(other, 4_097));
    expect(await other.waitForClose()).toMatchObject({ code: CLOSE.tooLarge });
  });

  test('may be limited to something else', async () => {
    await scene.start({ limits: { maxHandshakeBytes: 1_000 } });
    const link = await scene.connect();
    link.sendRaw(await proofOf(link, 1_001));
    expect(await link.waitForClose()).toMatchObject({ code: CLOSE.tooLarge });
  });
});

describe('a frame', () => {
  const MAX = 10_000;

  function payloadOf(bytes: number): string {
    const payload = '[[6,1,"x",""]]';
    return payload.replace('""', `"${'a'.repeat(bytes - 22 - payload.length)}"`);
  }

  test('as long as the limit is taken, tag included; a byte more closes', async () => {
    await scene.start({ limits: { maxFrameBytes: MAX } });
    const link = await scene.enter();
    expect(link.hello.maxFrameBytes).toBe(MAX);
    link.sendPayload(payloadOf(MAX));
    link.send({ kind: 'ping', n: 1 });
    await link.next('pong');
    link.sendRaw('A'.repeat(MAX + 1));
    expect((await link.waitForClose()).code).toBe(1009);
  });

  test('that the server would send longer is refused where it is sent', async () => {
    const server = await scene.start({ limits: { maxFrameBytes: MAX } });
    server.answer['long'] = (_conn, length) => 'a'.repeat(length as number);
    const tab = await scene.tab();
    expect(await tab.ask('long', MAX - 300)).toHaveLength(MAX - 300);
    await expect(tab.ask('long', MAX)).rejects.toMatchObject({ code: 'WEBGRAM_HANDLER_FAILED' });
  });
});

describe('what a tab does not acknowledge', () => {
  async function flood(
    limits: object,
    count: number,
    body: string,
  ): Promise<{ sent: number; detached: boolean }> {
    const server = await scene.start({ limits });
    const tab = await scene.tab();
    const [conn] = server.connections;
    for (let i = 0; i < count; i += 1) conn?.send('x', body);
    tab.link.send({ kind: 'ping', n: 1 });
    await tab.link.next('pong');
    const envelopes = tab.link.received.flatMap((text) =>
      (JSON.parse(text.slice(22)) as unknown[]).map(parseDown),
    );
    return {
      sent: envelopes.filter(({ kind }) => kind === 'send').length,
      detached: envelopes.some((envelope) => envelope.kind === 'detach' && envelope.why === 'overflow'),
    };
  }

  test('may be 1,000 messages, and the next one cuts it off, with the reason', async () => {
    expect(await flood({}, 1_000, '')).toEqual({ sent: 1_000, detached: false });
    await scene.close();
    expect((await flood({}, 1_001, '')).detached).toBe(true);
  });

  test('may be as many bytes as the limit says', async () => {
    const limits = { maxUnackedBytes: 10_000 };
    // Ten bodies of ["x","a…"] make 10,000 bytes: nothing goes on top of that.
    expect((await flood(limits, 10, 'a'.repeat(992))).detached).toBe(false);
    await scene.close();
    expect((await flood(limits, 11, 'a'.repeat(992))).detached).toBe(true);
  });
});

describe('tabs of one link', () => {
  test('may be as many as the limit says, and one more closes', async () => {
    await scene.start({ limits: { maxTabs: 5 } });
    const link = await scene.enter();
    const attach = (tab: number): UpEnvelope => new TestTab(link, tab).attachEnvelope();
    for (let tab = 1; tab <= 5; tab += 1) link.send(attach(tab));
    for (let tab = 1; tab <= 5; tab += 1) await link.next('attached');
    link.send(attach(6));
    expect(await link.waitForClose()).toMatchObject({ code: CLOSE.badFrame });
  });

  test('that have gone make room', async () => {
    await scene.start({ limits: { maxTabs: 1 } });
    const link = await scene.enter();
    for (let tab = 1; tab <= 3; tab += 1) {
      await new TestTab(link, tab).attach();
      link.send({ kind: 'detach', tab, counter: 1, why: 'gone' });
    }
    expect(link.isOpen).toBe(true);
  });
});

describe('new sessions of one address', () => {
  test('may be a burst, and are 4429 over it, before anything is computed', async () => {
    await scene.start({ limits: { createBurst: 3, createsPerMinute: 1 } });
    for (let i = 0; i < 3; i += 1) await scene.enter();
    const link = await scene.connect();
    await expect(link.enter(scene.identity())).rejects.toThrow('4429 too many new sessions');
    expect(await scene.store.nextSessionID()).toBe(4);
  });

  test('count also when the proof fails', async () => {
    await scene.start({ limits: { createBurst: 2, createsPerMinute: 1 } });
    const liar = () => {
      const [victim, own] = [NodeSigningKey.generate(), NodeSigningKey.generate()];
      return {
        key: { publicKey: victim.publicKey, sign: (data: Uint8Array) => own.sign(data) } as NodeSigningKey,
      };
    };
    for (let i = 0; i < 2; i += 1)
      expect(await scene.attempt(liar())).toEqual({ kind: 'denied', code: 'unknown' });
    await expect(scene.attempt(liar())).rejects.toThrow('4429');
  });
});

describe('failed proofs of one address', () => {
  test('with keys that nobody knows may be as many as the limit says, and are 4429 over it', async () => {
    await scene.start({ limits: { failedProofsPerMinute: 3 } });
    const stranger = () => ({ key: NodeSigningKey.generate(), sessionID: 1 });
    await scene.enter();
    for (let i = 0; i < 3; i += 1) expect(await scene.attempt(stranger())).toMatchObject({ kind: 'denied' });
    await expect(scene.attempt(stranger())).rejects.toThrow('4429 too many failed proofs');
  });

  test('with a known key never keep its owner out, not even at the same address', async () => {
    await scene.start({ limits: { failedProofsPerMinute: 2 } });
    const identity = scene.identity();
    await (await scene.enter(identity)).close();
    const own = NodeSigningKey.generate();
    const key = {
      publicKey: identity.key.publicKey,
      sign: (data: Uint8Array) => own.sign(data),
    } as NodeSigningKey;
    for (let i = 0; i < 6; i += 1) {
      expect(await scene.attempt({ key, sessionID: 1 })).toEqual({ kind: 'denied', code: 'unknown' });
      expect(await scene.attempt(identity)).toMatchObject({ kind: 'ok' });
    }
  });
});

describe('behind a trusted proxy', () => {
  const from = (ip: string, more: object = {}) => ({ headers: { 'X-Forwarded-For': ip, ...more } });

  test('each address has limits of its own, IPv6 by its first 64 bits', async () => {
    await scene.start({
      trustedProxies: ['127.0.0.1', '::1'],
      allowNoOrigin: true,
      limits: { createBurst: 1, createsPerMinute: 1 },
    });
    const seen = new Set<string>();
    scene.server.on('$connect', (conn) => seen.add(conn.address[0]));
    for (const ip of ['203.0.113.1', '203.0.113.2', '2001:db8:1:1::1', '2001:db8:1:2::1']) {
      await new TestTab(await scene.enter(scene.identity(), from(ip))).attach();
    }
    for (const ip of ['203.0.113.1', '2001:db8:1:1:ffff::9', '6.6.6.6, 203.0.113.2']) {
      await expect(scene.enter(scene.identity(), from(ip))).rejects.toThrow('4429');
    }
    expect([...seen]).toEqual(['203.0.113.1', '203.0.113.2', '2001:db8:1:1::1', '2001:db8:1:2::1']);
  });

  test('without trust every address is the same, and X-Forwarded-Host names nobody', async () => {
    await scene.start({ limits: { createBurst: 1, createsPerMinute: 1 } });
    await scene.enter(scene.identity(), from('203.0.113.1', { 'X-Forwarded-Host': 'evil.example' }));
    await expect(scene.enter(scene.identity(), from('203.0.113.2'))).rejects.toThrow('4429');
  });

  test('the page of the name that the proxy says may come, and no other', async () => {
    await scene.start({ trustedProxies: ['127.0.0.1', '::1'] });
    const headers = {
      'X-Forwarded-For': '203.0.113.1',
      'X-Forwarded-Host': 'app.example',
      'X-Forwarded-Proto': 'https',
    };
    const link = await scene.connect({ headers, origin: 'https://app.example' });
    expect(link.hello.pingMs).toBe(25_000);
    for (const origin of ['http://app.example', 'https://evil.example', scene.server.siteURL.slice(0, -1)]) {
      await expect(scene.connect({ headers, origin })).rejects.toThrow(UpgradeRefused);
    }
  });
});

describe('a place of a socket that says nothing', () => {
  test('is given to another after a while, so that an honest client gets in', async () => {
    await scene.start({ limits: { maxUnproved: 2 } });
    const silent = [await scene.connect(), await scene.connect()];
    expect(await scene.attempt(scene.identity())).toMatchObject({ kind: 'ok' });
    const [first] = await Promise.all(silent.slice(0, 1).map((link) => link.waitForClose()));
    expect(first).toMatchObject({ code: CLOSE.rate });
  });

  test('is kept while nobody else wants it', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] });
    await scene.start({ limits: { maxUnproved: 2 } });
    const silent = await scene.connect();
    vi.advanceTimersByTime(DEFAULT_LIMITS.handshakeTimeoutMs - 1);
    expect(await silent.enter(scene.identity())).toMatchObject({ kind: 'ok' });
  });
});

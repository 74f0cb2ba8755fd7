import { connect as connectTcp, type Socket } from 'node:net';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { toBase64url } from 'webgram';
import { DEFAULT_ADDRESS_RATES } from './address-limits.ts';
import { NodeSigningKey } from './node-crypto.ts';
import { MemoryStore } from './store/memory-store.ts';
import { Scene } from './testing/scene.ts';
import { TestTab, type TestIdentity } from './testing/test-client.ts';

/**
 * Short forms of the floods that a server on the open net sees. Whether honest clients get through is counted, how
 * fast is not. `WEBGRAM_FLOOD=10` makes each ten times as large.
 */
const SCALE = Number(process.env['WEBGRAM_FLOOD'] ?? 1);
const HONEST = 10;

let scene: Scene;
let honest: TestIdentity[];
let raw: Socket[];

async function start(options: Parameters<Scene['start']>[0] = {}): Promise<void> {
  await scene.start(options);
  honest = Array.from({ length: HONEST }, () => scene.identity());
  for (const identity of honest) await (await scene.enter(identity)).close();
}

/** Every honest client resumes and asks, one after the other. @returns How many came through. */
async function honestVisits(): Promise<number> {
  let count = 0;
  for (const identity of honest) {
    const link = await scene.connect();
    const tab = new TestTab(link);
    const answer = await link.enter(identity, [tab.attachEnvelope(), tab.askEnvelope('incr', 1)]);
    if (answer.kind === 'ok' && (await tab.answerTo(1)) === 2) count += 1;
    await link.close();
  }
  return count;
}

/** A socket that stops behind the upgrade, or before, or goes on with a byte now and then. */
function rawSocket(bytes: string): Socket {
  const socket = connectTcp(scene.server.port, '127.0.0.1');
  socket.on('error', () => undefined);
  socket.resume();
  socket.write(bytes);
  raw.push(socket);
  return socket;
}

function upgrade(): string {
  return [
    'GET / HTTP/1.1',
    `Host: localhost:${scene.server.port}`,
    'Upgrade: websocket',
    'Connection: Upgrade',
    'Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==',
    'Sec-WebSocket-Version: 13',
    'Sec-WebSocket-Protocol: webgram.2.json',
    '',
    '',
  ].join('\r\n');
}

const errors = (): string[] => scene.messages('error');

beforeEach(() => {
  scene = new Scene();
  raw = [];
});

afterEach(async () => {
  for (const socket of raw) socket.destroy();
  await scene.close();
});

describe('honest clients get through while one address', () => {
  test('opens sockets that never speak (C25, C28)', async () => {
    await start({ limits: { handshakeTimeoutMs: 2_000 } });
    for (let i = 0; i < 200 * SCALE; i += 1) rawSocket(upgrade());
    expect(await honestVisits()).toBe(HONEST);
    // The cap, and those that are just being closed.
    expect(scene.server.sockets).toBeLessThanOrEqual(100);
    expect(errors()).toEqual([]);
    await expect.poll(() => raw.every(({ closed }) => closed), { timeout: 15_000 }).toBe(true);
  }, 30_000);

  test('sends a byte now and then (C25)', async () => {
    await start({ limits: { handshakeTimeoutMs: 2_000 } });
    for (let i = 0; i < 100 * SCALE; i += 1) rawSocket(upgrade());
    const drip = setInterval(() => {
      for (const socket of raw) socket.write(Uint8Array.of(0x81));
    }, 50);
    try {
      expect(await honestVisits()).toBe(HONEST);
    } finally {
      clearInterval(drip);
    }
    expect(errors()).toEqual([]);
  }, 30_000);

  test('creates without end (C26): no more sessions are written than may be', async () => {
    await start({ limits: { createBurst: 30, createsPerMinute: 1 } });
    let isOver = false;
    let refused = 0;
    const flood = Array.from({ length: 4 }, async () => {
      for (let i = 0; i < 50 * SCALE && !isOver; i += 1) {
        const answer = await scene.attempt(scene.identity()).catch(() => undefined);
        if (answer === undefined) refused += 1;
      }
    });
    expect(await honestVisits()).toBe(HONEST);
    isOver = SCALE === 1 && refused > 50;
    await Promise.all(flood);
    expect(refused).toBeGreaterThan(50);
    expect(await scene.store.nextSessionID()).toBeLessThanOrEqual(30 + 2 + 1);
    expect(errors()).toEqual([]);
  }, 30_000);

  test.each(['known keys', 'unknown keys'])(
    'sends proofs with wrong tags for %s (C27), and nothing is written',
    async (kind) => {
      let writes = 0;
      const store = new (class extends MemoryStore {
        override claim(...args: Parameters<MemoryStore['claim']>) {
          writes += 1;
          return super.claim(...args);
        }
        override create(...args: Parameters<MemoryStore['create']>) {
          writes += 1;
          return super.create(...args);
        }
      })();
      scene.store = store;
      await start();
      writes = 0;
      let isOver = false;
      let accepted = 0;
      const flood = Array.from({ length: 8 }, async (_, worker) => {
        for (let i = 0; i < 40 * SCALE && !isOver; i += 1) {
          const victim = honest[(worker + i) % HONEST]!;
          const key = kind === 'known keys' ? victim.key : NodeSigningKey.generate();
          const link = await scene.connect().catch(() => undefined);
          if (link === undefined) continue;
          const { proof } = await link.prove(key, { kind: 'resume', sessionID: victim.sessionID! });
          const [type, body, signature] = JSON.parse(proof) as string[];
          link.sendRaw(JSON.stringify([type, body, signature, toBase64url(new Uint8Array(32).fill(i))]));
          await link.closed;
          if (link.received.some((text) => text.includes('session-ok'))) accepted += 1;
        }
      });
      expect(await honestVisits()).toBe(HONEST);
      isOver = true;
      await Promise.all(flood);
      expect(accepted).toBe(0);
      // One claim for each honest visit.
      expect(writes).toBe(HONEST);
      expect(errors()).toEqual([]);
    },
    30_000,
  );

  test("replays an owner's proof: he waits for those before him only", async () => {
    await start();
    const [owner] = honest;
    const recorded = await scene.connect();
    const { proof } = await recorded.prove(owner!.key, { kind: 'resume', sessionID: owner!.sessionID! });
    recorded.socket.terminate();
    let looked = 0;
    const replay = async (): Promise<void> => {
      const link = await scene.connect();
      link.sendRaw(proof);
      // Never with a rate: one of them may be good.
      expect(await link.closed).toMatchObject({ code: 4401 });
      looked += 1;
    };
    for (let i = 0; i < 40; i += 1) await replay();
    expect(await scene.attempt(owner!)).toMatchObject({ kind: 'ok' });
    // As many as may be without a proof, all the time.
    let isOver = false;
    const flood = Array.from({ length: DEFAULT_ADDRESS_RATES.maxUnproved - 1 }, async () => {
      while (!isOver) await replay();
    });
    for (let visit = 0; visit < 3; visit += 1) {
      const before = looked;
      expect(await scene.attempt(owner!)).toMatchObject({ kind: 'ok' });
      // Those that were there before him, and nobody twice.
      expect(looked - before).toBeLessThanOrEqual(2 * DEFAULT_ADDRESS_RATES.maxUnproved);
    }
    isOver = true;
    await Promise.all(flood);
    expect(errors()).toEqual([]);
  }, 30_000);

  test('sends frames without end, and frames that are too long (C24)', async () => {
    await start();
    const flood = Array.from({ length: 5 * SCALE }, async () => {
      const link = await scene.connect();
      for (let i = 0; i < 20_000 && link.isOpen; i += 1) link.socket.send('', { fin: false });
      await link.closed;
      const other = await scene.connect();
      other.sendRaw('x'.repeat(4_097));
      await other.closed;
    });
    expect(await honestVisits()).toBe(HONEST);
    await Promise.all(flood);
    expect(errors()).toEqual([]);
  }, 30_000);

  test('resumes one session on many sockets again and again (C28)', async () => {
    await start();
    const [first] = honest;
    const flood = Promise.all(
      Array.from({ length: 100 * SCALE }, () => scene.connect().then((link) => link.enter({ ...first! }))),
    );
    expect(await honestVisits()).toBe(HONEST);
    const answers = await flood;
    expect(answers.every(({ kind }) => kind === 'ok')).toBe(true);
    await expect.poll(() => scene.server.sockets).toBeLessThanOrEqual(1);
    expect(errors()).toEqual([]);
  }, 30_000);
});

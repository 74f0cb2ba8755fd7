import { createServer } from 'node:net';
import { mkdtemp, readdir, readFile, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { WebSocket } from 'ws';
import {
  CLOSE,
  DEFAULT_LIMITS,
  encodeHandshakeFrame,
  toBase64url,
  WebgramError,
  type Bytes,
  type MacKey,
} from 'webgram';
import type { Logger } from './log.ts';
import { NodeSigningKey } from './node-crypto.ts';
import type { ServerOptions } from './options.ts';
import { Server } from './server.ts';
import { MemoryStore } from './store/memory-store.ts';
import type { Created } from './store/store.ts';
import {
  TestLink,
  TestTab,
  UpgradeRefused,
  type TestIdentity,
  type TestLinkOptions,
} from './testing/test-client.ts';
import { until } from './testing/until.ts';

let server: Server;
let store: MemoryStore;
let links: TestLink[];
let logged: string[];

const log: Logger = {
  debug: () => undefined,
  info: () => undefined,
  warn: (fields, message) => logged.push(`warn: ${message}`),
  error: (fields, message) =>
    logged.push(`error: ${message} ${fields['error'] instanceof Error ? fields['error'].message : ''}`),
};

async function startServer(options: ServerOptions = {}): Promise<void> {
  server = new Server({ port: 0, store, log, manualStart: true, ...options });
  server.answer['incr'] = (_conn, x) => (x as number) + 1;
  await server.start();
}

async function connect(options: Partial<TestLinkOptions> = {}): Promise<TestLink> {
  const link = await TestLink.open({ address: server.address, WebSocket, ...options });
  links.push(link);
  return link;
}

function newIdentity(): TestIdentity {
  return { key: NodeSigningKey.generate() };
}

async function enter(identity = newIdentity()): Promise<TestLink> {
  const link = await connect();
  expect(await link.enter(identity)).toMatchObject({ kind: 'ok' });
  return link;
}

beforeEach(() => {
  store = new MemoryStore();
  links = [];
  logged = [];
});

afterEach(async () => {
  vi.useRealTimers();
  for (const { socket } of links) socket.terminate();
  await server.close();
});

describe('a session', () => {
  beforeEach(() => startServer());

  test('is created with the next number, and resumed by its key', async () => {
    const identity = newIdentity();
    await (await enter(identity)).close();
    await enter();
    const answer = await (await connect()).enter(identity);
    expect(answer).toMatchObject({ kind: 'ok', sessionID: 1, otherServerKey: null });
    expect(identity.sessionID).toBe(1);
  });

  test('is the same one when the same key creates again, because the answer was lost', async () => {
    const { key } = newIdentity();
    const all = await Promise.all([1, 2, 3].map(async () => (await connect()).enter({ key })));
    expect(all.map((answer) => answer.kind === 'ok' && answer.sessionID)).toEqual([1, 1, 1]);
    expect(await store.nextSessionID()).toBe(2);
  });

  test('answers an ask that came in the same flight as the proof', async () => {
    const link = await connect();
    const tab = new TestTab(link);
    const answer = await link.enter(newIdentity(), [tab.attachEnvelope(), tab.askEnvelope('incr', 41)]);
    expect(answer.kind).toBe('ok');
    expect(await tab.attached()).toMatchObject({ resumed: false, reason: 'new' });
    expect(await tab.answerTo(1)).toBe(42);
  });

  test('has a generation that grows with every link, and the older one is told', async () => {
    const identity = newIdentity();
    const older = await enter(identity);
    const newer = await connect();
    const answer = await newer.enter(identity);
    const bye = await older.next('bye');
    expect(bye).toMatchObject({ reason: 'superseded', args: [answer.kind === 'ok' && answer.generation] });
    expect(await older.waitForClose()).toMatchObject({ code: CLOSE.superseded });
    expect(await new TestTab(newer).attach()).toMatchObject({ reason: expect.any(String) });
  });

  test('announces a link life near the limit, another one each time', async () => {
    const lives = await Promise.all(
      Array.from({ length: 5 }, async () => {
        const answer = await (await connect()).enter(newIdentity());
        return answer.kind === 'ok' ? answer.maxLinkMs : 0;
      }),
    );
    for (const life of lives) expect(Math.abs(life / DEFAULT_LIMITS.maxLinkMs - 1)).toBeLessThan(0.101);
    expect(new Set(lives).size).toBeGreaterThan(1);
  });

  test('has a link that answers pings', async () => {
    const link = await enter();
    link.send({ kind: 'ping', n: 7 });
    expect(await link.next('pong')).toEqual({ kind: 'pong', n: 7 });
  });

  test('puts the envelopes of one tick into one frame', async () => {
    const link = await enter();
    link.received.length = 0;
    link.sendTogether([1, 2, 3].map((n) => ({ kind: 'ping', n })));
    await link.next('pong');
    const pongs = link.received.filter((text) => text.includes('[10,'));
    expect(pongs).toHaveLength(1);
    expect(pongs[0]!.slice(22)).toBe('[[10,1],[10,2],[10,3]]');
  });

  test('reads nothing after a bye', async () => {
    const link = await enter();
    link.sendTogether([
      { kind: 'bye', reason: 'done', args: [] },
      { kind: 'ping', n: 1 },
    ]);
    expect(await link.waitForClose()).toMatchObject({ code: CLOSE.normal });
    expect(link.received.filter((text) => text.includes('[10,'))).toEqual([]);
  });
});

describe('a hostile client', () => {
  let bystander: TestTab;

  beforeEach(async () => {
    await startServer();
    bystander = new TestTab(await enter());
    await bystander.attach();
  });

  // The process is this one: had it ended, nothing here would run.
  afterEach(async () => {
    vi.useRealTimers();
    expect(await bystander.ask('incr', 1)).toBe(2);
    expect(await new TestTab(await enter()).attach()).toMatchObject({ reason: 'new' });
    expect(logged.filter((line) => line.startsWith('error'))).toEqual([]);
  });

  const NOT_A_PROOF: [what: string, data: string, code: number][] = [
    ['null', 'null', CLOSE.badFrame],
    ['[]', '[]', CLOSE.badFrame],
    ['[null]', '[null]', CLOSE.badFrame],
    ['{"0":"x"}', '{"0":"x"}', CLOSE.badFrame],
    ['["ask",1,"__proto__"]', '["ask",1,"__proto__"]', CLOSE.badFrame],
    ['["session-resume","nextSessionID"]', '["session-resume","nextSessionID"]', CLOSE.badFrame],
    ['an empty text', '', CLOSE.badFrame],
    ['text that is no JSON', '{', CLOSE.badFrame],
    ['the hello of somebody', encodeHandshakeFrame('hello', '[2]'), CLOSE.badFrame],
    ['a type from the prototype', '["constructor","[]"]', CLOSE.badFrame],
    ['5 KiB of [', '['.repeat(5_000), CLOSE.tooLarge],
    ['a proof of 4 KiB and a byte', `["session-create","${'x'.repeat(4_077)}"]`, CLOSE.tooLarge],
  ];

  test.each(NOT_A_PROOF)('that sends %s instead of a proof is closed', async (_what, data, code) => {
    const link = await connect();
    link.sendRaw(data);
    expect(await link.waitForClose()).toMatchObject({ code });
  });

  test('that sends bytes instead of a proof is closed', async () => {
    const link = await connect();
    link.sendRaw(new Uint8Array(100));
    expect(await link.waitForClose()).toMatchObject({ code: CLOSE.badFrame });
  });

  test('that sends 1 MiB of [ instead of a proof is closed before it has arrived', async () => {
    const link = await connect();
    link.sendRaw('['.repeat(1_048_576));
    expect(await link.waitForClose()).toMatchObject({ code: CLOSE.tooLarge });
  });

  test('that sends more than a frame may hold is closed', async () => {
    const link = await enter();
    link.sendRaw('x'.repeat(DEFAULT_LIMITS.maxFrameBytes + 1));
    expect((await link.waitForClose()).code).toBe(1009);
  });

  test('whose proof has a wrong tag is denied as unknown, and the session stays', async () => {
    const identity = newIdentity();
    await (await enter(identity)).close();
    const link = await connect();
    const { proof } = await link.prove(identity.key, { kind: 'resume', sessionID: identity.sessionID! });
    const [type, body, signature] = JSON.parse(proof) as [string, string, string];
    link.sendRaw(JSON.stringify([type, body, signature, toBase64url(new Uint8Array(32))]));
    // The answer is to what has arrived, so it does not verify for what was to be sent.
    await expect(link.answer()).rejects.toThrow('does not verify');
    expect(await link.waitForClose()).toEqual({ code: CLOSE.handshake, reason: 'denied' });
    expect(await (await connect()).enter(identity)).toMatchObject({
      kind: 'ok',
      sessionID: identity.sessionID,
    });
  });

  test('whose proof is signed by another key is denied as unknown', async () => {
    const identity = newIdentity();
    await (await enter(identity)).close();
    const other = NodeSigningKey.generate();
    const impostor = { publicKey: identity.key.publicKey, sign: (data: Uint8Array) => other.sign(data) };
    const link = await connect();
    const { proof } = await link.prove(impostor as NodeSigningKey, {
      kind: 'resume',
      sessionID: identity.sessionID!,
    });
    link.sendRaw(proof);
    expect(await link.answer()).toEqual({ kind: 'denied', code: 'unknown' });
  });

  test('that replays the resume of another connection is denied', async () => {
    const identity = newIdentity();
    await (await enter(identity)).close();
    const first = await connect();
    const { proof } = await first.prove(identity.key, { kind: 'resume', sessionID: identity.sessionID! });
    first.sendRaw(proof);
    expect(await first.answer()).toMatchObject({ kind: 'ok' });
    const second = await connect();
    second.sendRaw(proof);
    // It cannot verify the answer either: it does not know what was proved.
    expect(await second.waitForClose()).toEqual({ code: CLOSE.handshake, reason: 'denied' });
    expect(first.isOpen).toBe(true);
  });

  test('with a key that nobody knows is denied as unknown', async () => {
    const link = await connect();
    expect(await link.enter({ key: NodeSigningKey.generate(), sessionID: 1 })).toEqual({
      kind: 'denied',
      code: 'unknown',
    });
    expect(await link.waitForClose()).toMatchObject({ code: CLOSE.handshake });
  });

  test('whose key was revoked is told so, also when it creates', async () => {
    const identity = newIdentity();
    await (await enter(identity)).close();
    await store.end(identity.sessionID!, 'revoked', Date.now());
    expect(await (await connect()).enter(identity)).toEqual({ kind: 'denied', code: 'revoked' });
    expect(await (await connect()).enter({ key: identity.key })).toEqual({ kind: 'denied', code: 'revoked' });
  });

  test('that registers a key which is not its own is denied', async () => {
    const victim = NodeSigningKey.generate();
    const own = NodeSigningKey.generate();
    const liar = { publicKey: victim.publicKey, sign: (data: Uint8Array) => own.sign(data) };
    const before = await store.nextSessionID();
    expect(await (await connect()).enter({ key: liar as NodeSigningKey })).toEqual({
      kind: 'denied',
      code: 'unknown',
    });
    expect(await store.nextSessionID()).toBe(before);
  });

  test('that proves itself a second time is closed', async () => {
    const link = await connect();
    const identity = newIdentity();
    const { proof } = await link.prove(identity.key, { kind: 'create', fromClient: null });
    link.sendRaw(proof);
    await link.answer();
    link.sendRaw(proof);
    expect(await link.waitForClose()).toMatchObject({ code: CLOSE.badFrame });
  });

  test('that proves itself twice in one flight is closed, with at most one session', async () => {
    const link = await connect();
    const before = await store.nextSessionID();
    const { proof } = await link.prove(NodeSigningKey.generate(), { kind: 'create', fromClient: null });
    link.sendRaw(proof);
    link.sendRaw(proof);
    expect(await link.waitForClose()).toMatchObject({ code: CLOSE.badFrame });
    expect(await store.nextSessionID()).toBeLessThanOrEqual(before + 1);
  });

  test('that sends frames behind a wrong proof gets none of them handled', async () => {
    let handled = 0;
    server.answer['count'] = () => (handled += 1);
    const identity = newIdentity();
    await (await enter(identity)).close();
    const link = await connect();
    const { proof, keys } = await link.prove(identity.key, {
      kind: 'resume',
      sessionID: identity.sessionID!,
    });
    const [type, body, , tag] = JSON.parse(proof) as [string, string, string, string];
    link.sendRaw(JSON.stringify([type, body, toBase64url(new Uint8Array(64)), tag]));
    link.seal(keys);
    const tab = new TestTab(link);
    link.sendTogether([tab.attachEnvelope(), tab.askEnvelope('count')]);
    expect(await link.waitForClose()).toEqual({ code: CLOSE.handshake, reason: 'denied' });
    expect(handled).toBe(0);
  });

  test('that sends more than 32 KiB of early frames is closed', async () => {
    const link = await connect();
    const { proof, keys } = await link.prove(NodeSigningKey.generate(), { kind: 'create', fromClient: null });
    link.sendRaw(proof);
    link.seal(keys);
    for (let i = 0; i < 3; i += 1)
      link.sendPayload(JSON.stringify([[2, 1, 1, [0, 0], 'x', 'y'.repeat(12_000)]]));
    expect(await link.waitForClose()).toMatchObject({ code: CLOSE.tooLarge });
  });

  test('that sends frames without end before the proof is closed', async () => {
    const link = await connect();
    // Fewer than the fragments that one message may have, whatever pieces TCP makes of them.
    for (let i = 0; i < 200; i += 1) link.socket.send('x'.repeat(400), { fin: false });
    expect(await link.waitForClose()).toMatchObject({ code: CLOSE.tooLarge });
  });

  const NOT_A_FRAME: [what: string, data: string, code: number][] = [
    ['null', 'null', CLOSE.badTag],
    ['[]', '[]', CLOSE.badFrame],
    ['["ask",1,"__proto__"]', '["ask",1,"__proto__"]', CLOSE.badFrame],
    ['nothing', '', CLOSE.badTag],
    ['a tag alone', 'A'.repeat(22), CLOSE.badTag],
    ['a wrong tag', `${'A'.repeat(22)}[[9,1]]`, CLOSE.badTag],
    ['1 MiB of [', '['.repeat(1_048_576), CLOSE.badFrame],
  ];
  test.each(NOT_A_FRAME)('that sends %s instead of a frame is closed', async (_what, data, code) => {
    const link = await enter();
    link.sendRaw(data);
    expect(await link.waitForClose()).toMatchObject({ code });
  });

  const NOT_ENVELOPES = [
    'null',
    '[]',
    '[null]',
    '{"0":"x"}',
    '[["ask",1,"__proto__"]]',
    '[[99]]',
    '[[9,-1]]',
    '[[2,1,1,[0,0],"$session-active"]]',
    '[[3,1,1,[0,0],""]]',
    '[[11,"renew-key","x"]]',
    '[[1,1,1,0,"stale",1,1,[]]]',
    '[['.repeat(40),
    '[[6,1,"x",{"$map":1}]]',
  ];
  test.each(NOT_ENVELOPES)('that seals %s is closed with 4400', async (payload) => {
    const link = await enter();
    link.sendPayload(payload);
    expect(await link.waitForClose()).toMatchObject({ code: CLOSE.badFrame });
  });

  test('that seals 1 MiB of [ is closed with 4400', async () => {
    const link = await enter();
    link.sendPayload('['.repeat(1_048_500));
    expect(await link.waitForClose()).toMatchObject({ code: CLOSE.badFrame });
  });

  test('that flips a bit in frame 3 is closed there, and frames 1 and 2 are handled once', async () => {
    const seen: unknown[] = [];
    server.answer['note'] = (_conn, x) => seen.push(x);
    const link = await connect();
    const { proof, keys } = await link.prove(NodeSigningKey.generate(), { kind: 'create', fromClient: null });
    link.sendRaw(proof);
    await link.answer();
    link.seal({
      ...keys,
      send: {
        mac: (data) => {
          const mac = Uint8Array.from((keys.send as MacKey).mac(data) as Bytes);
          if (data[14] === 3) mac[0]! ^= 1;
          return mac;
        },
      },
    });
    const tab = new TestTab(link);
    link.sendTogether([tab.attachEnvelope()]);
    for (const x of [1, 2, 3, 4]) link.sendTogether([tab.askEnvelope('note', x)]);
    expect(await link.waitForClose()).toMatchObject({ code: CLOSE.badTag });
    expect(seen).toEqual([1, 2]);
  });

  test('that asks for what is on every object is told that nobody handles it', async () => {
    const tab = new TestTab(await enter());
    await tab.attach();
    for (const type of ['__proto__', 'constructor', 'hasOwnProperty', 'toString']) {
      await expect(tab.ask(type)).rejects.toMatchObject({ code: 'WEBGRAM_NO_HANDLER' });
    }
  });

  test('that breaks off in the middle of the handshake leaves nothing behind', async () => {
    const link = await connect();
    const { proof } = await link.prove(NodeSigningKey.generate(), { kind: 'create', fromClient: null });
    link.sendRaw(proof);
    link.socket.terminate();
    await link.waitForClose();
    await expect.poll(() => server.sockets).toBe(1);
  });
});

describe('limits', () => {
  test('a socket that says nothing is closed with 4408', async () => {
    await startServer({ limits: { handshakeTimeoutMs: 60 } });
    expect(await (await connect()).waitForClose()).toMatchObject({ code: CLOSE.deadline });
  });

  test('a link that says nothing is closed with 4408, one that pings is not', async () => {
    await startServer({ limits: { idleTimeoutMs: 200 } });
    const silent = await enter();
    const busy = await enter();
    const pings = setInterval(() => {
      busy.send({ kind: 'ping', n: 1 });
    }, 20);
    expect(await silent.waitForClose()).toMatchObject({ code: CLOSE.deadline });
    clearInterval(pings);
    expect(busy.isOpen).toBe(true);
  });

  test('sockets of an address that have not proved themselves are limited; more wait until one has', async () => {
    await startServer({ limits: { maxUnproved: 2 } });
    const first = await connect();
    await connect();
    let hasEntered = false;
    const third = connect().then((link) => {
      hasEntered = true;
      return link;
    });
    await until(() => server.waiting === 1);
    expect([hasEntered, server.sockets]).toEqual([false, 2]);
    await first.enter(newIdentity());
    expect(await (await third).enter(newIdentity())).toMatchObject({ kind: 'ok' });
  });

  test('a burst of honest clients of one address gets in whole', async () => {
    await startServer({ limits: { maxUnproved: 5, createBurst: 200 } });
    const answers = await Promise.all(
      Array.from({ length: 60 }, async () => (await connect()).enter(newIdentity())),
    );
    expect(answers.filter(({ kind }) => kind === 'ok')).toHaveLength(60);
  });

  test('who waits too long for a place is told to come later', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    await startServer({ limits: { maxUnproved: 1, handshakeTimeoutMs: 150 } });
    await connect();
    vi.advanceTimersByTime(20);
    const others = Promise.allSettled([connect(), connect()]);
    await until(() => server.waiting === 2);
    // The first has had its time.
    vi.advanceTimersByTime(130);
    await until(() => server.waiting === 1);
    // One of the others has its place; the last has waited for long enough.
    vi.advanceTimersByTime(20);
    const [second, third] = await others;
    expect([second.status, third.status].sort()).toEqual(['fulfilled', 'rejected']);
    const refused = second.status === 'rejected' ? second : third;
    expect(refused).toMatchObject({ reason: { status: 503 } });
  });

  test('new sessions of an address are limited, resumes are not', async () => {
    await startServer({ limits: { createBurst: 2, createsPerMinute: 1 } });
    const identity = newIdentity();
    await (await enter(identity)).close();
    await enter();
    const third = await connect();
    await expect(third.enter(newIdentity())).rejects.toThrow('4429');
    expect(await (await connect()).enter(identity)).toMatchObject({ kind: 'ok' });
    expect(await (await connect()).enter({ key: identity.key })).toMatchObject({ kind: 'ok' });
  });

  test('proofs that fail are limited, those of others at the same address are not', async () => {
    await startServer({ limits: { failedProofsPerMinute: 2 } });
    const identity = newIdentity();
    await (await enter(identity)).close();
    const stranger = () => ({ key: NodeSigningKey.generate(), sessionID: 1 });
    for (let i = 0; i < 2; i += 1)
      expect(await (await connect()).enter(stranger())).toMatchObject({ kind: 'denied' });
    await expect((await connect()).enter(stranger())).rejects.toThrow('4429');
    expect(await (await connect()).enter(identity)).toMatchObject({ kind: 'ok' });
    expect(await (await connect()).enter(newIdentity())).toMatchObject({ kind: 'ok' });
  });
});

describe('an upgrade', () => {
  beforeEach(() => startServer({ origins: ['https://app.example'] }));

  async function refusal(options: Partial<TestLinkOptions>): Promise<UpgradeRefused> {
    const error: unknown = await connect(options).catch((error: unknown) => error);
    if (!(error instanceof UpgradeRefused)) throw new Error('the upgrade was not refused', { cause: error });
    return error;
  }

  test('from a listed origin is taken, and the proof covers it', async () => {
    const link = await connect({ origin: 'https://app.example' });
    expect(await link.enter(newIdentity())).toMatchObject({ kind: 'ok' });
  });

  test('from another origin is refused before 101, with the line to add, also in the log, once', async () => {
    for (let i = 0; i < 2; i += 1) {
      const { status, text } = await refusal({ origin: 'https://evil.example' });
      expect(status).toBe(403);
      expect(text).toContain("origins: ['https://evil.example']");
    }
    expect(logged.filter((line) => line.includes("origins: ['https://evil.example']"))).toHaveLength(1);
  });

  test('from a page of the same host is taken without being listed', async () => {
    const origin = new URL(server.siteURL).origin;
    expect(await (await connect({ origin })).enter(newIdentity())).toMatchObject({ kind: 'ok' });
    expect(logged).toEqual([]);
  });

  test('without Origin, or with that of a sandboxed frame, is refused unless it is allowed', async () => {
    await server.close();
    await startServer({ allowNoOrigin: false });
    const { status, text } = await refusal({});
    expect([status, text.includes('allowNoOrigin: true')]).toEqual([403, true]);
    expect(await refusal({ origin: 'null' })).toMatchObject({ status: 403 });
  });

  test('with forwarded headers of somebody is judged by its own', async () => {
    const headers = {
      'X-Forwarded-Host': 'evil.example',
      'X-Forwarded-Proto': 'https',
      Forwarded: 'host=evil.example',
    };
    expect(await refusal({ origin: 'https://evil.example', headers })).toMatchObject({ status: 403 });
    expect(await (await connect({ headers })).enter(newIdentity())).toMatchObject({ kind: 'ok' });
  });

  test('with another spelling of a listed origin is refused', async () => {
    for (const origin of [
      'https://APP.example',
      'https://app.example:443',
      'https://app.example.',
      'http://app.example',
    ]) {
      expect(await refusal({ origin })).toMatchObject({ status: 403 });
    }
  });

  test('from another port of this machine is taken, and said once', async () => {
    for (const port of [3000, 3001]) await connect({ origin: `http://localhost:${port}` });
    expect(logged).toHaveLength(1);
    expect(logged[0]).toContain('http://localhost:3000');
  });

  test('to a name that was made to point here is refused', async () => {
    const { status, text } = await refusal({ headers: { Host: 'evil.example' } });
    expect(status).toBe(403);
    expect(text).toContain("hosts: ['evil.example']");
  });

  test('whose Host was changed on the way fails the proof, because the client sees another authority', async () => {
    const link = await connect({ headers: { Host: 'localhost:1' } });
    const { proof } = await link.prove(NodeSigningKey.generate(), { kind: 'create', fromClient: null });
    link.sendRaw(proof);
    expect(await link.waitForClose()).toMatchObject({ code: CLOSE.handshake });
  });

  test('without a subprotocol of ours is answered with 426', async () => {
    expect(await refusal({ protocols: ['chat'] })).toMatchObject({ status: 426 });
    expect(await refusal({ protocols: [] })).toMatchObject({ status: 426 });
  });

  test('at another path is answered with 404', async () => {
    expect(await refusal({ address: `${server.address}other` })).toMatchObject({ status: 404 });
  });

  test('does not switch compression on, though it was offered', async () => {
    const link = await connect({ perMessageDeflate: true });
    expect((link.socket as WebSocket).extensions).toBe('');
  });

  test('that is reset while it is answered harms nobody', async () => {
    const { port } = server;
    await Promise.all(
      Array.from({ length: 20 }, async () => {
        const { connect } = await import('node:net');
        await new Promise<void>((resolve) => {
          const socket = connect(port, 'localhost', () => {
            const lines = ['GET / HTTP/1.1', 'Host: localhost', 'Upgrade: websocket', 'Connection: Upgrade'];
            const more = ['Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==', 'Sec-WebSocket-Version: 13'];
            socket.write([...lines, ...more, 'Sec-WebSocket-Protocol: webgram.2.json', '', ''].join('\r\n'));
            socket.resetAndDestroy();
          });
          socket.on('error', () => undefined);
          socket.on('close', () => resolve());
        });
      }),
    );
    await enter();
  });
});

describe('a store', () => {
  test('that is older than its clients refuses them without a denial, and says so loudly once', async () => {
    await startServer();
    for (let i = 0; i < 3; i += 1) {
      const link = await connect();
      await expect(link.enter({ key: NodeSigningKey.generate(), sessionID: 9 })).rejects.toThrow('1013');
    }
    expect(logged.filter((line) => line.includes('older copy'))).toHaveLength(1);
  });

  test('that fails closes the one socket with 1013, and the next one works', async () => {
    class FailingStore extends MemoryStore {
      failures = 1;
      override async create(session: Parameters<MemoryStore['create']>[0]): Promise<Created> {
        this.failures -= 1;
        if (this.failures >= 0) throw new WebgramError('WEBGRAM_STORE_FAILED', 'the disk is full');
        return super.create(session);
      }
    }
    store = new FailingStore();
    await startServer();
    const identity = newIdentity();
    await expect((await connect()).enter(identity)).rejects.toThrow('1013');
    expect(logged.join()).toContain('the disk is full');
    expect(await (await connect()).enter(identity)).toMatchObject({ kind: 'ok', sessionID: 1 });
  });
});

describe('starting and closing', () => {
  test('start is idempotent and begins by itself on the next tick', async () => {
    server = new Server({ port: 0, store });
    await Promise.all([server.start(), server.start()]);
    expect(server.port).toBeGreaterThan(0);
    expect(server.address).toBe(`ws://localhost:${server.port}/`);
    expect(server.siteURL).toBe(`http://localhost:${server.port}/`);
  });

  test('start rejects when the port is taken, says what to do, and may be tried again', async () => {
    const other = createServer();
    await new Promise<void>((resolve) => other.listen(0, resolve));
    const { port } = other.address() as { port: number };
    server = new Server({ port, store, manualStart: true });
    await expect(server.start()).rejects.toMatchObject({
      code: 'EADDRINUSE',
      message: expect.stringContaining(`port ${port} is taken by another program`),
    });
    await new Promise((resolve) => other.close(resolve));
    await server.start();
    expect(server.port).toBe(port);
  });

  test('a port that is taken is logged when nobody has called start', async () => {
    const other = createServer();
    await new Promise<void>((resolve) => other.listen(0, resolve));
    server = new Server({ port: (other.address() as { port: number }).port, store, log });
    await expect.poll(() => logged.join()).toContain('is taken by another program');
    await new Promise((resolve) => other.close(resolve));
  });

  test('close tells clients to come back, and keeps what they did', async () => {
    await startServer();
    const identity = newIdentity();
    const link = await enter(identity);
    server.on('keep', async (conn) => {
      (conn.sessionData as Record<string, unknown>)['kept'] = true;
      await conn.save();
    });
    const tab = new TestTab(link);
    link.sendTogether([
      tab.attachEnvelope(),
      { kind: 'send', tab: 1, seq: 1, ack: tab.received, type: 'keep', args: [] },
    ]);
    await link.next('attached');
    const silent = await connect();
    const closing = server.close();
    expect(await link.next('bye')).toMatchObject({ reason: 'draining' });
    expect(await link.waitForClose()).toMatchObject({ code: CLOSE.draining });
    expect(await silent.waitForClose()).toMatchObject({ code: CLOSE.draining });
    await closing;
    await expect(connect()).rejects.toThrow('ECONNREFUSED');
    await startServer();
    expect(await (await connect()).enter(identity)).toMatchObject({ kind: 'ok' });
    const session = await server.sessions.open(identity.sessionID!);
    expect(session.sessionData).toMatchObject({ kept: true });
  });

  test('close cuts off a handler that never ends', async () => {
    await startServer({ drainMs: 50 });
    server.answer['hang'] = () => new Promise(() => undefined);
    const tab = new TestTab(await enter());
    await tab.attach();
    tab.link.send(tab.askEnvelope('hang'));
    tab.link.send({ kind: 'ping', n: 1 });
    await tab.link.next('pong');
    await server.close();
  });

  test('close ends a socket that does not answer', async () => {
    await startServer();
    const link = await enter();
    link.socket.pause();
    await server.close();
    link.socket.resume();
    await link.closed;
  });

  test('close is idempotent, works before start, and is final', async () => {
    server = new Server({ port: 0, store, manualStart: true });
    await Promise.all([server.close(), server.stop()]);
    await expect(server.start()).rejects.toThrow('cannot be started again');
  });

  test('installs no handler of the process', async () => {
    const before = process.eventNames().map((name) => [name, process.listenerCount(name)]);
    await startServer();
    await enter();
    expect(process.eventNames().map((name) => [name, process.listenerCount(name)])).toEqual(before);
  });
});

describe('with a folder', () => {
  let folder: string;

  beforeEach(async () => {
    folder = await mkdtemp(path.join(tmpdir(), 'webgram-server-'));
  });

  afterEach(async () => {
    vi.useRealTimers();
    await server.close();
    await rm(folder, { recursive: true, force: true });
  });

  function options(): ServerOptions {
    return { port: 0, db: path.join(folder, 'sessions'), log, manualStart: true };
  }

  test('the key is beside the store, readable by its owner only, and the same after a restart', async () => {
    server = new Server(options());
    await server.start();
    const identity = newIdentity();
    const first = await enter(identity);
    await server.close();
    const file = path.join(folder, 'sessions.key');
    expect((await stat(file)).mode & 0o777).toBe(0o600);
    expect(await readFile(file, 'utf8')).toContain('PRIVATE KEY');
    server = new Server(options());
    await server.start();
    const second = await connect();
    expect(await second.enter(identity)).toMatchObject({ kind: 'ok', sessionID: 1 });
    expect(second.hello.serverKey).toEqual(first.hello.serverKey);
    expect(second.hello.storeID).toEqual(first.hello.storeID);
    expect(await readdir(folder)).toEqual(['sessions', 'sessions.key']);
  });

  test('a lost key is replaced, loudly when the store has sessions', async () => {
    server = new Server(options());
    await server.start();
    await enter();
    await server.close();
    expect(logged).toEqual([]);
    await rm(path.join(folder, 'sessions.key'));
    server = new Server(options());
    await server.start();
    expect(logged.join()).toContain('a new one was made');
  });

  test('a second server on the same folder is told so', async () => {
    server = new Server(options());
    await server.start();
    const second = new Server(options());
    await expect(second.start()).rejects.toMatchObject({ code: 'WEBGRAM_STORE_LOCKED' });
    await second.close();
  });
});

describe('options', () => {
  beforeEach(() => startServer());

  test.each<[ServerOptions, string]>([
    [{ port: 70_000 }, "'port' must be"],
    [{ port: 1.5 }, "'port' must be"],
    [{ db: './x', store: new MemoryStore() }, "'db' and 'store'"],
    [{ path: 'x' }, "'path' must begin"],
    [{ origins: ['*'] }, "'origins'"],
    [{ root: './no-such-folder' }, "'root' must be a folder"],
    [{ root: '.', db: './server/sessions' }, "'root' must not hold"],
    [{ limits: { maxFrames: 1 } as never }, "'limits.maxFrames' is not a limit"],
    [{ limits: { maxFrameBytes: -1 } }, "'limits.maxFrameBytes' must be"],
    [{ dataVersion: 0 }, "'dataVersion'"],
  ])('%j are refused', (options, message) => {
    expect(() => new Server({ manualStart: true, ...options })).toThrow(message);
  });
});

/** WebSocket frames as no well-behaved client sends them, before and behind the proof. */
import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { DEFAULT_LIMITS, type Frame } from 'webgram';
import { WebSocket } from 'ws';
import { NodeSigningKey } from './node-crypto.ts';
import { bundleForNode, type Bundle } from './testing/bundle.ts';
import { closePayload, OPCODE, rawFrame, writeRaw } from './testing/raw-frames.ts';
import { Scene } from './testing/scene.ts';
import { TestLink, TestTab } from './testing/test-client.ts';

const { continuation, text, binary, close, ping, pong } = OPCODE;
const NOT_UTF8 = Uint8Array.of(0x5b, 0xc3, 0x28);

/** What is written, and the code that the socket is closed with. */
const BROKEN: [string, number, ...Buffer[]][] = [
  ['the first reserved bit, as compression would set it', 1002, rawFrame(text, 'x', { rsv: 4 })],
  ['the second reserved bit', 1002, rawFrame(text, 'x', { rsv: 2 })],
  ['the third reserved bit', 1002, rawFrame(binary, 'x', { rsv: 1 })],
  ['a reserved bit on a ping', 1002, rawFrame(ping, 'x', { rsv: 4 })],
  ['a reserved opcode of data', 1002, rawFrame(3, 'x')],
  ['the last reserved opcode of data', 1002, rawFrame(7, 'x')],
  ['a reserved opcode of control', 1002, rawFrame(0xb, '')],
  ['the last reserved opcode of control', 1002, rawFrame(0xf, '')],
  ['a text without a mask', 1002, rawFrame(text, 'x', { isMasked: false })],
  ['a ping without a mask', 1002, rawFrame(ping, '', { isMasked: false })],
  ['a ping in fragments', 1002, rawFrame(ping, 'x', { fin: false })],
  ['a close in fragments', 1002, rawFrame(close, closePayload(1000), { fin: false })],
  ['a ping of 126 bytes', 1002, rawFrame(ping, 'x'.repeat(126))],
  ['a close of 126 bytes', 1002, rawFrame(close, closePayload(1000, 'x'.repeat(124)))],
  ['a continuation of nothing', 1002, rawFrame(continuation, 'x')],
  ['an unfinished continuation of nothing', 1002, rawFrame(continuation, 'x', { fin: false })],
  ['a text inside of a text', 1002, rawFrame(text, 'x', { fin: false }), rawFrame(text, 'y')],
  ['a binary inside of a text', 1002, rawFrame(text, 'x', { fin: false }), rawFrame(binary, 'y')],
  ['a text that is not UTF-8', 1007, rawFrame(text, NOT_UTF8)],
  ['a text that ends in the middle of a character', 1007, rawFrame(text, Uint8Array.of(0xe2, 0x82))],
  ['a surrogate in UTF-8', 1007, rawFrame(text, Uint8Array.of(0xed, 0xa0, 0x80))],
  [
    'a text that is not UTF-8 over two fragments',
    1007,
    rawFrame(text, Uint8Array.of(0xc3), { fin: false }),
    rawFrame(continuation, Uint8Array.of(0x28)),
  ],
  ['a close of one byte', 1002, rawFrame(close, Uint8Array.of(3))],
  ...[0, 999, 1004, 1005, 1006, 1015, 2999, 5000, 65_535].map((code): [string, number, Buffer] => [
    `a close with ${code}`,
    1002,
    rawFrame(close, closePayload(code)),
  ]),
  ['a close whose reason is not UTF-8', 1007, rawFrame(close, closePayload(1000, NOT_UTF8))],
  ['a length of 2^63', 1009, rawFrame(text, 'x', { length: 2n ** 63n })],
  ['a length of 2^53', 1009, rawFrame(text, 'x', { length: 2n ** 53n })],
  ['a length over the limit', 1009, rawFrame(binary, 'x', { length: DEFAULT_LIMITS.maxFrameBytes + 1 })],
];

let scene: Scene;

beforeEach(() => {
  scene = new Scene();
});

afterEach(() => scene.close());

describe.each(['before the proof', 'behind the proof'])('%s', (when) => {
  /** A link at that point. Its WebSocket answers what the server says by itself. */
  async function open(): Promise<TestLink> {
    return when === 'before the proof' ? scene.connect() : scene.enter();
  }

  test('every broken frame closes its socket with the code of RFC 6455, and no other', async () => {
    await scene.start({ limits: { createBurst: 1_000, maxUnproved: 1_000 } });
    const witness = await scene.tab();
    for (const [name, code, ...frames] of BROKEN) {
      const link = await open();
      writeRaw(link, ...frames);
      expect([name, (await link.waitForClose()).code]).toEqual([name, code]);
    }
    // Also a byte at a time, where lengths and masks arrive in pieces.
    const [, code, frame] = BROKEN.find(([name]) => name === 'a close whose reason is not UTF-8')!;
    const link = await open();
    for (const byte of frame!) writeRaw(link, Uint8Array.of(byte));
    expect((await link.waitForClose()).code).toBe(code);
    expect(await witness.ask('incr', 1)).toBe(2);
    expect(scene.messages('warn', 'error')).toEqual([]);
  }, 20_000);

  test.each([1000, 1001, 1003, 1007, 1011, 3000, 4999])('a close with %i is answered alike', async (code) => {
    await scene.start();
    const link = await open();
    writeRaw(link, rawFrame(close, closePayload(code, 'Grüße')));
    const { code: answered } = await link.waitForClose();
    expect(answered).toBe(code);
  });

  test('pings are answered with what they hold, in any order; pongs are nothing', async () => {
    await scene.start();
    const link = await open();
    const pongs: string[] = [];
    (link.socket as WebSocket).on('pong', (data: Buffer) => pongs.push(data.toString()));
    writeRaw(
      link,
      rawFrame(pong, 'nobody asked'),
      ...['', 'one', 'x'.repeat(125)].map((data) => rawFrame(ping, data)),
    );
    await expect.poll(() => pongs).toEqual(['', 'one', 'x'.repeat(125)]);
    expect(link.isOpen).toBe(true);
  });
});

describe('a frame of ours in pieces', () => {
  test('of WebSocket, with a ping between them, is one frame', async () => {
    await scene.start();
    const tab = await scene.tab();
    tab.link.onWire = (frame: Frame) => {
      const bytes = Buffer.from(frame as string);
      writeRaw(
        tab.link,
        rawFrame(text, '', { fin: false }),
        // Cut in the middle of a character, too.
        ...[...bytes].map((byte) => rawFrame(continuation, Uint8Array.of(byte), { fin: false })),
        rawFrame(ping, 'between'),
        rawFrame(continuation, ''),
      );
      return [];
    };
    expect(await tab.ask('incr', 41)).toBe(42);
    scene.server.answer['echo'] = (_conn, value) => value;
    expect(await tab.ask('echo', 'Grüße 🕸')).toBe('Grüße 🕸');
  });

  test('of TCP is one frame', async () => {
    await scene.start();
    const tab = await scene.tab();
    tab.link.onWire = (frame: Frame) => {
      for (const byte of rawFrame(text, frame)) writeRaw(tab.link, Uint8Array.of(byte));
      return [];
    };
    expect(await tab.ask('incr', 41)).toBe(42);
  });

  test('4,096 of them are taken, one more is too many', async () => {
    await scene.start();
    const pieces = (count: number) =>
      Array.from({ length: count }, (_, n) => rawFrame(n === 0 ? text : continuation, '', { fin: false }));
    const link = await scene.enter();
    writeRaw(link, ...pieces(4_095));
    link.onWire = (frame: Frame) => {
      writeRaw(link, rawFrame(continuation, frame));
      return [];
    };
    link.send({ kind: 'ping', n: 1 });
    expect(await link.next('pong')).toMatchObject({ n: 1 });
    writeRaw(link, ...pieces(4_097));
    expect((await link.waitForClose()).code).toBe(1008);
  });
});

describe('compression', () => {
  test.each([
    'permessage-deflate',
    'permessage-deflate; client_max_window_bits',
    'permessage-deflate; server_no_context_takeover; client_no_context_takeover',
    'x-webkit-deflate-frame',
  ])('%s is offered and not taken', async (extension) => {
    await scene.start();
    const link = await scene.connect({ headers: { 'Sec-WebSocket-Extensions': extension } });
    expect((link.socket as WebSocket).extensions).toBe('');
    expect(await link.enter(scene.identity())).toMatchObject({ kind: 'ok' });
    writeRaw(link, rawFrame(text, 'x', { rsv: 4 }));
    expect((await link.waitForClose()).code).toBe(1002);
  });
});

describe('in a process of its own', () => {
  const ATTACKERS = 20;
  const MIB = 1_048_576;
  let bundle: Bundle;
  let child: ChildProcess;
  let address: string;
  let links: TestLink[];

  beforeAll(async () => {
    bundle = await bundleForNode('server/testing/server-child.ts');
    child = fork(bundle.file, { execArgv: ['--expose-gc'] });
    ({ address } = (await heard()) as { address: string });
  }, 60_000);

  afterAll(async () => {
    const ended = once(child, 'exit');
    child.kill('SIGKILL');
    await ended;
    await bundle.remove();
  });

  beforeEach(() => {
    links = [];
  });

  afterEach(() => {
    for (const { socket } of links) socket.terminate();
  });

  async function heard(): Promise<unknown> {
    const [message] = (await once(child, 'message')) as unknown[];
    return message;
  }

  interface Memory {
    rss: number;
    /** Of objects and buffers that are reachable. */
    used: number;
    sockets: number;
  }

  /** The least of some looks: what the collector has not got to yet does not count. */
  async function memory(): Promise<Memory> {
    const least = { rss: Infinity, used: Infinity, sockets: Infinity };
    for (let look = 0; look < 4; look += 1) {
      child.send('memory');
      const { rss, used, sockets } = (await heard()) as Memory;
      Object.assign(least, { rss: Math.min(least.rss, rss), used: Math.min(least.used, used), sockets });
    }
    return least;
  }

  async function open(isProved: boolean): Promise<TestLink> {
    const link = await TestLink.open({ address, WebSocket });
    links.push(link);
    if (isProved) await link.enter({ key: NodeSigningKey.generate() });
    return link;
  }

  const fragment = rawFrame(continuation, 'x', { fin: false });
  const empty = rawFrame(continuation, '', { fin: false });

  function many(count: number, frame: Buffer): Buffer {
    return Buffer.alloc(count * frame.length, frame);
  }

  /** Whether the proof comes first, what is written, and the codes that may follow; none when the socket stays. */
  const ATTACKS: Record<string, [boolean, () => Buffer[], number[]]> = {
    'a first frame of 4 KiB + 1': [false, () => [rawFrame(text, 'x'.repeat(4_097))], [4413]],
    'a first frame that is never ended': [
      false,
      () => [rawFrame(text, 'x'.repeat(4_096), { length: DEFAULT_LIMITS.maxFrameBytes })],
      [],
    ],
    'too much before the proof': [
      false,
      () => [rawFrame(text, 'x'.repeat(40_000), { length: 1_000_000 })],
      [4413],
    ],
    'a later frame of the limit + 1': [
      true,
      () => [rawFrame(text, 'x'.repeat(DEFAULT_LIMITS.maxFrameBytes + 1))],
      [1009],
    ],
    '16,385 fragments': [true, () => [rawFrame(text, 'x', { fin: false }), many(16_384, fragment)], [1008]],
    '4,096 fragments and no end': [
      true,
      () => [rawFrame(text, 'x', { fin: false }), many(4_095, fragment)],
      [],
    ],
    'a million empty fragments': [
      true,
      () => [rawFrame(text, '', { fin: false }), many(1_000_000, empty)],
      // Who goes on writing may not get to read why.
      [1008, 1006],
    ],
    'an offer of compression': [true, () => [rawFrame(text, 'x', { rsv: 4 })], [1002]],
  };

  test.each(Object.keys(ATTACKS))(
    '%s takes less than 1 MiB each, and gives it back',
    async (name) => {
      const [isProved, frames, codes] = ATTACKS[name]!;
      const attack = async (): Promise<void> => {
        const link = await open(isProved);
        writeRaw(link, ...frames());
        if (codes.length > 0) expect(codes).toContain((await link.waitForClose()).code);
      };
      const attackAll = (): Promise<unknown> => Promise.all(Array.from({ length: ATTACKERS }, attack));
      const leave = async (): Promise<void> => {
        for (const { socket } of links.splice(0)) socket.terminate();
        await expect.poll(async () => (await memory()).sockets).toBe(0);
      };
      // What it costs only once, such as code that becomes faster, is there before.
      await attackAll();
      await leave();
      const before = await memory();
      await attackAll();
      expect(((await memory()).rss - before.rss) / ATTACKERS / MIB).toBeLessThan(1);
      await leave();
      expect((await memory()).used - before.used).toBeLessThan(MIB);
      const tab = new TestTab(await open(true));
      await tab.attach();
      expect(await tab.ask('incr', 1)).toBe(2);
    },
    30_000,
  );
});

import { describe, expect, test } from 'vitest';
import {
  EarlyFrames,
  FrameReader,
  FrameWriter,
  cborCodec,
  closeCodeOf,
  codecs,
  concat,
  encodeEnvelopes,
  frameInput,
  fromBase64url,
  jsonCodec,
  parseUp,
  sealedName,
  toBase64url,
  utf8,
  type Bytes,
  type Envelope,
  type Frame,
  type MacKey,
  type BodyCodec,
  type PayloadCodec,
  type Sender,
  type UpEnvelope,
} from 'webgram';
import { implementations, node, pairs, type Implementation } from './implementations.ts';

const badTag = expect.objectContaining({ code: 'WEBGRAM_BAD_TAG' });
const badFrame = expect.objectContaining({ code: 'WEBGRAM_BAD_FRAME' });
const tooLarge = expect.objectContaining({ code: 'WEBGRAM_FRAME_TOO_LARGE' });

const ping = (n: number): UpEnvelope => ({ kind: 'ping', n });
const KEY = new Uint8Array(32).fill(3);

type Mode = 'tagged' | 'sealed';

const modes: [string, BodyCodec, Mode][] = codecs.flatMap((codec) => [
  [codec.subprotocol, codec, 'tagged'],
  [sealedName(codec), codec, 'sealed'],
]);

const keyOf = async ({ crypto }: Implementation, mode: Mode, key = KEY) =>
  mode === 'sealed' ? crypto.sealKey(key) : crypto.macKey(key);

async function write(
  side: Implementation,
  payloads: Envelope[][],
  codec = jsonCodec,
  mode: Mode = 'tagged',
): Promise<Frame[]> {
  const frames: Frame[] = [];
  const writer = new FrameWriter({
    key: await keyOf(side, mode),
    sender: 'client',
    codec,
    maxFrameBytes: 1_048_576,
    output: (frame) => frames.push(frame),
    failed: unexpected,
  });
  for (const payload of payloads) writer.write(encodeEnvelopes(codec, payload));
  await expect.poll(() => frames.length).toBe(payloads.length);
  return frames;
}

interface Reading {
  codec?: PayloadCodec;
  mode?: Mode;
  maxFrameBytes?: number;
  key?: Bytes;
  sender?: Sender;
}

async function newReader(
  side: Implementation,
  {
    codec = jsonCodec,
    mode = 'tagged',
    maxFrameBytes = 1_048_576,
    key = KEY,
    sender = 'client',
  }: Reading = {},
) {
  const delivered: UpEnvelope[] = [];
  const failures: unknown[] = [];
  const tags: unknown[] = [];
  const inner = await keyOf(side, mode, key);
  const watch = <T>(result: T): T => {
    tags.push(result);
    return result;
  };
  const reader = new FrameReader<UpEnvelope>({
    crypto: side.crypto,
    key:
      'mac' in inner
        ? { mac: (data) => watch(inner.mac(data)) }
        : { seal: unexpected, open: (...args) => watch(inner.open(...args)) },
    sender,
    codec,
    maxFrameBytes,
    parse: parseUp,
    deliver: (envelopes) => delivered.push(...envelopes),
    failed: (error) => failures.push(error),
  });
  /** Resolves when everything received so far was delivered or refused. */
  const settled = async () => {
    await Promise.allSettled(tags);
    await tick();
  };
  return { reader, delivered, failures, settled };
}

/** Reads to the end, where the crypto is asynchronous too. */
async function read(side: Implementation, frames: readonly (string | Uint8Array)[], options = {}) {
  const { reader, delivered, failures, settled } = await newReader(side, options);
  for (const frame of frames) reader.receive(frame);
  await settled();
  return {
    delivered: delivered.map((envelope) => (envelope.kind === 'ping' ? envelope.n : envelope.kind)),
    failures,
  };
}

/** Long enough for every promise that is settled already. */
const tick = () => new Promise<void>((resolve) => void setImmediate(resolve));

const unexpected = (): never => expect.unreachable();

const counted = (length: number) => Array.from({ length }, (_, i) => [ping(i)]);

describe.each(pairs)('$client.name writes, $server.name reads', ({ server: reading, client: writing }) => {
  test.each(modes)('%s', async (_name, codec, mode) => {
    const payloads: UpEnvelope[][] = [
      [ping(0), ping(1)],
      [{ kind: 'volatile', tab: 1, type: 'ü€😀', args: [null] }],
    ];
    const frames = await write(writing, payloads, codec, mode);
    expect(frames.every((frame) => typeof frame === 'string')).toBe(codec === jsonCodec && mode === 'tagged');
    const { reader, delivered, failures, settled } = await newReader(reading, { codec, mode });
    for (const frame of frames) reader.receive(frame);
    await settled();
    expect(delivered).toEqual(payloads.flat());
    expect(failures).toEqual([]);
  });

  test('1,000 frames written and read at once keep their order', async () => {
    const frames = await write(writing, counted(1_000));
    const { delivered, failures } = await read(reading, frames);
    expect(delivered).toEqual(Array.from({ length: 1_000 }, (_, i) => i));
    expect(failures).toEqual([]);
  });
});

describe.each(implementations)('$name', (side) => {
  test.each(modes)(
    '%s: a duplicate, a gap and a swap are refused at that frame, and nothing after it is read',
    async (_name, codec, mode) => {
      const frames = await write(side, counted(6), codec, mode);
      const cut = async (good: number, ...order: number[]) => {
        const { delivered, failures } = await read(
          side,
          order.map((i) => frames[i]!),
          { codec, mode },
        );
        expect(delivered).toEqual(Array.from({ length: good }, (_, i) => i));
        expect(failures).toEqual([badTag]);
      };
      await cut(3, 0, 1, 2, 2, 3, 4);
      await cut(2, 0, 1, 3, 4, 5);
      await cut(1, 0, 2, 1, 3);
      await cut(0, 1, 0);
      await cut(3, 0, 1, 2, 0, 3);
    },
  );

  test.each(modes)(
    '%s: any bit of a frame flipped is refused before dispatch',
    async (_name, codec, mode) => {
      const frames = await write(side, counted(4), codec, mode);
      const target = frames[2]!;
      const isText = typeof target === 'string';
      const step = side === node ? 1 : 5;
      for (let bit = 0; bit < target.length * 8; bit += step) {
        const bytes = Buffer.from(target as string);
        bytes[bit >> 3]! ^= 1 << (bit & 7);
        const { delivered, failures } = await (async () => {
          const { reader, settled, ...rest } = await newReader(side, { codec, mode });
          for (const frame of [frames[0]!, frames[1]!, bytes, frames[3]!]) reader.receive(frame, !isText);
          await settled();
          return rest;
        })();
        expect(delivered).toEqual([ping(0), ping(1)]);
        expect(failures, `bit ${bit}`).toEqual([badTag]);
      }
    },
  );

  test('one spelling of a tag is taken', async () => {
    const [frame] = (await write(side, counted(1))) as [string];
    const spellings = [...'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'].map(
      (last) => frame.slice(0, 21) + last + frame.slice(22),
    );
    const results = await Promise.all(spellings.map((text) => read(side, [text])));
    expect(results.filter(({ delivered }) => delivered.length > 0)).toHaveLength(1);
    expect(results.filter(({ failures }) => failures.length > 0)).toHaveLength(63);
  });

  test('a frame of the other direction or of another connection is refused', async () => {
    const payload = '[[9,0]]';
    const tagged = async (key: Uint8Array<ArrayBuffer>, sender: 'client' | 'server') => {
      const mac = await (await side.crypto.macKey(key)).mac(frameInput(sender, 0, utf8(payload)));
      return toBase64url(mac.subarray(0, 16)) + payload;
    };
    expect((await read(side, [await tagged(KEY, 'client')])).delivered).toEqual([0]);
    // Even if both directions had one key, a reflected frame would not verify.
    expect((await read(side, [await tagged(KEY, 'server')])).failures).toEqual([badTag]);
    expect((await read(side, [await tagged(new Uint8Array(32), 'client')])).failures).toEqual([badTag]);
  });

  test('equal content in other bytes does not verify', async () => {
    const [frame] = (await write(side, counted(1))) as [string];
    const respelled = `${frame.slice(0, 22)}[[9, 0]]`;
    expect((await read(side, [respelled])).failures).toEqual([badTag]);
  });

  test('what is too short, too long or of the other kind is refused', async () => {
    const [frame] = (await write(side, counted(1))) as [string];
    for (const text of ['', 'x', frame.slice(0, 21), frame.slice(0, 22), frame.slice(0, -1), `${frame} `]) {
      expect((await read(side, [text])).failures).toEqual([badTag]);
    }
    expect((await read(side, [frame], { maxFrameBytes: frame.length })).delivered).toEqual([0]);
    expect((await read(side, [frame], { maxFrameBytes: frame.length - 1 })).failures).toEqual([tooLarge]);
    expect((await read(side, ['ü'.repeat(60)], { maxFrameBytes: 100 })).failures).toEqual([tooLarge]);
    expect((await read(side, [utf8(frame)])).failures).toEqual([badFrame]);
    expect((await read(side, [frame], { codec: cborCodec })).failures).toEqual([badFrame]);
    expect((await read(side, [frame], { mode: 'sealed' })).failures).toEqual([badFrame]);
  });

  test.each(modes.filter(([name]) => name !== 'webgram.2.json'))(
    '%s: too short, too long, reflected or of another key',
    async (_name, codec, mode) => {
      const [frame] = (await write(side, counted(1), codec, mode)) as [Uint8Array];
      const options = { codec, mode };
      const isTagged = mode === 'tagged';
      for (const length of [0, 1, 15, 16, frame.length - 1]) {
        expect((await read(side, [frame.slice(0, length)], options)).failures).toEqual([badTag]);
      }
      expect((await read(side, [concat(frame, Uint8Array.of(0))], options)).failures).toEqual([badTag]);
      expect((await read(side, [frame], { ...options, maxFrameBytes: frame.length })).delivered).toEqual([0]);
      expect((await read(side, [frame], { ...options, maxFrameBytes: frame.length - 1 })).failures).toEqual([
        tooLarge,
      ]);
      expect((await read(side, [toBase64url(frame)], options)).failures).toEqual([badFrame]);
      expect((await read(side, [frame], { ...options, sender: 'server' })).failures).toEqual([badTag]);
      expect((await read(side, [frame], { ...options, key: new Uint8Array(32) })).failures).toEqual([badTag]);
      expect(
        (await read(side, [frame], { ...options, mode: isTagged ? 'sealed' : 'tagged', codec: cborCodec }))
          .failures,
      ).toEqual([badTag]);
    },
  );

  test('a sealed frame shows nothing of its payload, and has the counter as its nonce', async () => {
    const [zero, one] = (await write(side, [[ping(7)], [ping(7)]], jsonCodec, 'sealed')) as [
      Uint8Array,
      Uint8Array,
    ];
    const payload = utf8('[[9,7]]');
    expect(zero).toHaveLength(payload.length + 16);
    expect(zero).not.toEqual(one);
    expect(Buffer.from(zero).includes(Buffer.from(payload))).toBe(false);
    const nonce = concat(new Uint8Array(11), Uint8Array.of(1));
    const opened = await (await side.crypto.sealKey(KEY)).open(nonce, utf8('frame\0C'), Uint8Array.from(one));
    expect(opened).toEqual(payload);
  });

  test('a fault waits for the frames before it', async () => {
    const frames: (string | Uint8Array)[] = await write(side, counted(3));
    const { delivered, failures } = await read(side, [...frames, new Uint8Array(3), ...frames]);
    expect(delivered).toEqual([0, 1, 2]);
    expect(failures).toEqual([badFrame]);
  });

  test.each([
    'null',
    '[]',
    '[null]',
    '{"0":"x"}',
    '["ask",1,"__proto__"]',
    '[[9,0],[99]]',
    '['.repeat(1_000_000),
    '"\uFEFF',
  ])('verified but hostile: %.30s', async (payload) => {
    const mac = await (await side.crypto.macKey(KEY)).mac(frameInput('client', 0, utf8(payload)));
    const frame = toBase64url(mac.subarray(0, 16)) + payload;
    const { delivered, failures } = await read(side, [frame]);
    expect(delivered).toEqual([]);
    expect(failures).toEqual([badFrame]);
    expect(closeCodeOf(failures[0])).toBe(4400);
  });

  test('nothing is read after bye, in its own frame neither', async () => {
    const bye: UpEnvelope = { kind: 'bye', reason: 'closed', args: [] };
    const frames = await write(side, [[ping(0), bye, ping(1)], [ping(2)]]);
    const { delivered, failures } = await read(side, frames);
    expect(delivered).toEqual([0, 'bye']);
    expect(failures).toEqual([]);
  });

  test('nothing is delivered after stop, of what is being verified neither', async () => {
    const frames = await write(side, counted(2));
    const { reader, delivered, failures, settled } = await newReader(side);
    reader.receive(frames[0]!);
    reader.stop();
    reader.receive(frames[1]!);
    await settled();
    expect(delivered).toEqual(side === node ? [ping(0)] : []);
    expect(failures).toEqual([]);
  });

  test('a fault in deliver ends the reader and reaches failed', async () => {
    const fault = new Error('fault');
    const failures: unknown[] = [];
    const reader = new FrameReader<UpEnvelope>({
      crypto: side.crypto,
      key: await side.crypto.macKey(KEY),
      sender: 'client',
      codec: jsonCodec,
      maxFrameBytes: 1_000,
      parse: parseUp,
      deliver: () => {
        throw fault;
      },
      failed: (error) => failures.push(error),
    });
    for (const frame of await write(side, counted(2))) reader.receive(frame);
    await expect.poll(() => failures).toEqual([fault]);
    expect(closeCodeOf(fault)).toBe(1013);
  });

  test('bytes of a text message are taken as they are', async () => {
    const [frame] = (await write(side, [[{ kind: 'bye', reason: 'ü€😀', args: [] }]])) as [string];
    const { reader, delivered, settled } = await newReader(side);
    reader.receive(Buffer.from(frame), false);
    await settled();
    expect(delivered).toEqual([{ kind: 'bye', reason: 'ü€😀', args: [] }]);
  });

  test('early frames wait, bounded, and come in order', async () => {
    const frames = (await write(side, counted(3))) as string[];
    const bytes = frames.join('').length;
    const early = new EarlyFrames(bytes);
    for (const frame of frames) early.push(frame, false);
    const { reader, delivered, settled } = await newReader(side);
    early.drain(reader);
    await settled();
    expect(delivered).toEqual([ping(0), ping(1), ping(2)]);
    expect(() => early.push('x', false)).toThrow(tooLarge);
    expect(() => new EarlyFrames(bytes - 1).push('x'.repeat(bytes), false)).toThrow(tooLarge);
  });

  test('a tag is the first half of an HMAC over label, direction, counter and payload', async () => {
    const frames = (await write(side, counted(2))) as string[];
    const prefix = Uint8Array.from([...utf8('frame\0'), 0x43, 0, 0, 0, 0, 0, 0, 0, 1]);
    const mac = await (await side.crypto.macKey(KEY)).mac(concat(prefix, utf8('[[9,1]]')));
    expect(frames[1]).toBe(`${toBase64url(mac.subarray(0, 16))}[[9,1]]`);
    expect(fromBase64url(frames[1]!.slice(0, 22))).toHaveLength(16);
  });
});

test('with synchronous crypto a frame is out, and its envelopes delivered, at once', async () => {
  const { reader, delivered } = await newReader(node);
  const writer = new FrameWriter({
    key: await node.crypto.macKey(KEY),
    sender: 'client',
    codec: jsonCodec,
    maxFrameBytes: 100,
    output: (frame) => reader.receive(frame),
    failed: unexpected,
  });
  writer.write('[[9,0]]');
  expect(delivered).toEqual([ping(0)]);
  expect(() => writer.write('x'.repeat(79))).toThrow(tooLarge);
  writer.write('[[9,1]]');
  expect(delivered).toEqual([ping(0), ping(1)]);
});

test('frames leave and arrive in order when later tags are ready first', async () => {
  const settleTag: (() => void)[] = [];
  const inner = await node.crypto.macKey(KEY);
  const slow: MacKey = {
    mac: (data) =>
      new Promise((resolve, reject) => {
        const tag = inner.mac(data);
        settleTag.push(() => void Promise.resolve(tag).then(resolve, reject));
      }),
  };
  const frames: Frame[] = [];
  const writer = new FrameWriter({
    key: slow,
    sender: 'client',
    codec: jsonCodec,
    maxFrameBytes: 100,
    output: (frame) => frames.push(frame),
    failed: unexpected,
  });
  for (let i = 0; i < 5; i++) writer.write(`[[9,${i}]]`);
  for (const done of settleTag.splice(0).reverse()) {
    done();
    await tick();
  }
  expect((await read(node, frames)).delivered).toEqual([0, 1, 2, 3, 4]);

  const delivered: UpEnvelope[] = [];
  const reader = new FrameReader<UpEnvelope>({
    crypto: node.crypto,
    key: slow,
    sender: 'client',
    codec: jsonCodec,
    maxFrameBytes: 100,
    parse: parseUp,
    deliver: (envelopes) => delivered.push(...envelopes),
    failed: unexpected,
  });
  for (const frame of frames) reader.receive(frame);
  for (const done of settleTag.splice(0).reverse()) {
    done();
    await tick();
  }
  expect(delivered).toEqual([0, 1, 2, 3, 4].map(ping));
});

test('a tag that cannot be computed ends writer and reader with its error', async () => {
  const fault = new Error('key is gone');
  const broken: MacKey = { mac: () => Promise.reject(fault) };
  const failures: unknown[] = [];
  const common = { key: broken, sender: 'client', codec: jsonCodec, maxFrameBytes: 100 } as const;
  const failed = (error: unknown) => failures.push(error);
  const writer = new FrameWriter({ ...common, output: unexpected, failed });
  const reader = new FrameReader({
    ...common,
    crypto: node.crypto,
    parse: parseUp,
    deliver: unexpected,
    failed,
  });
  writer.write('[]');
  writer.write('[]');
  reader.receive(`${'A'.repeat(22)}[]`);
  await expect.poll(() => failures).toEqual([fault, fault]);
});

import { describe, expect, test } from 'vitest';
import { TickBatcher } from './tick-batcher.ts';
import { FrameWriter } from './frame.ts';
import { jsonCodec } from './body.ts';
import type { PayloadCodec } from './payload.ts';
import type { Envelope } from './envelope.ts';
import { utf8 } from './bytes.ts';

/** A frame as its tag and its envelopes' first arguments. */
function setUp({ tickFrameBytes = 200, maxFrameBytes = 1_000, earlyBytes = Infinity } = {}) {
  let encoded = 0;
  const codec: PayloadCodec = {
    ...jsonCodec,
    encode(wire) {
      encoded++;
      return jsonCodec.encode(wire);
    },
  };
  const ticks: (() => void)[] = [];
  const frames: string[] = [];
  const writer = new FrameWriter({
    key: { mac: () => new Uint8Array(32) },
    sender: 'client',
    codec,
    maxFrameBytes,
    output: (frame) => frames.push(frame as string),
    failed: () => expect.unreachable(),
  });
  const schedule = (flush: () => void) => void ticks.push(flush);
  const batcher = new TickBatcher({ writer, schedule, tickFrameBytes, earlyBytes });
  return {
    batcher,
    ticks,
    frames,
    encodings: () => encoded,
    sizes: () => frames.map((frame) => utf8(frame).length),
    numbers: () => frames.map((frame) => (JSON.parse(frame.slice(22)) as number[][]).map((wire) => wire[1])),
    tick: () => ticks.splice(0).forEach((flush) => flush()),
  };
}

const ping = (n: number): Envelope => ({ kind: 'ping', n });
const message = (text: string): Envelope => ({ kind: 'volatile', tab: 0, type: 'x', args: [text] });

describe('one tick', () => {
  test('everything sent in it leaves as one frame, encoded once', () => {
    const { batcher, ticks, frames, numbers, tick, encodings } = setUp();
    batcher.send(ping(1));
    batcher.send(ping(2));
    batcher.send(ping(3));
    expect(frames).toEqual([]);
    expect(ticks).toHaveLength(1);
    tick();
    expect(numbers()).toEqual([[1, 2, 3]]);
    batcher.send(ping(4));
    expect(ticks).toHaveLength(1);
    tick();
    expect(numbers()).toEqual([[1, 2, 3], [4]]);
    expect(encodings()).toBe(4);
  });

  test('send returns what an envelope adds to a frame', () => {
    const { batcher, sizes, tick } = setUp();
    const bytes = batcher.send(ping(1)) + batcher.send(message('ü€😀')) + batcher.send(ping(3));
    tick();
    // One comma less than envelopes, two brackets and the tag more.
    expect(sizes()).toEqual([bytes - 1 + 2 + 22]);
  });

  test('flush sends now, and the tick then nothing', () => {
    const { batcher, numbers, tick } = setUp();
    batcher.send(ping(1));
    batcher.flush();
    expect(numbers()).toEqual([[1]]);
    tick();
    expect(numbers()).toEqual([[1]]);
  });
});

describe('cutting', () => {
  test('no frame of several envelopes is longer than tickFrameBytes, and order is kept', () => {
    const { batcher, sizes, numbers, tick } = setUp({ tickFrameBytes: 100 });
    for (let i = 0; i < 100; i++) batcher.send(ping(i));
    tick();
    expect(numbers().flat()).toEqual(Array.from({ length: 100 }, (_, i) => i));
    expect(Math.max(...sizes())).toBeLessThanOrEqual(100);
    expect(Math.min(...sizes().slice(0, -1))).toBeGreaterThan(90);
  });

  test('a frame of 32 envelopes leaves before the tick ends', () => {
    const { batcher, numbers, tick } = setUp({ tickFrameBytes: 10_000 });
    const pings = Array.from({ length: 65 }, (_, i) => i);
    for (const n of pings) batcher.send(ping(n));
    expect(numbers()).toEqual([pings.slice(0, 32), pings.slice(32, 64)]);
    tick();
    expect(numbers().slice(2)).toEqual([[64]]);
  });

  test('a longer envelope travels alone', () => {
    const { batcher, frames, tick } = setUp({ tickFrameBytes: 100 });
    batcher.send(ping(1));
    batcher.send(message('x'.repeat(300)));
    batcher.send(ping(2));
    tick();
    expect(frames.map((frame) => (JSON.parse(frame.slice(22)) as unknown[]).length)).toEqual([1, 1, 1]);
  });

  test('what no frame can hold is refused, and the rest is unharmed', () => {
    const { batcher, numbers, sizes, tick } = setUp({ maxFrameBytes: 150, tickFrameBytes: 1_000 });
    batcher.send(ping(1));
    const wire = utf8('[[6,0,"x",""]]').length + 22;
    expect(() => batcher.send(message('x'.repeat(151 - wire)))).toThrow(
      expect.objectContaining({ code: 'WEBGRAM_MESSAGE_TOO_LARGE' }),
    );
    expect(() => batcher.send({ kind: 'bye', reason: 'x', args: [() => 1] })).toThrow(
      expect.objectContaining({ code: 'WEBGRAM_NOT_ENCODABLE' }),
    );
    batcher.send(ping(2));
    tick();
    expect(numbers()).toEqual([[1, 2]]);
    batcher.send(message('x'.repeat(149 - wire)));
    tick();
    expect(sizes()[1]).toBe(149);
  });
});

describe('early frames', () => {
  test('what does not fit into earlyBytes waits, and nothing overtakes it', () => {
    const { batcher, numbers, sizes, tick } = setUp({ tickFrameBytes: 60, earlyBytes: 150 });
    for (let i = 0; i < 30; i++) batcher.send(ping(i));
    tick();
    batcher.send(ping(30));
    tick();
    const early = sizes().reduce((sum, size) => sum + size, 0);
    expect(early).toBeGreaterThan(60);
    expect(early).toBeLessThanOrEqual(150);
    batcher.release();
    batcher.send(ping(31));
    tick();
    expect(numbers().flat()).toEqual(Array.from({ length: 32 }, (_, i) => i));
  });
});

import { encodeJson, hasCode, utf8Length } from 'webgram';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { copyMessage } from './message-copy.ts';

const value = fc.letrec<{ any: unknown }>((tie) => ({
  any: fc.oneof(
    { depthSize: 'small', withCrossShrink: true },
    fc.string({ unit: 'binary-ascii' }),
    fc.string({ unit: 'grapheme' }),
    fc.double(),
    fc.boolean(),
    fc.bigInt(),
    fc.constantFrom(null, undefined, -0, NaN),
    fc.date({ noInvalidDate: false }),
    fc.uint8Array(),
    fc.array(tie('any')),
    fc.dictionary(fc.oneof(fc.string(), fc.constantFrom('$x', '__proto__')), tie('any')),
    fc.array(fc.tuple(tie('any'), tie('any'))).map((entries) => new Map(entries)),
    fc.array(tie('any')).map((items) => new Set(items)),
  ),
})).any;

test('a copy equals its original and takes no more bytes encoded than it says', () => {
  fc.assert(
    fc.property(fc.array(value), (args) => {
      const { value: copy, bytes } = copyMessage(args);
      const json = encodeJson(args, { depth: 1 });
      expect(encodeJson(copy, { depth: 1 })).toBe(json);
      expect(bytes).toBeGreaterThanOrEqual(utf8Length(json));
    }),
    { numRuns: 200 },
  );
});

test.each<[string, (inner: unknown) => unknown]>([
  ['lists', (inner) => [inner]],
  ['objects', (inner) => ({ inner })],
  ['maps', (inner) => new Map([['key', inner]])],
  ['sets', (inner) => new Set([inner])],
  ['escaped names', (inner) => ({ $x: inner })],
])('whatever depth of %s it takes can be encoded', (_, wrap) => {
  let nested: unknown = 'core';
  let taken = 0;
  for (let depth = 1; depth <= 80; depth++) {
    nested = wrap(nested);
    try {
      copyMessage([nested]);
    } catch (error) {
      expect(hasCode(error, 'WEBGRAM_NOT_ENCODABLE')).toBe(true);
      continue;
    }
    taken = depth;
    expect(() => encodeJson([nested], { depth: 1 })).not.toThrow();
  }
  expect(taken).toBeGreaterThan(10);
});

class Point {
  x = 1;
}

test.each<[string, unknown]>([
  ['a function', () => 1],
  ['a symbol', Symbol('x')],
  ['an instance of a class', new Point()],
  ['an instance that has toJSON', new URL('https://x.example')],
  ['a regular expression', /x/],
  ['an error', new Error('x')],
  ['a buffer', new ArrayBuffer(8)],
  ['other numbers than bytes', new Float64Array(2)],
  ['a bigint without end', 10n ** 5_000n],
])('refuses %s and names where it is', (_, unsendable) => {
  expect(() => copyMessage([{ here: unsendable }])).toThrow(
    expect.objectContaining({ code: 'WEBGRAM_NOT_ENCODABLE', message: expect.stringContaining("'here'") }),
  );
});

test('bytes that are part of a larger buffer are copied alone', () => {
  const { value: copy } = copyMessage([new Uint8Array(new ArrayBuffer(1_000), 10, 2)]);
  expect(copy[0]).toEqual(Uint8Array.of(0, 0));
  expect(encodeJson(copy)).toBe('[{"$bytes":"AAA"}]');
});

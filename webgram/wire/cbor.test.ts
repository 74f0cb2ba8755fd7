import { isDeepStrictEqual } from 'node:util';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { utf8Length } from './bytes.ts';
import { cborCodec, decodeCbor, encodeCbor } from './cbor.ts';
import { bodyFor, codecFor, codecs } from './codecs.ts';
import { parseDown, parseUp, toWire, type UpEnvelope } from './envelope.ts';
import { decodeJson, encodeJson, MAX_BIGINT_DIGITS, MAX_JSON_DEPTH } from './json.ts';
import { jsonCodec } from './body.ts';
import { decodeEnvelopes, encodeEnvelopes } from './payload.ts';
import { isSealed, sealedName } from './sealed.ts';
import { anything } from './testing/anything.ts';

const refused = expect.objectContaining({ code: 'WEBGRAM_BAD_FRAME' });
const notEncodable = expect.objectContaining({ code: 'WEBGRAM_NOT_ENCODABLE' });
const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex');
const bytes = (text: string) => Uint8Array.from(Buffer.from(text.replaceAll(' ', ''), 'hex'));

describe('the mapping', () => {
  const cases: [string, unknown, string][] = [
    // RFC 8949 appendix A.
    ['0', 0, '00'],
    ['23', 23, '17'],
    ['24', 24, '18 18'],
    ['1000000', 1_000_000, '1a 000f4240'],
    ['the largest safe integer', Number.MAX_SAFE_INTEGER, '1b 001fffffffffffff'],
    ['the smallest safe integer', Number.MIN_SAFE_INTEGER, '3b 001ffffffffffffe'],
    ['2^53, a number, not an integer', 2 ** 53, 'fa 5a000000'],
    ['-1000', -1000, '39 03e7'],
    ['-0', -0, 'f9 8000'],
    ['1.5', 1.5, 'f9 3e00'],
    ['5.960464477539063e-8', 5.960464477539063e-8, 'f9 0001'],
    ['3.4028234663852886e+38', 3.4028234663852886e38, 'fa 7f7fffff'],
    ['1.1', 1.1, 'fb 3ff199999999999a'],
    ['1e300', 1e300, 'fb 7e37e43c8800759c'],
    ['NaN', NaN, 'f9 7e00'],
    ['Infinity', Infinity, 'f9 7c00'],
    ['-Infinity', -Infinity, 'f9 fc00'],
    ['false, true, null, undefined', [false, true, null, undefined], '84 f4 f5 f6 f7'],
    ['text', 'ü水𐅑', '69 c3bc e6b0b4 f0908591'],
    ['bytes', Uint8Array.of(1, 2, 3, 4), '44 01020304'],
    ['an object, by the bytes of its keys', { bb: 1, a: 2, c: 3 }, 'a3 6161 02 6163 03 626262 01'],
    // What CBOR has under a tag.
    ['a bigint', 18446744073709551616n, 'c2 49 010000000000000000'],
    ['a negative bigint', -18446744073709551617n, 'c3 49 010000000000000000'],
    ['a small bigint', 5n, 'c2 41 05'],
    ['0n', 0n, 'c2 40'],
    ['-1n', -1n, 'c3 40'],
    // What it has not.
    ['a Date', new Date(1_700_000_000_000), 'd81b 82 64 64617465 1b 0000018bcfe56800'],
    ['an invalid Date', new Date(NaN), 'd81b 82 64 64617465 f6'],
    ['a Map', new Map<unknown, unknown>([['b', 1], [{}, 2]]), 'd81b 82 63 6d6170 82 82 6162 01 82 a0 02'], // prettier-ignore
    ['a Set', new Set(['b', 'a']), 'd81b 82 63 736574 82 6162 6161'],
    ['what JSON escapes', { $date: 1 }, 'a1 65 2464617465 01'],
  ];
  test.each(cases)('%s', (_name, value, wanted) => {
    expect(hex(encodeCbor(value))).toBe(wanted.replaceAll(' ', ''));
    expect(decodeCbor(bytes(wanted))).toStrictEqual(value);
  });

  test('bytes come back as a copy of their own, also from a Buffer', () => {
    const frame = Buffer.concat([Buffer.alloc(3), Buffer.from(encodeCbor(Uint8Array.of(1, 2)))]);
    const decoded = decodeCbor(frame.subarray(3)) as Uint8Array;
    expect(decoded.constructor).toBe(Uint8Array);
    frame.fill(0);
    expect(decoded).toEqual(Uint8Array.of(1, 2));
  });

  test('properties that are undefined are left out, holes come back as undefined', () => {
    // eslint-disable-next-line no-sparse-arrays
    expect(decodeCbor(encodeCbor([{ a: undefined, b: 1 }, , 3]))).toEqual([{ b: 1 }, undefined, 3]);
  });

  test('lone surrogates become U+FFFD, and no two names become one twice', () => {
    const encoded = encodeCbor({ '\ud800': '\udfff', '\ud801': 2, ok: '😀' });
    expect(decodeCbor(encoded)).toEqual({ '\ufffd': 2, ok: '😀' });
    expect(decodeCbor(encodeCbor(`${'a'.repeat(100)}\ud800`))).toBe(`${'a'.repeat(100)}\ufffd`);
  });

  test('U+FEFF at the beginning of a text is part of it', () => {
    const value = { '\ufeffname': '\ufeff', long: `\ufeff${'a'.repeat(100)}` };
    expect(decodeCbor(encodeCbor(value))).toStrictEqual(value);
  });

  test('names that mean something to a language are data', () => {
    const value = decodeJson('{"__proto__":{"polluted":true},"constructor":{"name":1},"toJSON":2}');
    const decoded = decodeCbor(encodeCbor(value)) as object;
    expect(Object.getPrototypeOf(decoded)).toBe(Object.prototype);
    expect(Object.keys(decoded).sort()).toEqual(['__proto__', 'constructor', 'toJSON']);
    expect(({} as { polluted?: unknown }).polluted).toBeUndefined();
    expect(encodeJson(decoded)).toContain('"__proto__":{"polluted":true}');
  });
});

test('decode(encode(x)) equals x, x is not changed, and there is one spelling', () => {
  fc.assert(
    fc.property(anything, (value) => {
      const before = structuredClone(value);
      const encoded = encodeCbor(value);
      const decoded = decodeCbor(encoded);
      expect(isDeepStrictEqual(decoded, value)).toBe(true);
      expect(isDeepStrictEqual(value, before)).toBe(true);
      expect(hex(encodeCbor(decoded))).toBe(hex(encoded));
    }),
    { numRuns: 2_000 },
  );
});

test('through JSON and back it is the same', () => {
  fc.assert(
    fc.property(anything, (value) => {
      const there = encodeCbor(decodeJson(encodeJson(value)));
      expect(hex(there)).toBe(hex(encodeCbor(value)));
      expect(isDeepStrictEqual(decodeJson(encodeJson(decodeCbor(there))), value)).toBe(true);
    }),
    { numRuns: 1_000 },
  );
});

test('arbitrary bytes are refused, or are the one spelling of what they decode to', () => {
  fc.assert(
    fc.property(
      fc.oneof(
        fc.uint8Array({ maxLength: 40 }),
        fc.tuple(anything, fc.nat(), fc.nat(255)).map(([value, at, byte]) => {
          const encoded = encodeCbor(value);
          encoded[at % encoded.length] = byte;
          return encoded;
        }),
      ),
      (input) => {
        let value: unknown;
        try {
          value = decodeCbor(input);
        } catch (error) {
          expect(error).toEqual(refused);
          return;
        }
        expect(hex(encodeCbor(value))).toBe(hex(input));
      },
    ),
    { numRuns: 5_000 },
  );
});

describe('refused', () => {
  test.each([
    ['nothing', ''],
    ['something after it', '00 00'],
    ['0 in two bytes', '18 00'],
    ['a list with a long length', '98 01 00'],
    ['text with a long length', '78 01 61'],
    ['a map with a long length', 'b8 00'],
    ['an indefinite list', '9f ff'],
    ['an indefinite map', 'bf ff'],
    ['indefinite bytes', '5f 41 00 ff'],
    ['indefinite text', '7f 61 61 ff'],
    ['a break', 'ff'],
    ['a list that ends early', '82 00'],
    ['a list of 2^32 − 1', '9a ffffffff'],
    ['a list of 2^53', '9b 0020000000000000'],
    ['bytes that end early', '5a 00ffffff 00'],
    ['a float that is an integer', 'f9 3c00'],
    ['0.0', 'f9 0000'],
    ['1.5 in four bytes', 'fa 3fc00000'],
    ['1.5 in eight bytes', 'fb 3ff8000000000000'],
    ['another NaN', 'f9 7e01'],
    ['NaN in eight bytes', 'fb 7ff8000000000000'],
    ['Infinity in four bytes', 'fa 7f800000'],
    ['an integer beyond 2^53', '1b 0020000000000000'],
    ['an integer below −2^53', '3b 001fffffffffffff'],
    ['keys out of order', 'a2 6162 00 6161 00'],
    [
      'keys by length, not by bytes',
      'a2 6162 00 626161 00'.replace('6162', '617a').replace('626161', '6161'),
    ],
    ['a key twice', 'a2 6161 00 6161 01'],
    ['a key that is no text', 'a1 00 00'],
    ['an undefined property', 'a1 6161 f7'],
    ['text that is no UTF-8', '61 ff'],
    ['a surrogate in UTF-8', '63 eda080'],
    ['an overlong NUL', '62 c080'],
    ['a simple value', 'e0'],
    ['a simple value in two bytes', 'f8 ff'],
    ['reserved information', '1c'],
    ['an unknown tag', 'c1 00'],
    ['a tag of nothing', 'c2'],
    ['tag 27 in a long form', 'd9 001b 82 63 736574 80'],
    ['a big integer with a leading zero', 'c2 42 0001'],
    ['a big integer of text', 'c2 61 31'],
    ['an unknown name', 'd81b 82 63 666f6f 80'],
    ['a date of text', 'd81b 82 64 64617465 61 30'],
    ['a date with a fraction', 'd81b 82 64 64617465 f9 3e00'],
    ['a date beyond its range', 'd81b 82 64 64617465 1b 001eb208c2dc0001'],
    ['a date that is undefined', 'd81b 82 64 64617465 f7'],
    ['tag 27 with three', 'd81b 83 63 736574 80 00'],
    ['tag 27 of a map', 'd81b a0'],
    ['a map of no pairs', 'd81b 82 63 6d6170 81 81 00'],
    ['a map with a key twice', 'd81b 82 63 6d6170 82 82 00 01 82 00 02'],
    ['a set with an item twice', 'd81b 82 63 736574 82 00 00'],
    ['a set of a map', 'd81b 82 63 736574 a0'],
  ])('%s', (_name, text) => {
    expect(() => decodeCbor(bytes(text))).toThrow(refused);
  });

  test('a text payload', () => {
    expect(() => cborCodec.decode('')).toThrow(refused);
  });

  test.each([
    ['a function', () => 1, 'value.a[1]'],
    ['a symbol', Symbol('s'), 'value.a[1]'],
    ['an instance', new URL('https://example.org'), 'value.a[1]'],
    ['a Float64Array', new Float64Array(1), 'value.a[1]'],
    ['a bigint of too many digits', 10n ** BigInt(MAX_BIGINT_DIGITS), 'value.a[1]'],
  ])('to encode: %s', (_name, value, place) => {
    expect(() => encodeCbor({ a: [0, value] })).toThrow(notEncodable);
    expect(() => encodeCbor({ a: [0, value] })).toThrow(place);
  });

  test('to encode: a cycle', () => {
    const cycle: unknown[] = [];
    cycle.push(cycle);
    expect(() => encodeCbor(cycle)).toThrow(notEncodable);
  });
});

describe('limits are those of JSON', () => {
  const nested = (value: unknown, levels: number): unknown => {
    let whole = value;
    for (let i = 0; i < levels; i++) whole = [whole];
    return whole;
  };
  const leaves: [string, unknown][] = [
    ['1', 1],
    ['a list', []],
    ['an object', { a: 1 }],
    ['an object that JSON escapes', { $a: 1 }],
    ['undefined', undefined],
    ['NaN', NaN],
    ['-0', -0],
    ['a bigint', 1n],
    ['a Date', new Date(0)],
    ['bytes', new Uint8Array(1)],
    ['an empty Map', new Map()],
    ['a Map', new Map([[1, 1]])],
    ['an empty Set', new Set()],
    ['a Set', new Set([[]])],
  ];
  test.each(leaves)('levels around %s', (_name, leaf) => {
    const takes = (encode: (value: unknown) => unknown, levels: number) => {
      try {
        encode(nested(leaf, levels));
        return true;
      } catch (error) {
        expect(error).toEqual(notEncodable);
        return false;
      }
    };
    for (let levels = MAX_JSON_DEPTH - 5; levels <= MAX_JSON_DEPTH + 1; levels++) {
      expect(takes(encodeCbor, levels), `${levels}`).toBe(takes(encodeJson, levels));
      if (takes(encodeCbor, levels)) decodeCbor(encodeCbor(nested(leaf, levels)));
    }
  });

  test('what nests too deep is refused before it is followed', () => {
    const started = performance.now();
    for (const unit of ['81', 'c2', 'd81b', 'a16161', 'd81b8263736574 81']) {
      const one = Buffer.from(unit.replaceAll(' ', ''), 'hex');
      const many = Buffer.alloc(1_000_000, one);
      expect(() => decodeCbor(many), unit).toThrow(refused);
      // Not by running out of stack.
      expect(() => decodeCbor(many), unit).toThrow(/levels|tag 27|big integer/);
      for (const times of [63, 64, 65, 127, 128, 129]) {
        const text = unit.repeat(times);
        expect(() => decodeCbor(bytes(text)), `${unit} × ${times}`).toThrow(refused);
      }
    }
    expect(() => decodeCbor(bytes(`${'81'.repeat(MAX_JSON_DEPTH)}00`))).not.toThrow();
    expect(() => decodeCbor(bytes(`${'81'.repeat(MAX_JSON_DEPTH + 1)}00`))).toThrow(refused);
    expect(performance.now() - started).toBeLessThan(5_000);
  });

  test('digits of a bigint', () => {
    const most = 10n ** BigInt(MAX_BIGINT_DIGITS) - 1n;
    expect(decodeCbor(encodeCbor(most))).toBe(most);
    const more = 10n ** BigInt(MAX_BIGINT_DIGITS);
    expect(() => encodeJson(more)).toThrow(notEncodable);
    const text = more.toString(16).padStart(1_702 * 2, '0');
    expect(() => decodeCbor(bytes(`c2 5906a6 ${text}`))).toThrow(refused);
    expect(() => decodeCbor(bytes(`c2 5a000f4240 ${'ff'.repeat(1_000_000)}`))).toThrow(refused);
  });
});

describe('the codec', () => {
  const envelopes: UpEnvelope[] = [
    { kind: 'send', tab: 1, seq: 2, ack: { life: 0, n: 0 }, type: 'add-one', args: [new Set([1n]), NaN] },
    { kind: 'ping', n: 0 },
  ];

  test('carries envelopes', () => {
    const payload = encodeEnvelopes(cborCodec, envelopes);
    expect(payload).toBeInstanceOf(Uint8Array);
    expect(decodeEnvelopes(cborCodec, payload, parseUp)).toEqual(envelopes);
  });

  test('joins any number of envelopes to one list, within what it says it adds', () => {
    const one = cborCodec.encode([9, 0]);
    for (const count of [1, 23, 24, 255, 256, 65_535, 65_536]) {
      const payload = cborCodec.join(Array.from({ length: count }, () => one)) as Uint8Array;
      expect(payload.length).toBeLessThanOrEqual(count * one.bytes + cborCodec.joinBytes);
      expect(decodeEnvelopes(cborCodec, payload, parseDown)).toHaveLength(count);
    }
  });

  test.each(codecs)('$subprotocol: a body that was encoded before stands behind its head', (codec) => {
    const few = { arbitrary: fc.integer({ min: 1, max: 3 }), weight: 9 };
    const lengths = fc.oneof(few, { arbitrary: fc.constantFrom(19, 20, 251, 252, 300), weight: 1 });
    const lists = lengths.chain((length) => fc.array(anything, { minLength: length, maxLength: length }));
    fc.assert(
      fc.property(lists, fc.constantFrom(...codecs), (list, sentFor) => {
        const head = [3, 1, [7, 9], 2];
        const body = bodyFor(codec, sentFor.encodeBody(list));
        expect(body.bytes).toBe(typeof body.data === 'string' ? utf8Length(body.data) : body.data.length);
        const { data, bytes: size } = codec.encodeWithBody(head, body);
        // An object that was CBOR before has its properties in another order.
        const sent = sentFor.decodeBody(sentFor.encodeBody(list));
        const whole = codec.encode([...head, ...sent]);
        // In Node the library returns a Buffer here and there.
        expect(Buffer.from(data).equals(Buffer.from(whole.data))).toBe(true);
        expect(size).toBe(whole.bytes);
        const [decoded] = codec.decode(codec.join([{ data, bytes: size }])) as unknown[];
        expect(isDeepStrictEqual(decoded, [...head, ...list])).toBe(true);
      }),
      { numRuns: 300 },
    );
  });

  test('names the argument that cannot be sent', () => {
    const wire = toWire({ kind: 'volatile', tab: 1, type: 't', args: [1, { x: () => 1 }] });
    expect(() => cborCodec.encode(wire)).toThrow('args[1].x cannot be sent: a function');
  });
});

test('a subprotocol has one codec, sealed or not', () => {
  expect(codecs.map(({ subprotocol }) => subprotocol)).toEqual(['webgram.2.cbor', 'webgram.2.json']);
  for (const codec of codecs) {
    expect(codecFor(codec.subprotocol)).toBe(codec);
    expect(codecFor(sealedName(codec))).toBe(codec);
    expect([isSealed(codec.subprotocol), isSealed(sealedName(codec))]).toEqual([false, true]);
  }
  expect(codecFor('webgram.2.cbor', [jsonCodec])).toBeUndefined();
  expect(codecFor('webgram.2.json.sealed.sealed')).toBeUndefined();
  expect(codecFor('')).toBeUndefined();
});

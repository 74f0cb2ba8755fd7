import { isDeepStrictEqual } from 'node:util';
import { describe, expect, test } from 'vitest';
import fc from 'fast-check';
import { anything } from './testing/anything.ts';
import { assertEncodable, decodeJson, encodeJson, MAX_BIGINT_DIGITS, MAX_JSON_DEPTH } from './json.ts';

const refused = expect.objectContaining({ code: 'WEBGRAM_BAD_FRAME' });
const round = (value: unknown) => decodeJson(encodeJson(value));

describe('the mapping', () => {
  const cases: [string, unknown, string][] = [
    ['plain JSON', { a: [1, 'x', true, null, { b: {} }] }, '{"a":[1,"x",true,null,{"b":{}}]}'],
    ['a Date', new Date(1_700_000_000_000), '{"$date":1700000000000}'],
    ['an invalid Date', new Date(NaN), '{"$date":null}'],
    ['bytes', Uint8Array.of(0xff, 0xfe), '{"$bytes":"__4"}'],
    ['a bigint', -12345678901234567890n, '{"$bigint":"-12345678901234567890"}'],
    [
      'a Map',
      new Map<unknown, unknown>([
        ['a', 1],
        [{}, new Set()],
      ]),
      '{"$map":[["a",1],[{},{"$set":[]}]]}',
    ],
    ['a Set', new Set([1, undefined]), '{"$set":[1,{"$undefined":true}]}'],
    ['NaN', NaN, '{"$number":"NaN"}'],
    ['Infinity', Infinity, '{"$number":"Infinity"}'],
    ['-Infinity', -Infinity, '{"$number":"-Infinity"}'],
    ['-0', -0, '{"$number":"-0"}'],
    ['undefined alone', undefined, '{"$undefined":true}'],
    ['undefined in a list', [undefined, 1], '[{"$undefined":true},1]'],
    ['an object that looks like ours', { $date: 1 }, '{"$object":{"$date":1}}'],
    ['a nested one', { $a: { $b: [NaN] } }, '{"$object":{"$a":{"$object":{"$b":[{"$number":"NaN"}]}}}}'],
    ['two keys with $', { $a: 1, $b: 2 }, '{"$a":1,"$b":2}'],
  ];
  test.each(cases)('%s', (_name, value, text) => {
    expect(encodeJson(value)).toBe(text);
    expect(decodeJson(text)).toEqual(value);
    expect(encodeJson(decodeJson(text))).toBe(text);
  });

  test('properties that are undefined are left out', () => {
    expect(encodeJson({ a: undefined, b: 1 })).toBe('{"b":1}');
  });

  test('an object is escaped also when its other properties are undefined', () => {
    expect(encodeJson({ $date: 1, x: undefined })).toBe('{"$object":{"$date":1}}');
  });

  test('holes of an array come back as undefined', () => {
    // eslint-disable-next-line no-sparse-arrays
    expect(round([1, , 3])).toEqual([1, undefined, 3]);
  });

  test('a Buffer comes back as its bytes', () => {
    expect(round(Buffer.from('hi'))).toEqual(Uint8Array.of(104, 105));
  });

  test('lone surrogates, U+2028 and </script> come back', () => {
    const text = '\ud800 \u2028 </script> \0 \uFEFF';
    expect(round({ [text]: text })).toEqual({ [text]: text });
  });
});

test('decode(encode(x)) equals x, and x is not changed', () => {
  fc.assert(
    fc.property(anything, (value) => {
      const before = structuredClone(value);
      const text = encodeJson(value);
      const decoded = decodeJson(text);
      expect(isDeepStrictEqual(decoded, value)).toBe(true);
      expect(isDeepStrictEqual(value, before)).toBe(true);
      expect(encodeJson(decoded)).toBe(text);
    }),
    { numRuns: 2_000 },
  );
});

test('arbitrary text decodes or is refused', () => {
  fc.assert(
    fc.property(
      fc.oneof(
        fc.string(),
        fc.json().map((text) => text.replaceAll('a', '$')),
      ),
      (text) => {
        try {
          decodeJson(text);
        } catch (error) {
          expect(error).toEqual(refused);
        }
      },
    ),
    { numRuns: 2_000 },
  );
});

test('names that mean something to a language are data', () => {
  const text = '{"__proto__":{"polluted":true},"constructor":1,"hasOwnProperty":2,"d":{"$date":1}}';
  const decoded = decodeJson(text) as Record<string, unknown>;
  expect(Object.getPrototypeOf(decoded)).toBe(Object.prototype);
  expect(Object.keys(decoded)).toEqual(['__proto__', 'constructor', 'hasOwnProperty', 'd']);
  expect(({} as { polluted?: unknown }).polluted).toBeUndefined();
  expect(encodeJson(decoded)).toBe(text);
});

test('a special value under __proto__ sets no prototype', () => {
  const decoded = decodeJson('{"__proto__":{"$map":[]},"b":1}') as object;
  expect(Object.getPrototypeOf(decoded)).toBe(Object.prototype);
  expect(Object.getOwnPropertyDescriptor(decoded, '__proto__')?.value).toEqual(new Map());
});

describe('refused to encode, naming the place', () => {
  const cyclic: { self?: unknown } = {};
  cyclic.self = cyclic;
  const twice: unknown[] = [];
  twice.push(twice, twice);
  class Point {}
  const cases: [string, unknown, string][] = [
    ['a function', [{ x: () => 1 }], 'args[0].x cannot be sent: a function'],
    ['a symbol', [1, Symbol('secret')], 'args[1] cannot be sent: a symbol'],
    ['an instance', [[new Point()]], 'args[0][0] cannot be sent: an instance of a class'],
    ['an Error', [new Error('secret')], 'args[0] cannot be sent: an instance of a class'],
    ['another typed array', [new Float64Array(1)], 'args[0] cannot be sent: an instance of a class'],
    ['inside a Map', [new Map([['k', () => 1]])], 'args[0][0] cannot be sent: a function'],
    ['a promise', [Promise.resolve()], 'args[0] cannot be sent: an instance of a class'],
    ['toJSON', [{ toJSON: () => 1 }], 'args[0].toJSON cannot be sent: a function'],
    ['a cycle', [cyclic], 'nested in itself'],
    ['a branching cycle', [twice], 'nested in itself'],
    ['a huge bigint', [10n ** BigInt(MAX_BIGINT_DIGITS)], 'args[0] cannot be sent: more than 4096 digits'],
  ];
  test.each(cases)('%s', (_name, args, message) => {
    const error = expect.objectContaining({
      code: 'WEBGRAM_NOT_ENCODABLE',
      message: expect.stringContaining(message) as string,
    });
    expect(() => assertEncodable(args, 'args')).toThrow(error);
  });
});

describe('refused to decode', () => {
  test.each([
    '',
    'x',
    '{"$unknown":1}',
    '{"$":1}',
    '{"$date":"2020"}',
    '{"$date":1.5}',
    '{"$date":8640000000000001}',
    '{"$bytes":"AB"}',
    '{"$bytes":"AA=="}',
    '{"$bytes":1}',
    '{"$bigint":"01"}',
    '{"$bigint":"-0"}',
    '{"$bigint":" 1"}',
    '{"$bigint":"0x1"}',
    '{"$bigint":1}',
    '{"$map":{}}',
    '{"$map":[1]}',
    '{"$map":[[1]]}',
    '{"$map":[[1,2,3]]}',
    '{"$map":[[1,2],[1,3]]}',
    '{"$set":1}',
    '{"$set":[1,1]}',
    '{"$number":"1"}',
    '{"$number":1}',
    '{"$undefined":false}',
    '{"$object":{}}',
    '{"$object":{"a":1}}',
    '{"$object":{"$a":1,"$b":2}}',
    '{"$object":[1]}',
    '{"$object":null}',
    '{"$map":[{"$map":[]}]}',
    '1e999',
    '[-1e999]',
  ])('%s', (text) => {
    expect(() => decodeJson(text)).toThrow(refused);
  });

  test(`a bigint of more than ${MAX_BIGINT_DIGITS} digits`, () => {
    const text = (digits: number) => `{"$bigint":"${'9'.repeat(digits)}"}`;
    expect(decodeJson(text(MAX_BIGINT_DIGITS))).toBeTypeOf('bigint');
    expect(() => decodeJson(text(MAX_BIGINT_DIGITS + 1))).toThrow(refused);
  });
});

describe('depth', () => {
  const nested = (levels: number) => '['.repeat(levels) + ']'.repeat(levels);

  test(`${MAX_JSON_DEPTH} levels and no more, both ways`, () => {
    const deepest = decodeJson(nested(MAX_JSON_DEPTH));
    expect(encodeJson(deepest)).toBe(nested(MAX_JSON_DEPTH));
    expect(() => decodeJson(nested(MAX_JSON_DEPTH + 1))).toThrow(refused);
    expect(() => encodeJson([deepest])).toThrow(expect.objectContaining({ code: 'WEBGRAM_NOT_ENCODABLE' }));
  });

  test('what encodes also decodes, at every depth and for every kind of value', () => {
    const leaves = [NaN, undefined, 1n, new Date(0), new Uint8Array(1), new Map(), new Map([[1, 2]])];
    for (const leaf of [
      ...leaves,
      new Map([[1, NaN]]),
      new Set(),
      new Set([undefined]),
      { $a: 1 },
      { $a: NaN },
      {},
    ]) {
      for (let levels = MAX_JSON_DEPTH - 6; levels <= MAX_JSON_DEPTH; levels++) {
        let value: unknown = leaf;
        for (let i = 0; i < levels; i++) value = [value];
        let text: string;
        try {
          text = encodeJson(value);
        } catch (error) {
          expect(error).toMatchObject({ code: 'WEBGRAM_NOT_ENCODABLE' });
          continue;
        }
        expect(decodeJson(text)).toEqual(value);
      }
    }
  });

  test('a megabyte of brackets is refused at once', () => {
    const startedMs = performance.now();
    expect(() => decodeJson('['.repeat(1_048_576))).toThrow(refused);
    expect(() => decodeJson(nested(524_288))).toThrow(refused);
    expect(() => decodeJson('{"a":'.repeat(200_000))).toThrow(refused);
    expect(performance.now() - startedMs).toBeLessThan(100);
  });

  test('a long text is not taken for a deep one', () => {
    const values = [
      '[[[['.repeat(10_000),
      '"\\'.repeat(10_000),
      '{"\\"'.repeat(5_000),
      Array(20_000).fill([[]]),
    ];
    for (const value of [...values, ['\\', '[', ...Array<string>(5_000).fill('{[')]]) {
      expect(round([value])).toEqual([value]);
    }
    let deep: unknown = 'x'.repeat(20_000);
    for (let i = 0; i < MAX_JSON_DEPTH; i++) deep = { '"\\': deep };
    expect(round(deep)).toEqual(deep);
    expect(() => decodeJson(`[${encodeJson(deep)}]`)).toThrow(refused);
  });

  test('one-key objects inside of each other take linear time', () => {
    let value: unknown = 1;
    for (let i = 0; i < 31; i++) value = { $a: value };
    expect(round(value)).toEqual(value);
  });
});

import { expect, test } from 'vitest';
import fc from 'fast-check';
import { fromBase64url, toBase64url } from './base64url.ts';
import { concat, fromUtf8, lp, utf8, utf8Length, writeUint64 } from './bytes.ts';

test('base64url is that of Node, for every length', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
      const text = Buffer.from(bytes).toString('base64url');
      expect(toBase64url(bytes)).toBe(text);
      expect(fromBase64url(text)).toEqual(Uint8Array.from(bytes));
    }),
  );
});

test('base64url takes one spelling of each byte string', () => {
  const taken = (text: string) => {
    try {
      return toBase64url(fromBase64url(text)) === text;
    } catch (error) {
      expect(error).toMatchObject({ code: 'WEBGRAM_BAD_FRAME' });
      return false;
    }
  };
  const tag = toBase64url(new Uint8Array(16).fill(0xff));
  const spellings = [...'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'].map(
    (last) => tag.slice(0, 21) + last,
  );
  // Four of the last six bits are spare: sixteen characters say the same two bits, one of them is taken.
  expect(spellings.filter(taken)).toEqual(['A', 'Q', 'g', 'w'].map((last) => tag.slice(0, 21) + last));
  for (const text of [
    'A',
    'AAAAA',
    'AA==',
    'AA=',
    'A+',
    'A/',
    ' AA',
    'AA\n',
    'AAé',
    'AA€',
    '\u0000A',
    'AB',
    'AAB',
  ]) {
    expect(taken(text), text).toBe(false);
  }
  expect(fromBase64url('')).toEqual(new Uint8Array());
});

test('UTF-8 is decoded strictly and keeps a byte order mark', () => {
  expect(fromUtf8(Uint8Array.of(0xef, 0xbb, 0xbf, 0x41))).toBe('\uFEFFA');
  for (const bytes of [[0xff], [0xc0, 0x80], [0xed, 0xa0, 0x80], [0xe2, 0x82]]) {
    expect(() => fromUtf8(Uint8Array.from(bytes))).toThrow(
      expect.objectContaining({ code: 'WEBGRAM_BAD_FRAME' }),
    );
  }
});

test('utf8Length counts what utf8 makes', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary', maxLength: 700 }), (text) => {
      expect(utf8Length(text)).toBe(utf8(text).length);
    }),
    { numRuns: 30 },
  );
  for (const text of ['\ud800', '\udc00', '\ud800\ud800\udc00', 'a\udc00\ud800', '😀'.repeat(300)]) {
    expect(utf8Length(text)).toBe(utf8(text).length);
  }
});

test('lp puts two bytes of length before a field', () => {
  expect(lp(Uint8Array.of(7))).toEqual(Uint8Array.of(0, 1, 7));
  expect(lp(new Uint8Array(65_535)).subarray(0, 2)).toEqual(Uint8Array.of(255, 255));
  expect(() => lp(new Uint8Array(65_536))).toThrow(
    expect.objectContaining({ code: 'WEBGRAM_BAD_HANDSHAKE' }),
  );
});

test('writeUint64 is big-endian, above 2^32 as well', () => {
  for (const value of [0, 1, 0xffff_ffff, 0x1_0000_0000, 0x12_3456_789a, Number.MAX_SAFE_INTEGER]) {
    const bytes = new Uint8Array(10).fill(9);
    writeUint64(bytes, 1, value);
    expect(Buffer.from(bytes).readBigUInt64BE(1)).toBe(BigInt(value));
    expect([bytes[0], bytes[9]]).toEqual([9, 9]);
  }
});

test('concat copies', () => {
  const part = Uint8Array.of(1);
  const whole = concat(part, new Uint8Array(), Uint8Array.of(2));
  part[0] = 9;
  expect(whole).toEqual(Uint8Array.of(1, 2));
});

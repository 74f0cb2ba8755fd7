import { describe, expect, test } from 'vitest';
import type { Bytes, Crypto } from 'webgram';
import cases from '../../webgram/edge-cases.json' with { type: 'json' };
import { hkdf } from './testing/hkdf.ts';

const fromHex = (text: string): Bytes =>
  Uint8Array.from(text.match(/../g) ?? [], (pair) => parseInt(pair, 16));
const toHex = (bytes: Uint8Array) => Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');

/** Bytes of a length, as `about` of the file says. */
const counted = (length: number, factor: number, first: number): Bytes =>
  Uint8Array.from({ length }, (_, i) => factor * i + first);
const keyOf = (length: number) => counted(length, 7, 1);
const dataOf = (length: number) => counted(length, 5, 3);
const infoOf = (length: number) => counted(length, 3, 2);

/** Puts an implementation of `Crypto` to every edge case. */
export function describeEdgeCases(name: string, crypto: Crypto): void {
  describe(name, () => {
    describe('points', () => {
      test.each(cases.points)('$name', async ({ point, valid }) => {
        const ephemeral = await crypto.generateEphemeral();
        const derive = (async () => ephemeral.deriveSecret(fromHex(point)))();
        if (valid) expect(await derive).toHaveLength(32);
        else await expect(derive).rejects.toThrow();
        // Neither does it verify anything, nor does looking at it throw.
        const signature = new Uint8Array(64).fill(1);
        expect(await crypto.verify(fromHex(point), signature, new Uint8Array(1))).toBe(false);
      });
    });

    describe('ECDSA', () => {
      test.each(cases.ecdsa)('$name', async ({ publicKey, data, signature, valid }) => {
        expect(await crypto.verify(fromHex(publicKey), fromHex(signature), fromHex(data))).toBe(valid);
      });
    });

    describe('HMAC', () => {
      test.each(cases.hmac)('$name', async (one) => {
        const [key, data] =
          one.keyHex === undefined
            ? [keyOf(one.keyBytes), dataOf(one.dataBytes)]
            : [fromHex(one.keyHex), fromHex(one.dataHex)];
        const macKey = await crypto.macKey(key);
        expect(toHex(await macKey.mac(data))).toBe(one.mac);
        // A second time: nothing of the first is left in the key.
        expect(toHex(await macKey.mac(data))).toBe(one.mac);
      });
    });

    describe('HKDF', () => {
      test.each(cases.hkdf)('$name', async (one) => {
        const { ikmBytes, saltBytes, infoBytes, length } = one;
        const parts = [keyOf(ikmBytes), dataOf(saltBytes), infoOf(infoBytes)] as const;
        const derive = hkdf(...parts, length);
        if ('refused' in one) {
          await expect(derive).rejects.toThrow();
          return;
        }
        const okm = await derive;
        expect(okm).toHaveLength(length);
        if ('okm' in one) expect(toHex(okm)).toBe(one.okm);
        if ('okmSha256' in one) expect(toHex(await crypto.sha256(okm))).toBe(one.okmSha256);
      });
    });

    // NIST's AES-256-GCM, test cases 13 and 14 of the GCM specification.
    describe('AES-256-GCM', () => {
      const key = new Uint8Array(32);
      const nonce = new Uint8Array(12);
      test.each([
        ['no text', '', '530f8afbc74536b9a963b4f1c4cb738b'],
        ['a block', '00'.repeat(16), 'cea7403d4d606b6e074ec5d3baf39d18d0d1c8a799996bf0265b98b5d48ab919'],
      ])('%s', async (_name, text, sealed) => {
        const sealKey = await crypto.sealKey(key);
        const none = new Uint8Array();
        expect(toHex(await sealKey.seal(nonce, none, fromHex(text)))).toBe(sealed);
        expect(toHex((await sealKey.open(nonce, none, fromHex(sealed)))!)).toBe(text);
      });

      test('no bit of nonce, additional data, text or tag may change; short ones are refused', async () => {
        const sealKey = await crypto.sealKey(keyOf(32));
        const parts = [infoOf(12), dataOf(7), await sealKey.seal(infoOf(12), dataOf(7), keyOf(20))] as const;
        expect(await sealKey.open(...parts)).toEqual(keyOf(20));
        for (const [i, part] of parts.entries()) {
          for (let bit = 0; bit < part.length * 8; bit++) {
            const changed = part.slice();
            changed[bit >> 3]! ^= 1 << (bit & 7);
            const args = [...parts] as [Bytes, Bytes, Bytes];
            args[i] = changed;
            expect(await sealKey.open(...args)).toBeUndefined();
          }
        }
        for (let length = 0; length < 36; length++) {
          expect(await sealKey.open(parts[0], parts[1], parts[2].slice(0, length))).toBeUndefined();
        }
      });
    });
  });
}

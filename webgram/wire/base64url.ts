import type { Bytes } from '../crypto.ts';
import { WebgramError } from '../errors.ts';

const ALPHABET = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_';

const CODES = new Uint8Array(64);
const SEXTETS = new Uint8Array(128).fill(0xff);
for (let i = 0; i < 64; i++) {
  const code = ALPHABET.charCodeAt(i);
  CODES[i] = code;
  SEXTETS[code] = i;
}

const ascii = new TextDecoder('utf-8');

/**
 * Encodes base64url without padding (RFC 4648 section 5).
 *
 * @returns ASCII bytes of the text.
 */
export function base64urlBytes(bytes: Uint8Array): Bytes {
  const length = bytes.length;
  const text = new Uint8Array(Math.ceil((length * 4) / 3));
  let at = 0;
  let i = 0;
  for (; i + 2 < length; i += 3) {
    const group = (bytes[i]! << 16) | (bytes[i + 1]! << 8) | bytes[i + 2]!;
    text[at++] = CODES[group >> 18]!;
    text[at++] = CODES[(group >> 12) & 63]!;
    text[at++] = CODES[(group >> 6) & 63]!;
    text[at++] = CODES[group & 63]!;
  }
  if (i + 1 === length) {
    const group = bytes[i]! << 4;
    text[at] = CODES[group >> 6]!;
    text[at + 1] = CODES[group & 63]!;
  } else if (i + 2 === length) {
    const group = (bytes[i]! << 10) | (bytes[i + 1]! << 2);
    text[at] = CODES[group >> 12]!;
    text[at + 1] = CODES[(group >> 6) & 63]!;
    text[at + 2] = CODES[group & 63]!;
  }
  return text;
}

/** Encodes base64url without padding (RFC 4648 section 5). */
export function toBase64url(bytes: Uint8Array): string {
  return ascii.decode(base64urlBytes(bytes));
}

/**
 * Decodes base64url without padding. Strict: every byte string has exactly one text that is taken; padding,
 * white space, other alphabets and spare bits that are not zero are refused.
 *
 * @throws {WebgramError} `WEBGRAM_BAD_FRAME` for any other text.
 */
export function fromBase64url(text: string): Bytes {
  const bytes = new Uint8Array(Math.floor((text.length * 3) / 4));
  let at = 0;
  let bits = 0;
  let count = 0;
  for (let i = 0; i < text.length; i++) {
    bits = (bits << 6) | sextet(text, i);
    count += 6;
    if (count < 8) continue;
    count -= 8;
    bytes[at++] = bits >> count;
    bits &= (1 << count) - 1;
  }
  // A character that adds no byte, or spare bits that are not zero.
  if (count === 6 || bits !== 0) throw refused();
  return bytes;
}

function sextet(text: string, i: number): number {
  const code = text.charCodeAt(i);
  const value = code < 128 ? SEXTETS[code]! : 0xff;
  if (value === 0xff) throw refused();
  return value;
}

function refused(): WebgramError {
  return new WebgramError('WEBGRAM_BAD_FRAME', 'bytes must be base64url without padding');
}

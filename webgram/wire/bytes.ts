import type { Bytes } from '../crypto.ts';
import { WebgramError } from '../errors.ts';

const encoder = new TextEncoder();
// A byte order mark is data like any other: without `ignoreBOM` it would be dropped after it was hashed.
const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** Returns the UTF-8 bytes of a text. */
export function utf8(text: string): Bytes {
  return encoder.encode(text);
}

/**
 * Decodes UTF-8.
 *
 * @throws {WebgramError} `WEBGRAM_BAD_FRAME` when the bytes are not UTF-8.
 */
export function fromUtf8(bytes: Uint8Array): string {
  try {
    return decoder.decode(bytes);
  } catch (cause) {
    throw new WebgramError('WEBGRAM_BAD_FRAME', 'text must be UTF-8', { cause });
  }
}

/**
 * Writes the UTF-8 bytes of a text from an offset on.
 *
 * @returns How many bytes; the target must have room for three times the text's length.
 */
export function writeUtf8(target: Uint8Array, offset: number, text: string): number {
  return encoder.encodeInto(text, target.subarray(offset)).written;
}

const measure = new Uint8Array(3 * 16_384);

/** Returns how many bytes a text has in UTF-8. */
export function utf8Length(text: string): number {
  // The native encoder overtakes the loop at about this length.
  if (text.length > 256) {
    return text.length * 3 <= measure.length ? writeUtf8(measure, 0, text) : encoder.encode(text).length;
  }
  let bytes = text.length;
  for (let i = 0; i < text.length; i++) {
    const unit = text.charCodeAt(i);
    if (unit < 0x80) continue;
    bytes += unit < 0x800 ? 1 : 2;
    if (isLeadSurrogate(unit) && isTrailSurrogate(text.charCodeAt(i + 1))) i++;
  }
  return bytes;
}

function isLeadSurrogate(unit: number): boolean {
  return unit >= 0xd800 && unit < 0xdc00;
}

function isTrailSurrogate(unit: number): boolean {
  return unit >= 0xdc00 && unit < 0xe000;
}

/** Returns one new array with the parts in their order. */
export function concat(...parts: readonly Uint8Array[]): Bytes {
  let length = 0;
  for (const part of parts) length += part.length;
  const whole = new Uint8Array(length);
  let offset = 0;
  for (const part of parts) {
    whole.set(part, offset);
    offset += part.length;
  }
  return whole;
}

/** Longest field that a transcript can hold, in bytes. */
export const MAX_LP_BYTES = 65_535;

/**
 * Puts a length before a field, so that no two lists of fields have the same bytes.
 *
 * @returns 2-byte big-endian length, then the field.
 * @throws {WebgramError} `WEBGRAM_BAD_HANDSHAKE` when the field is longer than 65,535 bytes.
 */
export function lp(field: Uint8Array): Bytes {
  if (field.length > MAX_LP_BYTES) {
    throw new WebgramError(
      'WEBGRAM_BAD_HANDSHAKE',
      `a transcript field must have at most ${MAX_LP_BYTES} bytes`,
    );
  }
  const bytes = new Uint8Array(2 + field.length);
  bytes[0] = field.length >>> 8;
  bytes[1] = field.length & 0xff;
  bytes.set(field, 2);
  return bytes;
}

/**
 * Writes a counter as 8 bytes, big-endian.
 *
 * @param value Safe integer, not negative.
 */
export function writeUint64(target: Uint8Array, offset: number, value: number): void {
  const high = Math.floor(value / 0x1_0000_0000);
  target[offset] = high >>> 24;
  target[offset + 1] = high >>> 16;
  target[offset + 2] = high >>> 8;
  target[offset + 3] = high;
  target[offset + 4] = value >>> 24;
  target[offset + 5] = value >>> 16;
  target[offset + 6] = value >>> 8;
  target[offset + 7] = value;
}

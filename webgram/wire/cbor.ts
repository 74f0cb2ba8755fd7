import { Tagged, Token, Tokenizer, Type, decode, encode, rfc8949EncodeOptions } from 'cborg';
import type { Bytes } from '../crypto.ts';
import { hasCode, WebgramError } from '../errors.ts';
import { concat, fromUtf8 } from './bytes.ts';
import { describeWirePath } from './envelope.ts';
import {
  isPlainObject,
  MAX_BIGINT_DIGITS,
  MAX_JSON_DEPTH,
  namingPlaces,
  NotEncodable,
  requireLevels,
  type EncodeJsonOptions,
  type PathKey,
} from './json.ts';
import type { BodyCodec } from './body.ts';

/** A generic object: `[name, value]`. https://www.iana.org/assignments/cbor-tags */
const TAG_OBJECT = 27;
/** Big integers, RFC 8949 section 3.4.3. */
const TAG_BIGINT = 2;
const TAG_NEGATIVE_BIGINT = 3;

/** More bytes hold more digits than a big integer may have. */
const MAX_BIGINT_BYTES = Math.ceil((MAX_BIGINT_DIGITS * Math.log2(10)) / 8);
/** Deepest nesting of items, tags included; it bounds recursion, the levels of JSON bound the value. */
const MAX_ITEM_DEPTH = 2 * MAX_JSON_DEPTH;

const ENCODE_OPTIONS: Parameters<typeof encode>[1] = {
  ...rfc8949EncodeOptions,
  ignoreUndefinedProperties: true,
  typeEncoders: {
    // It has no fraction, but is no integer of CBOR.
    number: (value) => (Object.is(value, -0) ? [new Token(Type.float, value)] : null),
    // Also a small one is tagged: integers without a tag are numbers.
    bigint: (value: bigint) => [
      new Token(Type.tag, value < 0n ? TAG_NEGATIVE_BIGINT : TAG_BIGINT),
      new Token(Type.bytes, magnitude(value < 0n ? -1n - value : value)),
    ],
  },
};

/**
 * Encodes a value as CBOR in the deterministic form of RFC 8949 section 4.2.1. PROTOCOL.md, "CBOR", has the
 * mapping. What JSON takes is taken, with the same limits.
 *
 * A property that is undefined is left out; properties of an object come back in the order of their bytes.
 *
 * @throws {WebgramError} `WEBGRAM_NOT_ENCODABLE`, naming the place.
 */
export function encodeCbor(value: unknown, options: EncodeJsonOptions = {}): Bytes {
  const tree = namingPlaces(options, (depth, path) => treeOf(value, depth, path));
  return encode(tree, ENCODE_OPTIONS);
}

/**
 * Decodes what `encodeCbor` has encoded, strictly: every value has one spelling, and every other is refused.
 *
 * @throws {WebgramError} `WEBGRAM_BAD_FRAME`.
 */
export function decodeCbor(bytes: Uint8Array): unknown {
  // A Buffer would be decoded into Buffers.
  const plain = new Uint8Array(bytes.buffer as ArrayBuffer, bytes.byteOffset, bytes.length);
  let value: unknown;
  let again: Uint8Array;
  try {
    const tokenizer = new BoundedTokenizer(plain, DECODE_OPTIONS);
    value = decode(plain, { ...DECODE_OPTIONS, tokenizer });
    // Lengths, floats, the order of keys, UTF-8, bytes of big integers: one comparison sees to all of them.
    again = encodeCbor(value);
  } catch (cause) {
    if (hasCode(cause, 'WEBGRAM_BAD_FRAME')) throw cause;
    throw new WebgramError('WEBGRAM_BAD_FRAME', 'must be CBOR as PROTOCOL.md says', { cause });
  }
  if (!isSame(plain, again)) throw bad('CBOR must be in its deterministic form');
  return value;
}

/** The subprotocol `webgram.2.cbor`: binary frames, CBOR with the mapping of PROTOCOL.md, "CBOR". */
export const cborCodec: BodyCodec = {
  subprotocol: 'webgram.2.cbor',
  binary: true,
  joinBytes: 5,
  encode(wire) {
    const data = encodeCbor(wire, { depth: 1, describe: (path) => describeWirePath(wire, path) });
    return { data, bytes: data.length };
  },
  encodeBody(list, describe) {
    const data = encodeCbor(list, describe === undefined ? { depth: 1 } : { depth: 1, describe });
    return { data, bytes: data.length };
  },
  decodeBody({ data }) {
    return decodeCbor(data as Bytes) as unknown[];
  },
  encodeWithBody(head, body) {
    const list = body.data as Bytes;
    const { length, size } = parseListHeader(list);
    const start = encode(head, ENCODE_OPTIONS);
    // Fewer than 24 items have a header of one byte.
    const data = concat(listHeader(head.length + length), start.subarray(1), list.subarray(size));
    return { data, bytes: data.length };
  },
  join(envelopes) {
    return concat(listHeader(envelopes.length), ...envelopes.map(({ data }) => data as Bytes));
  },
  decode(payload) {
    if (typeof payload === 'string') throw bad('CBOR must come in bytes');
    return decodeCbor(payload);
  },
};

function bad(message: string): WebgramError {
  return new WebgramError('WEBGRAM_BAD_FRAME', message);
}

function isSame(a: Uint8Array, b: Uint8Array): boolean {
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
}

/** What stands before the items of a list. */
function listHeader(length: number): Bytes {
  if (length < 24) return Uint8Array.of(0x80 | length);
  if (length < 0x100) return Uint8Array.of(0x98, length);
  if (length < 0x1_0000) return Uint8Array.of(0x99, length >>> 8, length);
  return Uint8Array.of(0x9a, length >>> 24, length >>> 16, length >>> 8, length);
}

/** Reads what `listHeader` has written. @returns How many items follow, behind how many bytes. */
function parseListHeader(list: Bytes): { length: number; size: number } {
  const short = list[0]! & 0x1f;
  if (short < 24) return { length: short, size: 1 };
  const size = 1 + 2 ** (short - 24);
  let length = 0;
  for (let i = 1; i < size; i++) length = length * 256 + list[i]!;
  return { length, size };
}

// ---- encoding

/** Returns what the library encodes as we want it; the value itself where nothing differs. */
function treeOf(value: unknown, depth: number, path: PathKey[]): unknown {
  switch (typeof value) {
    case 'string':
    case 'boolean':
      return value;
    case 'number':
      // In JSON these have a level of their own; a value has the same depth everywhere.
      if (!Number.isFinite(value) || Object.is(value, -0)) requireLevels(depth, 1);
      return value;
    case 'undefined':
      requireLevels(depth, 1);
      return value;
    case 'bigint':
      requireLevels(depth, 1);
      if (value.toString().length > MAX_BIGINT_DIGITS)
        throw new NotEncodable(`more than ${MAX_BIGINT_DIGITS} digits`);
      return value;
    case 'object':
      return value === null ? null : objectTree(value, depth, path);
    default:
      throw new NotEncodable(`a ${typeof value}`);
  }
}

function objectTree(value: object, depth: number, path: PathKey[]): unknown {
  if (depth >= MAX_JSON_DEPTH)
    throw new NotEncodable(`nested in itself or more than ${MAX_JSON_DEPTH} levels deep`);
  // Holes become undefined.
  if (Array.isArray(value)) return Array.from(value, (item, i) => treeAt(item, depth + 1, path, i));
  if (isPlainObject(value)) return propertiesTree(value, depth, path);
  if (value instanceof Uint8Array) return value;
  const prototype: unknown = Object.getPrototypeOf(value);
  if (prototype === Date.prototype) {
    const ms = (value as Date).getTime();
    return new Tagged(TAG_OBJECT, ['date', Number.isNaN(ms) ? null : ms]);
  }
  if (prototype === Map.prototype) {
    const map = value as Map<unknown, unknown>;
    requireLevels(depth, map.size === 0 ? 2 : 3);
    const entries = Array.from(map, ([key, item], i) => [
      treeAt(key, depth + 3, path, i),
      treeAt(item, depth + 3, path, i),
    ]);
    return new Tagged(TAG_OBJECT, ['map', entries]);
  }
  if (prototype === Set.prototype) {
    requireLevels(depth, 2);
    const items = Array.from(value as Set<unknown>, (item, i) => treeAt(item, depth + 2, path, i));
    return new Tagged(TAG_OBJECT, ['set', items]);
  }
  throw new NotEncodable('an instance of a class');
}

function treeAt(value: unknown, depth: number, path: PathKey[], key: PathKey): unknown {
  path.push(key);
  const tree = treeOf(value, depth, path);
  path.pop();
  return tree;
}

function propertiesTree(object: Record<string, unknown>, depth: number, path: PathKey[]): unknown {
  const keys = Object.keys(object).filter((key) => object[key] !== undefined);
  // JSON escapes such an object, which is a level more.
  const isEscaped = keys.length === 1 && keys[0]!.startsWith('$');
  if (isEscaped) requireLevels(depth, 2);
  const entries = keys.map((key): [string, unknown] => [
    key.replace(/\p{Cs}/gu, '\uFFFD'),
    treeAt(object[key], depth + (isEscaped ? 2 : 1), path, key),
  ]);
  // Makes own properties, also of the name __proto__, and one of two names that have become equal.
  return Object.fromEntries(entries);
}

function magnitude(value: bigint): Bytes {
  const hex = value === 0n ? '' : value.toString(16);
  const bytes = new Uint8Array(Math.ceil(hex.length / 2));
  const text = hex.padStart(bytes.length * 2, '0');
  for (let i = 0; i < bytes.length; i++) bytes[i] = parseInt(text.slice(2 * i, 2 * i + 2), 16);
  return bytes;
}

// ---- decoding

const DECODE_OPTIONS: NonNullable<Parameters<typeof decode>[1]> = {
  strict: true,
  allowIndefinite: false,
  // Integers that are no safe numbers; big ones have a tag.
  allowBigInt: false,
  rejectDuplicateMapKeys: true,
  retainStringBytes: true,
  tags: {
    [TAG_BIGINT]: (read) => bigintOf(read()),
    [TAG_NEGATIVE_BIGINT]: (read) => -1n - bigintOf(read()),
    [TAG_OBJECT]: (read) => genericObject(read()),
  },
};

/** Refuses what nests too deep before the decoder goes there, and leaves every text as it is. */
class BoundedTokenizer extends Tokenizer {
  /** How many items each open list, map or tag still waits for. */
  readonly #open: number[] = [];

  override next(): Token {
    const token = super.next();
    const { type, byteValue } = token;
    // The library's decoder of texts takes U+FEFF at their beginning for a mark of their encoding.
    if (type === Type.string && byteValue?.[0] === 0xef) token.value = fromUtf8(byteValue);
    const open = this.#open;
    if (open.length > 0) open[open.length - 1]!--;
    const items = itemsIn(token);
    if (items > 0) open.push(items);
    if (open.length > MAX_ITEM_DEPTH) throw bad(`CBOR must have at most ${MAX_JSON_DEPTH} levels`);
    while (open[open.length - 1] === 0) open.pop();
    return token;
  }
}

function itemsIn({ type, value }: Token): number {
  if (type === Type.array) return value as number;
  if (type === Type.map) return 2 * (value as number);
  return type === Type.tag ? 1 : 0;
}

function bigintOf(bytes: unknown): bigint {
  if (!(bytes instanceof Uint8Array) || bytes.length > MAX_BIGINT_BYTES) throw bad('not a big integer');
  let hex = '0x0';
  for (const byte of bytes) hex += byte.toString(16).padStart(2, '0');
  return BigInt(hex);
}

function genericObject(content: unknown): unknown {
  if (!Array.isArray(content) || content.length !== 2) throw bad('tag 27 must hold a name and a value');
  const [name, value] = content as unknown[];
  switch (name) {
    case 'date': {
      if (value !== null && typeof value !== 'number') break;
      const date = new Date(value ?? NaN);
      if (value !== null && date.getTime() !== value) break;
      return date;
    }
    case 'map': {
      if (!Array.isArray(value) || !value.every((entry) => Array.isArray(entry) && entry.length === 2)) break;
      const map = new Map(value as [unknown, unknown][]);
      if (map.size !== value.length) break;
      return map;
    }
    case 'set': {
      if (!Array.isArray(value)) break;
      const set = new Set(value);
      if (set.size !== value.length) break;
      return set;
    }
    default:
  }
  throw bad('tag 27 must hold what PROTOCOL.md says');
}

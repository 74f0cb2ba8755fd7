import type { Bytes } from '../crypto.ts';
import { hasCode, WebgramError } from '../errors.ts';
import { fromBase64url, toBase64url } from './base64url.ts';

/** Deepest nesting of lists and objects in a JSON text, both ways. */
export const MAX_JSON_DEPTH = 64;

/** Most digits of a bigint, both ways: its conversion takes more than linear time. */
export const MAX_BIGINT_DIGITS = 4_096;

export type PathKey = string | number;

export interface EncodeJsonOptions {
  /** How many lists will stand around this text. Default 0. */
  depth?: number;
  /** Names the place of what cannot be encoded. Default `value[0].x`. */
  describe?: (path: readonly PathKey[]) => string;
}

/**
 * Encodes a value as JSON that keeps Date, Uint8Array, bigint, Map, Set, NaN, ±Infinity, -0 and undefined.
 * PROTOCOL.md, "JSON", has the mapping.
 *
 * Of an array its indexed elements are encoded, holes as undefined; properties of an object that are
 * undefined are left out.
 *
 * @throws {WebgramError} `WEBGRAM_NOT_ENCODABLE` for anything else (functions, symbols, instances of classes,
 * cycles, more than 64 levels), naming its place.
 */
export function encodeJson(value: unknown, options: EncodeJsonOptions = {}): string {
  return JSON.stringify(toTree(value, options));
}

/**
 * Checks that `encodeJson` would take a value.
 *
 * @param name What the place in the error message begins with, such as `args`.
 * @throws {WebgramError} `WEBGRAM_NOT_ENCODABLE`, naming the place.
 */
export function assertEncodable(value: unknown, name = 'value'): void {
  // A message stands inside of two lists: that of the frame and that of the envelope.
  toTree(value, { depth: 1, describe: (path) => describePath(name, path) });
}

/**
 * Decodes what `encodeJson` has encoded, strictly.
 *
 * @throws {WebgramError} `WEBGRAM_BAD_FRAME` for what is not JSON, an unknown `$` name, a wrong shape inside
 * one, or more than 64 levels.
 */
export function decodeJson(text: string): unknown {
  if (text.length > DEPTH_SCAN_LENGTH && nestsTooDeep(text)) throw tooDeep();
  let tree: unknown;
  try {
    tree = JSON.parse(text);
  } catch {
    // The parser's own message would quote the text.
    throw bad('must be JSON');
  }
  return fromTree(tree, 0);
}

/** Whether a value is an object that stands for nothing but its properties. */
export function isPlainObject(value: unknown): value is Record<string, unknown> {
  if (typeof value !== 'object' || value === null) return false;
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === Object.prototype || prototype === null;
}

export function describePath(name: string, path: readonly PathKey[]): string {
  return name + path.map((key) => (typeof key === 'number' ? `[${key}]` : `.${key}`)).join('');
}

function toTree(value: unknown, options: EncodeJsonOptions): unknown {
  return namingPlaces(options, (depth, path) => encodeValue(value, depth, path));
}

/**
 * Runs an encoder that keeps `path` up to date and throws `NotEncodable`.
 *
 * @throws {WebgramError} `WEBGRAM_NOT_ENCODABLE`, naming the place.
 */
export function namingPlaces<T>(
  { depth = 0, describe }: EncodeJsonOptions,
  encode: (depth: number, path: PathKey[]) => T,
): T {
  const path: PathKey[] = [];
  try {
    return encode(depth, path);
  } catch (error) {
    if (!(error instanceof NotEncodable)) throw error;
    const place = describe === undefined ? describePath('value', path) : describe(path);
    throw new WebgramError('WEBGRAM_NOT_ENCODABLE', `${shorten(place)} cannot be sent: ${error.message}`);
  }
}

/** What cannot be encoded; its message follows the place. */
export class NotEncodable extends Error {}

function shorten(place: string): string {
  return place.length > 200 ? `${place.slice(0, 200)}…` : place;
}

/** Returns the value itself when JSON holds all of it, so that nothing is copied without need. */
function encodeValue(value: unknown, depth: number, path: PathKey[]): unknown {
  switch (typeof value) {
    case 'string':
    case 'boolean':
      return value;
    case 'number':
      if (isPlainNumber(value)) return value;
      requireLevels(depth, 1);
      return { $number: Object.is(value, -0) ? '-0' : String(value) };
    case 'undefined':
      requireLevels(depth, 1);
      return { $undefined: true };
    case 'bigint': {
      requireLevels(depth, 1);
      const digits = value.toString();
      if (digits.length > MAX_BIGINT_DIGITS) throw new NotEncodable(`more than ${MAX_BIGINT_DIGITS} digits`);
      return { $bigint: digits };
    }
    case 'object':
      return value === null ? null : encodeObject(value, depth, path);
    default:
      throw new NotEncodable(`a ${typeof value}`);
  }
}

function encodeObject(value: object, depth: number, path: PathKey[]): unknown {
  // Also where every cycle ends.
  if (depth >= MAX_JSON_DEPTH)
    throw new NotEncodable(`nested in itself or more than ${MAX_JSON_DEPTH} levels deep`);
  if (Array.isArray(value)) return encodeList(value, depth, path);
  const prototype: unknown = Object.getPrototypeOf(value);
  if (prototype === Object.prototype || prototype === null) {
    return encodeProperties(value as Record<string, unknown>, depth, path);
  }
  if (value instanceof Uint8Array) return { $bytes: toBase64url(value) };
  if (prototype === Date.prototype) {
    const ms = (value as Date).getTime();
    return { $date: Number.isNaN(ms) ? null : ms };
  }
  if (prototype === Map.prototype) {
    const entries = Array.from(value as Map<unknown, unknown>, ([key, item], i) => [
      encodeAt(key, depth + 3, path, i),
      encodeAt(item, depth + 3, path, i),
    ]);
    requireLevels(depth, entries.length === 0 ? 2 : 3);
    return { $map: entries };
  }
  if (prototype === Set.prototype) {
    const items = Array.from(value as Set<unknown>, (item, i) => encodeAt(item, depth + 2, path, i));
    requireLevels(depth, 2);
    return { $set: items };
  }
  throw new NotEncodable('an instance of a class');
}

/** @throws {NotEncodable} when so many levels more are too many. */
export function requireLevels(depth: number, levels: number): void {
  if (depth + levels > MAX_JSON_DEPTH) throw new NotEncodable(`more than ${MAX_JSON_DEPTH} levels deep`);
}

function encodeAt(value: unknown, depth: number, path: PathKey[], key: PathKey): unknown {
  path.push(key);
  const encoded = encodeValue(value, depth, path);
  path.pop();
  return encoded;
}

function encodeList(list: readonly unknown[], depth: number, path: PathKey[]): unknown {
  let copy: unknown[] | undefined;
  for (let i = 0; i < list.length; i++) {
    const item = list[i];
    if (isPlainLeaf(item)) continue;
    const encoded = encodeAt(item, depth + 1, path, i);
    if (encoded === item) continue;
    copy ??= list.slice();
    copy[i] = encoded;
  }
  return copy ?? list;
}

function encodeProperties(object: Record<string, unknown>, depth: number, path: PathKey[]): unknown {
  const keys = Object.keys(object);
  const mistakable = onlyDollarKey(object, keys);
  if (mistakable !== undefined) {
    requireLevels(depth, 2);
    return { $object: { [mistakable]: encodeAt(object[mistakable], depth + 2, path, mistakable) } };
  }
  let copy: Record<string, unknown> | undefined;
  for (const key of keys) {
    const item = object[key];
    if (item === undefined || isPlainLeaf(item)) continue;
    const encoded = encodeAt(item, depth + 1, path, key);
    if (encoded === item) continue;
    // A spread creates own properties, also of the name __proto__.
    copy ??= { ...object };
    copy[key] = encoded;
  }
  return copy ?? object;
}

/** The name of the property when there is one alone and it begins with `$`: only then it could be mistaken. */
function onlyDollarKey(object: Record<string, unknown>, keys: readonly string[]): string | undefined {
  let only: string | undefined;
  for (const key of keys) {
    if (object[key] === undefined) continue;
    if (only !== undefined) return undefined;
    only = key;
  }
  return only?.startsWith('$') === true ? only : undefined;
}

function isPlainLeaf(value: unknown): boolean {
  switch (typeof value) {
    case 'string':
    case 'boolean':
      return true;
    case 'number':
      return isPlainNumber(value);
    default:
      return value === null;
  }
}

function isPlainNumber(value: number): boolean {
  return Number.isFinite(value) && !Object.is(value, -0);
}

function bad(message: string): WebgramError {
  return new WebgramError('WEBGRAM_BAD_FRAME', message);
}

function tooDeep(): WebgramError {
  return bad(`JSON must have at most ${MAX_JSON_DEPTH} levels`);
}

/** Longer texts are scanned first: JSON.parse takes a tenth of a second for a megabyte of brackets. */
const DEPTH_SCAN_LENGTH = 16_384;

/** Whether a text nests too deep, as far as it is JSON at all. */
function nestsTooDeep(text: string): boolean {
  let depth = 0;
  for (let i = 0; i < text.length; i++) {
    switch (text[i]) {
      case '[':
      case '{':
        if (++depth > MAX_JSON_DEPTH) return true;
        break;
      case ']':
      case '}':
        depth--;
        break;
      case '"':
        i = endOfString(text, i);
        break;
      default:
    }
  }
  return false;
}

/** Returns where the string that begins at `start` ends; the end of the text when it does not. */
function endOfString(text: string, start: number): number {
  let end = start;
  for (;;) {
    end = text.indexOf('"', end + 1);
    if (end < 0) return text.length;
    let backslashes = 0;
    while (text[end - 1 - backslashes] === '\\') backslashes++;
    if (backslashes % 2 === 0) return end;
  }
}

/** The tree is what JSON.parse has just made: it is changed in place. */
function fromTree(tree: unknown, depth: number): unknown {
  if (typeof tree !== 'object' || tree === null) {
    // JSON.parse takes 1e999.
    if (tree === Infinity || tree === -Infinity) throw bad('a number must be finite');
    return tree;
  }
  if (depth >= MAX_JSON_DEPTH) throw tooDeep();
  if (Array.isArray(tree)) {
    const list = tree as unknown[];
    for (let i = 0; i < list.length; i++) {
      const item = list[i];
      if (typeof item !== 'string') list[i] = fromTree(item, depth + 1);
    }
    return list;
  }
  const object = tree as Record<string, unknown>;
  const keys = Object.keys(object);
  if (keys.length === 1 && keys[0]!.startsWith('$')) return decodeSpecial(keys[0]!, object[keys[0]!], depth);
  return decodeProperties(object, keys, depth);
}

function decodeProperties(object: Record<string, unknown>, keys: readonly string[], depth: number): object {
  for (const key of keys) {
    const item = object[key];
    // JSON.parse made an own property of every name, __proto__ as well, so this sets no prototype.
    if (typeof item !== 'string') object[key] = fromTree(item, depth + 1);
  }
  return object;
}

const NUMBERS = new Map<unknown, number>([
  ['NaN', NaN],
  ['Infinity', Infinity],
  ['-Infinity', -Infinity],
  ['-0', -0],
]);

const BIGINT = /^(?:0|-?[1-9][0-9]*)$/;

function decodeSpecial(name: string, inner: unknown, depth: number): unknown {
  switch (name) {
    case '$date':
      return decodeDate(inner);
    case '$bytes':
      return decodeBytes(inner);
    case '$bigint':
      if (typeof inner !== 'string' || inner.length > MAX_BIGINT_DIGITS || !BIGINT.test(inner))
        throw wrong(name);
      return BigInt(inner);
    case '$map': {
      const entries = decodeItems(name, inner, depth);
      for (const entry of entries) if (!Array.isArray(entry) || entry.length !== 2) throw wrong(name);
      const map = new Map(entries as [unknown, unknown][]);
      if (map.size !== entries.length) throw wrong(name);
      return map;
    }
    case '$set': {
      const items = decodeItems(name, inner, depth);
      const set = new Set(items);
      if (set.size !== items.length) throw wrong(name);
      return set;
    }
    case '$number': {
      const number = NUMBERS.get(inner);
      if (number === undefined) throw wrong(name);
      return number;
    }
    case '$undefined':
      if (inner !== true) throw wrong(name);
      return undefined;
    case '$object': {
      if (!isPlainObject(inner) || depth + 1 >= MAX_JSON_DEPTH) throw wrong(name);
      const keys = Object.keys(inner);
      if (keys.length !== 1 || !keys[0]!.startsWith('$')) throw wrong(name);
      return decodeProperties(inner, keys, depth + 1);
    }
    default:
      throw bad('an object with one key that begins with $ must be of a known name');
  }
}

function wrong(name: string): WebgramError {
  return bad(`${name} must hold what PROTOCOL.md says`);
}

function decodeItems(name: string, inner: unknown, depth: number): unknown[] {
  if (!Array.isArray(inner)) throw wrong(name);
  return fromTree(inner, depth + 1) as unknown[];
}

function decodeDate(inner: unknown): Date {
  if (inner === null) return new Date(NaN);
  if (typeof inner !== 'number') throw wrong('$date');
  const date = new Date(inner);
  if (date.getTime() !== inner) throw wrong('$date');
  return date;
}

function decodeBytes(inner: unknown): Bytes {
  if (typeof inner !== 'string') throw wrong('$bytes');
  try {
    return fromBase64url(inner);
  } catch (error) {
    if (hasCode(error, 'WEBGRAM_BAD_FRAME')) throw wrong('$bytes');
    throw error;
  }
}

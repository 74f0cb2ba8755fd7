import { WebgramError } from 'webgram';

/** Deepest nesting of what can be sent; the encoding takes a little more. */
const MAX_LEVELS = 60;
const MAX_BIGINT_DIGITS = 4_096;
/** Stands for a value that has no JSON of its own: as long as what names it there, or longer. */
const NAMED = '################################';

/** What an escaped name takes besides, in bytes. */
const ESCAPE_BYTES = 12;

/** A copy of what is to be sent, which nobody changes any more. */
export interface Copied<T> {
  value: T;
  /** What it takes encoded, in bytes, or a little more. */
  bytes: number;
}

/**
 * Copies what is to be sent, so that it can be sent again, and checks that it can be encoded: the tab itself does not
 * encode, that is left to the host.
 *
 * @throws {WebgramError} `WEBGRAM_NOT_ENCODABLE`, naming the property, for functions, symbols, instances of classes, and
 * more than 60 levels.
 * @throws {TypeError} for cycles.
 */
export function copyMessage<T>(value: T): Copied<T> {
  const levels = new Map<unknown, number>();
  let escapes = 0;
  const json = JSON.stringify(value, function (this: Record<string, unknown>, key): unknown {
    // Not what toJSON() makes of it.
    const item = this[key];
    const shown = inJson(item);
    const escape = key[0] === '$' ? 1 : 0;
    escapes += escape;
    // What is named there, or escaped because its name begins with $, takes a level more.
    const level = (levels.get(this) ?? 0) + (shown === item ? 1 : 2) + escape;
    if (shown === undefined || level > MAX_LEVELS) {
      throw new WebgramError(
        'WEBGRAM_NOT_ENCODABLE',
        `'${key}' (${typeof item}, level ${level}) cannot be sent`,
      );
    }
    levels.set(shown, level);
    return shown;
  });
  return {
    value: structuredClone(value),
    bytes: new TextEncoder().encode(json).length + escapes * ESCAPE_BYTES,
  };
}

/** @returns Something of about the same length in JSON, or `undefined` for what cannot be sent. */
function inJson(item: unknown): unknown {
  const type = typeof item;
  // What is no object counts as plain; that of a function is none of these.
  const prototype: unknown = Object(item) === item ? Object.getPrototypeOf(item) : null;
  if (type === 'symbol' || (type === 'bigint' && String(item).length > MAX_BIGINT_DIGITS)) return undefined;
  if (type === 'bigint') return NAMED + String(item);
  // `item !== item`: NaN.
  if (
    item === undefined ||
    item !== item ||
    item === Infinity ||
    item === -Infinity ||
    Object.is(item, -0) ||
    prototype === Date.prototype
  )
    return NAMED;
  if (item instanceof Uint8Array) return NAMED.padEnd((item.length * 4) / 3 + NAMED.length);
  if (prototype === Map.prototype || prototype === Set.prototype) return [NAMED, ...(item as Set<unknown>)];
  return prototype === null || prototype === Object.prototype || Array.isArray(item) ? item : undefined;
}

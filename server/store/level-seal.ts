import { crc32 } from 'node:zlib';
import { WebgramError } from 'webgram';

/** What a store holds, by number and by sum; written with every batch. */
export interface Ledger {
  /** Synced batches so far. */
  synced: number;
  /** Rows, the ledger's own left out. */
  rows: number;
  /** Identity keys, alive or tombstones: one for every session there ever was and has not been forgotten. */
  keys: number;
  /** The checksums of all rows, added up: a row that is lost, stale, doubled or changed makes another sum. */
  sum: number;
}

export const EMPTY_LEDGER: Readonly<Ledger> = { synced: 0, rows: 0, keys: 0, sum: 0 };

/** Key of the row that holds the ledger. */
export const LEDGER_KEY = 'meta/ledger';

const SEAL_LENGTH = 7;
/** Sums stay below this, so that adding up is exact. */
const MODULUS = 2 ** 50;

/** Puts a checksum of key and text before the text: 7 characters. */
export function seal(key: string, text: string): string {
  return crc32(text, crc32(key)).toString(36).padStart(SEAL_LENGTH, '0') + text;
}

/**
 * Takes the checksum off a row again.
 *
 * @returns `undefined` when it is not that of key and text.
 */
export function unseal(key: string, sealed: string): string | undefined {
  const text = sealed.slice(SEAL_LENGTH);
  return seal(key, text) === sealed ? text : undefined;
}

/** The checksum that a sealed row carries, not compared with its content. */
export function sealOf(sealed: string): number {
  const sum = Number.parseInt(sealed.slice(0, SEAL_LENGTH), 36);
  return Number.isNaN(sum) ? 0 : sum;
}

/** Adds a row to a ledger or takes it out, in place. */
export function enter(ledger: Ledger, key: string, sealed: string, sign: 1 | -1): void {
  ledger.rows += sign;
  if (key.startsWith('key/')) ledger.keys += sign;
  ledger.sum = (ledger.sum + sign * sealOf(sealed) + MODULUS) % MODULUS;
}

export function encodeLedger({ synced, rows, keys, sum }: Ledger): string {
  return seal(LEDGER_KEY, JSON.stringify([1, synced, rows, keys, sum]));
}

/** @returns `undefined` for what is not a ledger. */
export function parseLedger(sealed: string | undefined): Ledger | undefined {
  const text = sealed === undefined ? undefined : unseal(LEDGER_KEY, sealed);
  if (text === undefined) return undefined;
  const [version, synced, rows, keys, sum] = JSON.parse(text) as number[];
  if (version !== 1 || synced === undefined || rows === undefined) return undefined;
  if (keys === undefined || sum === undefined) return undefined;
  return { synced, rows, keys, sum };
}

/** Says that a row was changed behind our back. */
export function brokenSeal(key: string): WebgramError {
  const message = `${key.split('/')[0] ?? ''} row '${key}' cannot be understood: its checksum is wrong`;
  return new WebgramError('WEBGRAM_STORE_CORRUPT', message);
}

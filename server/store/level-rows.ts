import { createHash } from 'node:crypto';
import { WebgramError, type Device } from 'webgram';
import type { EndReason, KeyRow, Lineage, Visits } from './store.ts';

/** Version of the layout as a whole. An older one is migrated, a newer one is not opened. */
export const SCHEMA_VERSION = 2;

/** Version that every row carries, so that one kind of row can change alone. */
const ROW_VERSION = 1;

/** A kind of row: where it lives, how its text is made, and how it is understood again. */
export interface RowKind<Row, Name extends unknown[]> {
  /** The LevelDB key. Every kind has its own prefix, so no id or name reaches a row of another kind. */
  key: (...name: Name) => string;
  encode: (row: Row) => string;
  /** @throws {WebgramError} `WEBGRAM_STORE_CORRUPT` naming kind and key, when the text cannot be understood. */
  parse: (text: unknown, key: string) => Row;
}

/** What does not change while a session lives. */
export interface SessionRow {
  keyID: string;
  createdMs: number;
  fromClient: string | undefined;
  account?: string | undefined;
  /** Of the account's user. */
  profile?: string | undefined;
  /** Absent while nothing is known of it. */
  device?: Device | undefined;
  /** Present when a copy of the key is in use. */
  forked?: true | undefined;
}

/** What every commit checks and rewrites. Absent until the first load. */
export interface HeadRow {
  tag: string;
  life: number;
  lineage: Lineage;
}

/** Names a row for logs and errors, where a keyID has no place in the clear. */
export function rowName(key: string): string {
  const keyID = /^(?:key|ended\/\d*)\/(.*)$/s.exec(key)?.[1];
  if (keyID === undefined) return key;
  return `${key.slice(0, key.length - keyID.length)}#${createHash('sha256').update(keyID).digest('hex').slice(0, 12)}`;
}

/** Says that a row cannot be understood. The row's value stays out of the message. */
export function corruptRow(kind: string, key: string, why: string): WebgramError {
  const message = `${kind} row '${rowName(key)}' cannot be understood: ${why}`;
  return new WebgramError('WEBGRAM_STORE_CORRUPT', message);
}

/** Which layout this is, and the name of the store. */
export const storeRow: RowKind<{ schema: number; storeID: Uint8Array }, []> = {
  key: () => 'meta/store',
  encode: ({ schema, storeID }) => encodeFields(schema, encodeBytes(storeID)),
  parse(text, key) {
    const [schema, storeID] = parseFields('meta', key, text);
    if (!isCount(schema) || !isBytes(storeID)) throw corruptRow('meta', key, 'a field is missing or wrong');
    return { schema, storeID: decodeBytes(storeID) };
  },
};

/** The lowest sessionID that was never dispensed. */
export const nextSessionIDRow: RowKind<number, []> = {
  key: () => 'meta/next-session-id',
  encode: (next) => encodeFields(next),
  parse(text, key) {
    const [next] = parseFields('meta', key, text);
    if (!isCount(next) || next === 0) throw corruptRow('meta', key, 'it is not a sessionID');
    return next;
  },
};

/** An identity key, alive or a tombstone. */
export const keyRow: RowKind<KeyRow, [keyID: string]> = {
  key: (keyID) => `key/${keyID}`,
  encode: ({ sessionID, publicKey, ended }) =>
    ended === undefined
      ? encodeFields(sessionID, encodeBytes(publicKey))
      : encodeFields(sessionID, encodeBytes(publicKey), ended.reason, ended.atMs),
  parse(text, key) {
    const [sessionID, publicKey, reason, atMs] = parseFields('key', key, text);
    if (!isCount(sessionID) || !isBytes(publicKey))
      throw corruptRow('key', key, 'a field is missing or wrong');
    const row = { sessionID, publicKey: decodeBytes(publicKey) };
    if (reason === undefined) return row;
    if (!isEndReason(reason) || !isCount(atMs)) throw corruptRow('key', key, 'its end is not understood');
    return { ...row, ended: { reason, atMs } };
  },
};

export const sessionRow: RowKind<SessionRow, [sessionID: number]> = {
  key: (sessionID) => `session/${fixedWidth(sessionID)}`,
  encode: ({ keyID, createdMs, fromClient, account, profile, device, forked }) =>
    encodeFields(keyID, createdMs, ...withoutAbsentEnd(fromClient, account, profile, device, forked)),
  parse(text, key) {
    const [keyID, createdMs, ...more] = parseFields('session', key, text);
    const [fromClient, account, profile, device, forked] = more.map((one) => one ?? undefined);
    if (typeof keyID !== 'string' || !isCount(createdMs)) {
      throw corruptRow('session', key, 'a field is missing or wrong');
    }
    if (
      ![fromClient, account, profile].every(isTextOrAbsent) ||
      !isDeviceOrAbsent(device) ||
      !isTrueOrAbsent(forked)
    ) {
      throw corruptRow('session', key, 'a field is missing or wrong');
    }
    const row = { keyID, createdMs, fromClient, account, profile } as SessionRow;
    return {
      ...row,
      ...(device === undefined ? {} : { device }),
      ...(forked === undefined ? {} : { forked }),
    };
  },
};

export const headRow: RowKind<HeadRow, [sessionID: number]> = {
  key: (sessionID) => `head/${fixedWidth(sessionID)}`,
  encode: ({ tag, life, lineage }) => encodeFields(tag, life, lineage),
  parse(text, key) {
    const [tag, life, lineage] = parseFields('head', key, text);
    if (typeof tag !== 'string' || !isCount(life) || !isLineage(lineage)) {
      throw corruptRow('head', key, 'a field is missing or wrong');
    }
    return { tag, life, lineage };
  },
};

/**
 * The session's coming and going: what changes without a commit, in one row.
 * Absent until the first link of a session without an end.
 */
export interface PresenceRow {
  /** Of the newest link; 0 before the first. */
  generation: number;
  expiresAtMs: number | undefined;
  /** Absent until the second visit. */
  visits: Visits | undefined;
}

export const presenceRow: RowKind<PresenceRow, [sessionID: number]> = {
  key: (sessionID) => `presence/${fixedWidth(sessionID)}`,
  encode: ({ generation, expiresAtMs, visits }) =>
    encodeFields(
      generation,
      ...withoutAbsentEnd(expiresAtMs, visits?.firstMs, visits?.latestMs, visits?.previousMs),
    ),
  parse(text, key) {
    const fields = parseFields('presence', key, text).map((field) => field ?? undefined);
    const [generation, expiresAtMs, firstMs, latestMs, previousMs] = fields;
    if (!isCount(generation) || ![expiresAtMs, firstMs, latestMs, previousMs].every(isCountOrAbsent)) {
      throw corruptRow('presence', key, 'a field is missing or wrong');
    }
    const row = { generation, expiresAtMs: expiresAtMs as number | undefined, visits: undefined };
    if (firstMs === undefined) return row;
    if (!isCount(firstMs) || !isCount(latestMs)) throw corruptRow('presence', key, 'its visits are wrong');
    const visits = { firstMs, latestMs };
    return { ...row, visits: isCount(previousMs) ? { ...visits, previousMs } : visits };
  },
};

/** Sessions by the moment of their end, so that those whose end has come are found without a search. */
export const dueIndex = {
  prefix: 'due/',
  key: (expiresAtMs: number, sessionID: number) => `due/${fixedWidth(expiresAtMs)}/${fixedWidth(sessionID)}`,
  /** Above every key up to that moment. */
  after: (nowMs: number) => `due/${fixedWidth(Math.max(0, nowMs) + 1)}`,
  sessionID: (key: string) => Number(key.slice(-16)),
};

/** Tombstones by the moment they were made. */
export const endedIndex = {
  prefix: 'ended/',
  key: (atMs: number, keyID: string) => `ended/${fixedWidth(atMs)}/${keyID}`,
  before: (ms: number) => `ended/${fixedWidth(Math.max(0, ms))}`,
  keyID: (key: string) => key.slice('ended/'.length + 17),
};

/** Sessions by account. */
export const accountIndex = {
  prefix: (account: string) => `account/${Buffer.from(account).toString('base64url')}/`,
  key: (account: string, sessionID: number) => `${accountIndex.prefix(account)}${fixedWidth(sessionID)}`,
  /** Above the key of that session, and below that of every later one. */
  behind: (account: string, sessionID: number) => `${accountIndex.key(account, sessionID)}0`,
  after: (account: string) => `account/${Buffer.from(account).toString('base64url')}0`,
  sessionID: (key: string) => Number(key.slice(-16)),
};

export const dataRow: RowKind<string, [sessionID: number]> = {
  key: (sessionID) => `data/${fixedWidth(sessionID)}`,
  encode: encodeText,
  parse: (text, key) => parseText('data', key, text),
};

/** The tabs that have a stream row, so that a session is read and ended without a search. */
export const tabsRow: RowKind<string[], [sessionID: number]> = {
  key: (sessionID) => `tabs/${fixedWidth(sessionID)}`,
  encode: (tabs) => encodeFields(...tabs),
  parse(text, key) {
    const tabs = parseFields('tabs', key, text);
    if (!tabs.every((tab) => typeof tab === 'string'))
      throw corruptRow('tabs', key, 'a tabID is not a string');
    return tabs;
  },
};

export const streamRow: RowKind<string, [sessionID: number, tabID: string]> = {
  key: (sessionID, tabID) => `stream/${fixedWidth(sessionID)}/${tabID}`,
  encode: encodeText,
  parse: (text, key) => parseText('stream', key, text),
};

/** Sixteen digits hold every safe integer, so that keys sort as their numbers do. */
function fixedWidth(number: number): string {
  return String(number).padStart(16, '0');
}

function encodeFields(...fields: unknown[]): string {
  return JSON.stringify([ROW_VERSION, ...fields]);
}

function parseFields(kind: string, key: string, text: unknown): unknown[] {
  let parsed: unknown;
  try {
    parsed = JSON.parse(String(text));
  } catch {
    // The cause would quote the row.
    throw corruptRow(kind, key, 'it is not JSON');
  }
  if (!Array.isArray(parsed)) throw corruptRow(kind, key, 'it is not a list');
  const [version, ...fields] = parsed as unknown[];
  if (version !== ROW_VERSION) throw corruptRow(kind, key, `its version is not ${ROW_VERSION}`);
  return fields;
}

/** Opaque text is kept as it is behind the version, not quoted a second time. */
function encodeText(text: string): string {
  return `${ROW_VERSION}:${text}`;
}

function parseText(kind: string, key: string, text: unknown): string {
  const version = `${ROW_VERSION}:`;
  if (typeof text !== 'string' || !text.startsWith(version)) {
    throw corruptRow(kind, key, `its version is not ${ROW_VERSION}`);
  }
  return text.slice(version.length);
}

function encodeBytes(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('base64url');
}

function decodeBytes(text: string): Uint8Array {
  return Uint8Array.from(Buffer.from(text, 'base64url'));
}

function isBytes(value: unknown): value is string {
  return typeof value === 'string' && /^[\w-]*$/.test(value);
}

function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}

function isCountOrAbsent(value: unknown): boolean {
  return value === undefined || isCount(value);
}

/** What is absent at the end costs nothing. */
function withoutAbsentEnd(...fields: unknown[]): unknown[] {
  return fields.slice(0, fields.findLastIndex((field) => field !== undefined) + 1);
}

function isTextOrAbsent(value: unknown): value is string | undefined {
  return value === undefined || typeof value === 'string';
}

function isTrueOrAbsent(value: unknown): value is true | undefined {
  return value === undefined || value === true;
}

function isDeviceOrAbsent(value: unknown): value is Device | undefined {
  if (value === undefined) return true;
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return false;
  const { platform, browser, name, location = {} } = value as Record<string, unknown>;
  if (typeof location !== 'object' || location === null) return false;
  const { city, country } = location as Record<string, unknown>;
  return [platform, browser, name, city, country].every(isTextOrAbsent);
}

function isLineage(value: unknown): value is Lineage {
  return (
    Array.isArray(value) &&
    value.every((pair) => Array.isArray(pair) && pair.length === 2 && pair.every(isCount))
  );
}

function isEndReason(value: unknown): value is EndReason {
  return value === 'revoked' || value === 'expired' || value === 'renewed';
}

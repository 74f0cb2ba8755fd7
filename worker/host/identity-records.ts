import type { Bytes } from 'webgram';

/** Version of the records in a key store. A record of a later version is left alone. */
export const RECORD_VERSION = 1;

/** What a browser keeps about one server address. Fields that this version does not know are kept. */
export interface ServerRecord {
  version: typeof RECORD_VERSION;
  /** Public server keys that were seen with a verified answer, 65 bytes each; at most two. */
  pins: Bytes[];
  /** `localID` of the identity in use, by storeID in base64url; "" when it was taken away and none has followed. */
  active: Record<string, string>;
}

/** A key pair as a key store keeps it. */
export interface StoredKey {
  /** Uncompressed P-256 point, 65 bytes. */
  publicKey: Bytes;
  /** What the platform's key maker made: in browsers a `CryptoKey` that cannot be exported. */
  privateKey: unknown;
}

/** What the server says of the user of an identity. */
export interface Profile {
  /** The user id that the session is bound to since the last login. */
  account?: string;
  /** Name to show. */
  label?: string;
  /** Address of a picture. */
  picture?: string;
}

/** One identity. Fields that this version does not know are kept. */
export interface IdentityRecord extends StoredKey {
  version: typeof RECORD_VERSION;
  /** Names the identity in this browser: 16 random bytes in base64url. Never sent. */
  localID: string;
  /** The store that knows it, in base64url. */
  storeID: string;
  /** The key of a renewal that may have come to its end or not. */
  next?: StoredKey;
  /** `null` until the first verified `session-ok`. */
  sessionID: number | null;
  createdAtMs: number;
  /** Present when the server did not accept it, or its key no longer works. */
  setAside?: SetAside;
  /** Who the session is bound to. */
  profile?: Profile;
  /** What the user calls it in this browser. */
  name?: string;
}

/** Why an identity is not in use. `triedAtMs`: when it was tried last since. */
export interface SetAside {
  reason: string;
  atMs: number;
  triedAtMs?: number;
}

/** All keys of one server address begin with this. No normalised address contains a space. */
export function addressPrefix(address: string): string {
  return `${address} `;
}

export function serverKey(address: string): string {
  return `${addressPrefix(address)}server`;
}

export function identityKey(address: string, storeID: string, localID: string): string {
  return `${addressPrefix(address)}identity ${storeID} ${localID}`;
}

/** @returns `newer` for a record of a later version, `undefined` for none or one that cannot be understood. */
export function parseServerRecord(value: unknown): ServerRecord | 'newer' | undefined {
  return parseVersioned<ServerRecord>(
    value,
    ({ pins, active }) =>
      Array.isArray(pins) &&
      pins.every(isPoint) &&
      typeof active === 'object' &&
      active !== null &&
      Object.values(active).every((localID) => typeof localID === 'string'),
  );
}

/** @returns `newer` for a record of a later version, `undefined` for none or one that cannot be understood. */
export function parseIdentityRecord(value: unknown): IdentityRecord | 'newer' | undefined {
  return parseVersioned<IdentityRecord>(
    value,
    ({ localID, storeID, publicKey, sessionID, createdAtMs }) =>
      typeof localID === 'string' &&
      typeof storeID === 'string' &&
      isPoint(publicKey) &&
      (sessionID === null || Number.isSafeInteger(sessionID)) &&
      typeof createdAtMs === 'number',
  );
}

/** @returns The record, unless there is none that this version may touch. */
export function ownIdentityRecord(value: unknown): IdentityRecord | undefined {
  const record = parseIdentityRecord(value);
  return record === 'newer' ? undefined : record;
}

/** @returns The record's next key, unless there is none that can be understood. */
export function nextKeyOf({ next }: IdentityRecord): StoredKey | undefined {
  const key = next as Partial<StoredKey> | null | undefined;
  return isPoint(key?.publicKey) ? (key as StoredKey) : undefined;
}

function parseVersioned<Row>(
  value: unknown,
  isRow: (record: Record<string, unknown>) => boolean,
): Row | 'newer' | undefined {
  if (typeof value !== 'object' || value === null) return undefined;
  const record = value as Record<string, unknown>;
  const { version } = record;
  if (typeof version === 'number' && version > RECORD_VERSION) return 'newer';
  return version === RECORD_VERSION && isRow(record) ? (record as Row) : undefined;
}

function isPoint(value: unknown): boolean {
  return value instanceof Uint8Array && value.length === 65 && value[0] === 4;
}

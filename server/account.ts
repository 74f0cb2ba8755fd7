import { decodeJson, encodeJson, utf8Length } from 'webgram';
import type { Account } from './store/store.ts';

/** What the application says of the user of an account, for lists of accounts. */
export interface Profile {
  /** Name to show. */
  label?: string;
  /** Address of a picture. */
  picture?: string;
}

/** What the server keeps of a session besides its data. */
export interface SessionRecord {
  /** The `sessionID` as a string. */
  readonly id: string;
  /** User id since the last `login`; absent without one. */
  readonly account?: string;
  readonly profile: Readonly<Profile>;
  readonly created: Date;
}

/** What `$login` listeners are given. */
export interface Login {
  account: string;
  profile: Readonly<Profile>;
}

/** Longest user id, in UTF-16 units. */
const MAX_ACCOUNT_LENGTH = 256;
/** Longest profile, in bytes of encoded JSON. */
const MAX_PROFILE_BYTES = 65_536;

/**
 * Checks what `login` was given, and encodes the profile.
 *
 * @throws {TypeError | RangeError}
 */
export function encodeProfile(account: string, profile: Profile): string | undefined {
  if (typeof account !== 'string') throw new TypeError(`'account' must be a string, got ${typeof account}`);
  if (account === '' || account.length > MAX_ACCOUNT_LENGTH) {
    throw new RangeError(`'account' must have 1 to ${MAX_ACCOUNT_LENGTH} characters`);
  }
  const kept: Profile = {};
  for (const name of ['label', 'picture'] as const) {
    const value: unknown = profile[name];
    if (value === undefined) continue;
    if (typeof value !== 'string') throw new TypeError(`'${name}' must be a string, got ${typeof value}`);
    kept[name] = value;
  }
  if (Object.keys(kept).length === 0) return undefined;
  const encoded = encodeJson(kept);
  if (utf8Length(encoded) > MAX_PROFILE_BYTES) {
    throw new RangeError(`a profile must have at most ${MAX_PROFILE_BYTES} bytes`);
  }
  return encoded;
}

export function recordOf(sessionID: number, createdMs: number, account: Account | undefined): SessionRecord {
  const profile = account?.profile === undefined ? {} : (decodeJson(account.profile) as Profile);
  return {
    id: String(sessionID),
    ...(account === undefined ? {} : { account: account.name }),
    profile,
    created: new Date(createdMs),
  };
}

import { toBase64url } from 'webgram';
import type { Bytes, Crypto, DenialCode, OutcomeReason, SigningKey } from 'webgram';
import {
  addressPrefix,
  identityKey,
  parseIdentityRecord,
  parseServerRecord,
  RECORD_VERSION,
  serverKey,
} from './identity-records.ts';
import type { IdentityRecord, ServerRecord } from './identity-records.ts';
import type { KeyStore, Write } from './key-store.ts';

/** Makes identity keys and signs with them: WebCrypto in browsers. */
export interface KeyMaker {
  /** Makes a P-256 key pair. `privateKey` is opaque to everyone else, and what the key store keeps. */
  generate(): Promise<{ publicKey: Bytes; privateKey: unknown }>;
  /** @throws when `privateKey` is not what `generate` made. */
  signingKey(publicKey: Bytes, privateKey: unknown): SigningKey;
}

/** Why an identity had to be made. */
export type NewReason = Exclude<OutcomeReason, 'joined' | 'resumed' | 'overflow' | 'retention'>;

/** An identity that can sign. */
export interface Identity {
  /** Names it in this browser. */
  readonly localID: string;
  /** In base64url. */
  readonly storeID: string;
  readonly key: SigningKey;
  readonly account: string | undefined;
  /** `null` until the first verified `session-ok`. */
  sessionID: number | null;
  /** `memory`: it ends with the host. */
  storage: 'persistent' | 'memory';
  /** Why it was made; `undefined` when it was found. */
  readonly madeBecause: NewReason | undefined;
}

export interface KeyringOptions {
  /** Normalised WebSocket address of the server. */
  address: string;
  store: KeyStore;
  keys: KeyMaker;
  crypto: Pick<Crypto, 'randomBytes' | 'verify'>;
  /** Wall clock, ms since 1970. */
  nowMs: () => number;
}

/**
 * The identities of this browser at one server address, and the server keys that were seen there.
 *
 * No word of the network but an authenticated `revoked` or `expired` removes an identity. A store that cannot be
 * read is never taken for one without identities: what had to be made then lives in memory and says so.
 */
export class Keyring {
  readonly #options: KeyringOptions;
  readonly #prefix: string;
  readonly #inMemory = new Map<string, Identity>();
  readonly #replacedBecause = new Map<string, NewReason>();
  #pins: readonly Bytes[] = [];

  constructor(options: KeyringOptions) {
    this.#options = options;
    this.#prefix = addressPrefix(options.address);
  }

  /** Returns the server keys that are known for this address; none before the first verified `session-ok`. */
  async pins(): Promise<readonly Bytes[]> {
    const server = parseServerRecord((await this.#read())?.get(serverKey(this.#options.address)));
    if (server !== undefined && server !== 'newer' && server.pins.length > 0) this.#pins = server.pins;
    return this.#pins;
  }

  /**
   * Finds the identity in use for one store of the server, or makes it: generated, written durably, read back, and
   * trusted only when what was read back signs.
   *
   * @param storeID In base64url.
   * @param freshBecause Make one even if there is one, which stays in the store, and say this reason.
   */
  async identity(storeID: string, freshBecause?: NewReason): Promise<Identity> {
    const fresh = freshBecause !== undefined;
    if (fresh) this.#replacedBecause.set(storeID, freshBecause);
    const remembered = this.#inMemory.get(storeID);
    if (remembered !== undefined && !fresh) return remembered;

    const records = await this.#read();
    const found = records && pickActive(records, this.#options.address, storeID);
    if (records === undefined || found === 'newer') {
      return this.#keepInMemory(await this.#make(storeID), this.#reasonFor(storeID, undefined));
    }
    if (found !== undefined && !fresh) {
      const identity = await this.#usable(found, undefined);
      if (identity !== undefined) return identity;
      await this.#setAside(found, 'key-lost');
      this.#replacedBecause.set(storeID, 'key-lost');
    }
    return this.#makeAndStore(storeID, this.#reasonFor(storeID, records), fresh);
  }

  /**
   * Notes what a verified `session-ok` said.
   *
   * @param pins `S` of this hello and `otherS`.
   */
  async confirm(identity: Identity, sessionID: number, pins: readonly Bytes[]): Promise<void> {
    identity.sessionID = sessionID;
    this.#pins = pins;
    this.#replacedBecause.delete(identity.storeID);
    if (identity.storage === 'memory') return;
    const records = await this.#read();
    if (records !== undefined && this.#confirmed(records, identity, pins).length === 0) return;
    try {
      await this.#options.store.update(this.#prefix, (now) => this.#confirmed(now, identity, pins));
    } catch {
      // Nothing is lost: the next run creates the session again with the same key and gets the same one.
    }
  }

  /**
   * Does what a verified denial allows: `revoked` and `expired` drop the identity; `unknown` and `renewed` set it
   * aside. The next call of `identity` makes a new one.
   */
  async denied(identity: Identity, denial: DenialCode): Promise<void> {
    const { storeID, localID, storage } = identity;
    this.#replacedBecause.set(storeID, REASON_OF_DENIAL[denial]);
    if (this.#inMemory.get(storeID) === identity) this.#inMemory.delete(storeID);
    if (storage === 'memory') return;
    if (denial === 'unknown' || denial === 'renewed') await this.#setAside(identity, denial);
    else await this.#write(() => [[identityKey(this.#options.address, storeID, localID), undefined]]);
  }

  #reasonFor(storeID: string, records: ReadonlyMap<string, unknown> | undefined): NewReason {
    const replaced = this.#replacedBecause.get(storeID);
    if (replaced !== undefined) return replaced;
    const server = parseServerRecord(records?.get(serverKey(this.#options.address)));
    if (server === undefined || server === 'newer') return 'new';
    // It was in use, and its record is gone or cannot be understood.
    if (Object.hasOwn(server.active, storeID)) return 'key-lost';
    return Object.keys(server.active).length > 0 ? 'store-lost' : 'new';
  }

  async #make(storeID: string): Promise<IdentityRecord> {
    const { publicKey, privateKey } = await this.#options.keys.generate();
    return {
      version: RECORD_VERSION,
      localID: toBase64url(this.#options.crypto.randomBytes(16)),
      storeID,
      publicKey,
      privateKey,
      sessionID: null,
      createdAtMs: this.#options.nowMs(),
    };
  }

  async #makeAndStore(storeID: string, reason: NewReason, fresh: boolean): Promise<Identity> {
    const { address, store } = this.#options;
    const made = await this.#make(storeID);
    const key = identityKey(address, storeID, made.localID);
    try {
      await store.update(this.#prefix, (now) => {
        const server = parseServerRecord(now.get(serverKey(address)));
        // Another host of this storage may have been faster.
        const isTaken = !fresh && pickActive(now, address, storeID) !== undefined;
        if (server === 'newer' || isTaken) return [];
        const active = { ...server?.active, [storeID]: made.localID };
        return [
          [key, made],
          [serverKey(address), { ...(server ?? NO_SERVER), active }],
        ];
      });
      const records = await store.read(this.#prefix);
      const stored = fresh ? parseIdentityRecord(records.get(key)) : pickActive(records, address, storeID);
      if (stored !== undefined && stored !== 'newer') {
        const identity = await this.#usable(stored, stored.localID === made.localID ? reason : undefined);
        if (identity !== undefined) return identity;
      }
    } catch {
      // The browser refuses to keep the key, or the disk is full: the identity itself says so.
    }
    return this.#keepInMemory(made, reason);
  }

  #keepInMemory(record: IdentityRecord, reason: NewReason): Identity {
    const { publicKey, privateKey } = record;
    const identity: Identity = {
      ...publicHalf(record),
      key: this.#options.keys.signingKey(publicKey, privateKey),
      storage: 'memory',
      madeBecause: reason,
    };
    this.#inMemory.set(record.storeID, identity);
    return identity;
  }

  /** @returns `undefined` when the key that was read does not sign. */
  async #usable(record: IdentityRecord, madeBecause: NewReason | undefined): Promise<Identity | undefined> {
    const { keys, crypto, store } = this.#options;
    const key = await provenKey(keys, crypto, record);
    return key && { ...publicHalf(record), key, storage: store.storage, madeBecause };
  }

  #confirmed(now: ReadonlyMap<string, unknown>, identity: Identity, pins: readonly Bytes[]): Write[] {
    const { address } = this.#options;
    const writes: Write[] = [];
    const key = identityKey(address, identity.storeID, identity.localID);
    const record = parseIdentityRecord(now.get(key));
    // The site's data was cleared under a living host: it goes on in memory, and says so.
    if (record === undefined) identity.storage = 'memory';
    else if (record !== 'newer' && record.sessionID !== identity.sessionID) {
      writes.push([key, { ...record, sessionID: identity.sessionID }]);
    }
    const server = parseServerRecord(now.get(serverKey(address)));
    if (server !== 'newer' && !samePins(server?.pins ?? [], pins)) {
      writes.push([serverKey(address), { ...(server ?? NO_SERVER), pins: [...pins] }]);
    }
    return writes;
  }

  async #setAside({ storeID, localID }: { storeID: string; localID: string }, reason: string): Promise<void> {
    const key = identityKey(this.#options.address, storeID, localID);
    const setAside = { reason, atMs: this.#options.nowMs() };
    await this.#write((now) => {
      const record = parseIdentityRecord(now.get(key));
      return record === undefined || record === 'newer' ? [] : [[key, { ...record, setAside }]];
    });
  }

  async #write(change: (now: ReadonlyMap<string, unknown>) => Write[]): Promise<void> {
    try {
      await this.#options.store.update(this.#prefix, change);
    } catch {
      // It stays as it was, is tried again by the next host, and gets the same denial.
    }
  }

  async #read(): Promise<ReadonlyMap<string, unknown> | undefined> {
    try {
      return await this.#options.store.read(this.#prefix);
    } catch {
      // Unreadable is not empty: the caller sees the difference.
      return undefined;
    }
  }
}

const REASON_OF_DENIAL = {
  revoked: 'revoked',
  expired: 'expired',
  unknown: 'store-lost',
  renewed: 'key-lost',
} as const satisfies Record<DenialCode, NewReason>;

const NO_SERVER: ServerRecord = { version: RECORD_VERSION, pins: [], active: {} };

const PROBE_KEY = 'probe';

/**
 * Finds out whether this place can keep a key: writes one, reads it back, signs and verifies. The key serves
 * nothing else and stays, so that the next start only has to read it.
 *
 * Needed because WebKit cannot store or read a `CryptoKey` in a SharedWorker.
 */
export async function canKeepKeys({
  store,
  keys,
  crypto,
}: Pick<KeyringOptions, 'store' | 'keys' | 'crypto'>): Promise<boolean> {
  const readBack = async (): Promise<boolean> => {
    const record = (await store.read(PROBE_KEY)).get(PROBE_KEY) as StoredKey | undefined;
    return record !== undefined && (await provenKey(keys, crypto, record)) !== undefined;
  };
  try {
    if (await readBack()) return true;
    const made = await keys.generate();
    await store.update(PROBE_KEY, () => [[PROBE_KEY, made]]);
    return await readBack();
  } catch {
    return false;
  }
}

type StoredKey = Pick<IdentityRecord, 'publicKey' | 'privateKey'>;

async function provenKey(
  keys: KeyMaker,
  crypto: Pick<Crypto, 'randomBytes' | 'verify'>,
  { publicKey, privateKey }: StoredKey,
): Promise<SigningKey | undefined> {
  const challenge = crypto.randomBytes(32);
  try {
    const key = keys.signingKey(publicKey, privateKey);
    const signature = await key.sign(challenge);
    return (await crypto.verify(publicKey, signature, challenge)) ? key : undefined;
  } catch {
    // A key that was read back damaged, or as `null`, throws instead of signing.
    return undefined;
  }
}

/**
 * Picks the identity in use: the one the server's record names, else the newest that is not set aside.
 *
 * @returns `newer` when a later version of the library wrote it.
 */
function pickActive(
  records: ReadonlyMap<string, unknown>,
  address: string,
  storeID: string,
): IdentityRecord | 'newer' | undefined {
  const server = parseServerRecord(records.get(serverKey(address)));
  if (server === 'newer') return 'newer';
  let newest: IdentityRecord | undefined;
  const prefix = identityKey(address, storeID, '');
  for (const [key, value] of records) {
    if (!key.startsWith(prefix)) continue;
    const record = parseIdentityRecord(value);
    if (record === 'newer') return 'newer';
    if (record === undefined || record.setAside !== undefined) continue;
    if (record.localID === server?.active[storeID]) return record;
    if (newest === undefined || record.createdAtMs > newest.createdAtMs) newest = record;
  }
  return newest;
}

function publicHalf(record: IdentityRecord): Pick<Identity, 'localID' | 'storeID' | 'sessionID' | 'account'> {
  const { localID, storeID, sessionID, account } = record;
  return { localID, storeID, sessionID, account };
}

function samePins(a: readonly Bytes[], b: readonly Bytes[]): boolean {
  const names = new Set(a.map(toBase64url));
  return a.length === b.length && b.every((pin) => names.has(toBase64url(pin)));
}

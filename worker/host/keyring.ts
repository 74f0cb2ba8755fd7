import { toBase64url } from 'webgram';
import type { Bytes, Crypto, DenialCode, SigningKey } from 'webgram';
import type { Identity, NewReason } from './identity.ts';
import {
  addressPrefix,
  identityKey,
  nextKeyOf,
  ownIdentityRecord,
  parseIdentityRecord,
  parseServerRecord,
  RECORD_VERSION,
  serverKey,
} from './identity-records.ts';
import type { IdentityRecord, Profile, ServerRecord, SetAside, StoredKey } from './identity-records.ts';
import { provenKey } from './key-proof.ts';
import type { KeyMaker } from './key-proof.ts';
import type { KeyStore, Write } from './key-store.ts';
import type { Clock } from './platform.ts';

/** How long a key that the server did not know is kept, in ms. */
export const KEEP_ASIDE_MS = 30 * 86_400_000;
/** How often such a key is tried again, in ms. */
export const TRY_ASIDE_MS = 86_400_000;

export interface KeyringOptions {
  /** Normalised WebSocket address of the server. */
  address: string;
  keyStore: KeyStore;
  keys: KeyMaker;
  crypto: Pick<Crypto, 'randomBytes' | 'verify'>;
  clock: Pick<Clock, 'nowMs'>;
  /** Something that is known of the identities has changed. Default: nobody wants to know. */
  changed?: () => void;
}

/** Set aside because the user has signed out, which the server is still to be told. */
export const SIGNED_OUT = 'signed-out';

/**
 * The identities of this browser at one server address, and the server keys that were seen there.
 *
 * No word of the network but an authenticated `revoked` or `expired` removes an identity. A store that cannot be
 * read is never taken for one without identities: what had to be made then lives in memory and says so.
 */
export class Keyring {
  readonly #options: KeyringOptions;
  readonly #prefix: string;
  /** Those that end with this host, by localID. */
  readonly inMemory = new Map<string, Identity>();
  /** Those of them that are in use, by storeID. */
  readonly activeInMemory = new Map<string, Identity>();
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
    const remembered = this.activeInMemory.get(storeID);
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
   * Finds an identity by its id, else by its user id or the name that the user has given it.
   *
   * @param aside Why it was set aside, when one is wanted that was.
   * @returns With whether it is the one in use; `undefined` when there is none.
   * @throws when the store cannot be read.
   */
  async find(name: string, aside?: string): Promise<[Identity, boolean] | undefined> {
    const known = [...this.inMemory.values()].find((identity) => isNamed(identity, name));
    if (known !== undefined) return [known, this.activeInMemory.get(known.storeID) === known];
    const records = await this.records();
    const named = [...records.values()]
      .map(ownIdentityRecord)
      .filter((record) => record !== undefined)
      .filter((record) => record.setAside?.reason === aside && isNamed(record, name));
    const record = named.find(({ localID }) => localID === name) ?? named.at(-1);
    const identity = record && (await this.#usable(record, undefined));
    if (identity === undefined) return undefined;
    const active = pickActive(records, this.#options.address, identity.storeID);
    return [identity, typeof active === 'object' && active.localID === identity.localID];
  }

  /** Forgets an identity that ends with this host. */
  forgetInMemory({ localID, storeID }: Identity): void {
    this.inMemory.delete(localID);
    if (this.activeInMemory.get(storeID)?.localID === localID) this.activeInMemory.delete(storeID);
  }

  /**
   * Finds an identity that the server did not know and that is to be tried again today. `denied` or `confirmed` follows.
   * Forgets those that were set aside more than 30 days ago.
   */
  async setAsideToTry(storeID: string): Promise<Identity | undefined> {
    const nowMs = this.#options.clock.nowMs();
    let due: IdentityRecord | undefined;
    await this.#write((records) => {
      const writes: Write[] = [];
      for (const [name, value] of records) {
        const record = ownIdentityRecord(value);
        if (record?.setAside === undefined) continue;
        const { reason, atMs, triedAtMs = atMs } = record.setAside;
        // The wall clock may have been set.
        const isDue = reason === 'unknown' && Math.abs(nowMs - triedAtMs) >= TRY_ASIDE_MS;
        if (nowMs - atMs > KEEP_ASIDE_MS) writes.push([name, undefined]);
        else if (isDue && record.storeID === storeID && due === undefined) {
          due = record;
          writes.push([name, { ...record, setAside: { ...record.setAside, triedAtMs: nowMs } }]);
        }
      }
      return writes;
    });
    const identity = due && (await this.#usable(due, undefined));
    return identity && { ...identity, isAside: true };
  }

  /**
   * Notes what a verified `session-ok` said, or a `renew-ok`.
   *
   * @param key The key that is good; of two, the other one is forgotten.
   * @param pins `S` of the hello and `otherS`. Default: as they were.
   */
  async confirmed(identity: Identity, key: SigningKey, sessionID: number, pins = this.#pins): Promise<void> {
    const loser = key === identity.key ? identity.next : identity.key;
    identity.key = key;
    identity.sessionID = sessionID;
    this.#pins = pins;
    this.#replacedBecause.delete(identity.storeID);
    await this.#settle(identity, loser, pins);
  }

  /** Notes what the server says of the user. */
  async note(identity: Identity, profile: Profile): Promise<void> {
    identity.profile = profile;
    if (!identity.isStored) this.tellChange();
    const name = this.#nameOf(identity);
    await this.#write((now) => {
      const record = ownIdentityRecord(now.get(name));
      if (record === undefined) return [];
      const isKnown = JSON.stringify(record.profile ?? {}) === JSON.stringify(profile);
      return isKnown ? [] : [[name, { ...record, profile }]];
    });
  }

  /**
   * Does what a verified denial allows: `revoked` and `expired` drop the identity; `unknown` and `renewed` set it
   * aside. The next call of `identity` makes a new one.
   */
  async denied(identity: Identity, denial: DenialCode): Promise<void> {
    const { storeID, isAside } = identity;
    if (!isAside) this.#replacedBecause.set(storeID, reasonOf(denial));
    this.forgetInMemory(identity);
    if (denial === 'unknown' || denial === 'renewed') await this.#setAside(identity, denial);
    else await this.#write(() => [[this.#nameOf(identity), undefined]]);
  }

  #reasonFor(storeID: string, records: ReadonlyMap<string, unknown> | undefined): NewReason {
    const replaced = this.#replacedBecause.get(storeID);
    if (replaced !== undefined) return replaced;
    const server = parseServerRecord(records?.get(serverKey(this.#options.address)));
    // Or it was taken away on purpose.
    if (server === undefined || server === 'newer' || server.active[storeID] === '') return 'new';
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
      createdAtMs: this.#options.clock.nowMs(),
    };
  }

  async #makeAndStore(storeID: string, reason: NewReason, fresh: boolean): Promise<Identity> {
    const { address, keyStore } = this.#options;
    const made = await this.#make(storeID);
    const key = this.#nameOf(made);
    try {
      await this.update((now) => {
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
      const records = await keyStore.read(this.#prefix);
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
      next: undefined,
      storage: 'memory',
      isStored: false,
      madeBecause: reason,
    };
    this.inMemory.set(identity.localID, identity);
    this.activeInMemory.set(identity.storeID, identity);
    this.tellChange();
    return identity;
  }

  /** @returns `undefined` when the key that was read does not sign. */
  async #usable(record: IdentityRecord, madeBecause: NewReason | undefined): Promise<Identity | undefined> {
    const key = await provenKey(this.#options, record);
    if (key === undefined) return undefined;
    const stored = nextKeyOf(record);
    const next = stored && (await provenKey(this.#options, stored));
    const { storage } = this.#options.keyStore;
    return { ...publicHalf(record), key, next, storage, isStored: true, madeBecause };
  }

  /** Writes that `key` is the identity's key and `loser` is not. */
  async #settle(identity: Identity, loser: SigningKey | undefined, pins: readonly Bytes[]): Promise<void> {
    const { isAside } = identity;
    identity.next = undefined;
    identity.refusals = 0;
    identity.isAside = false;
    if (!identity.isStored) {
      this.tellChange();
      return;
    }
    const winner = identity.key.publicKey;
    await this.#write((now) => {
      const writes = this.#pinWrites(now, identity, isAside, pins);
      const name = this.#nameOf(identity);
      const record = ownIdentityRecord(now.get(name));
      // The site's data was cleared under a living host: it goes on in memory, and says so.
      if (!now.has(name)) this.hasLostRecord(identity);
      if (record === undefined) return writes;
      const settled = settledRecord(record, winner, loser?.publicKey);
      const { sessionID } = identity;
      if (settled !== record || record.sessionID !== sessionID || record.setAside !== undefined) {
        const { setAside: _setAside, ...rest } = settled;
        writes.push([name, { ...rest, sessionID }]);
      }
      return writes;
    });
  }

  #pinWrites(
    now: ReadonlyMap<string, unknown>,
    { storeID, localID }: Identity,
    isBack: boolean,
    pins: readonly Bytes[],
  ): Write[] {
    const name = serverKey(this.#options.address);
    const server = parseServerRecord(now.get(name));
    if (server === 'newer') return [];
    const known = server ?? NO_SERVER;
    if (samePins(known.pins, pins) && !isBack) return [];
    const active = isBack ? { ...known.active, [storeID]: localID } : known.active;
    return [[name, { ...known, pins: [...pins], active }]];
  }

  /** The record is gone: the identity goes on in memory, and says so. */
  hasLostRecord(identity: Identity): void {
    identity.storage = 'memory';
    identity.isStored = false;
    this.inMemory.set(identity.localID, identity);
    if (!this.activeInMemory.has(identity.storeID)) this.activeInMemory.set(identity.storeID, identity);
    this.tellChange();
  }

  async #setAside({ storeID, localID }: { storeID: string; localID: string }, reason: string): Promise<void> {
    const key = this.#nameOf({ storeID, localID });
    await this.#write((now) => {
      const record = ownIdentityRecord(now.get(key));
      if (record === undefined) return [];
      const setAside: SetAside = { atMs: this.#options.clock.nowMs(), ...record.setAside, reason };
      return [[key, { ...record, setAside }]];
    });
  }

  #nameOf({ storeID, localID }: { storeID: string; localID: string }): string {
    return identityKey(this.#options.address, storeID, localID);
  }

  /** Returns all records under a prefix, mostly of the address. @throws when they cannot be read. */
  records(prefix = this.#prefix): Promise<ReadonlyMap<string, unknown>> {
    return this.#options.keyStore.read(prefix);
  }

  /** Something that no record knows has changed. */
  tellChange(): void {
    this.#options.changed?.();
  }

  /** Changes records, durably. @throws when that fails. */
  async update(change: (now: ReadonlyMap<string, unknown>) => readonly Write[]): Promise<void> {
    let isChanged = false;
    await this.#options.keyStore.update(this.#prefix, (now) => {
      const writes = change(now);
      isChanged = writes.length > 0;
      return writes;
    });
    if (isChanged) this.tellChange();
  }

  async #write(change: (now: ReadonlyMap<string, unknown>) => Write[]): Promise<void> {
    try {
      await this.update(change);
    } catch {
      // It stays as it was. The next host does the same with the same keys, and is told the same by the server.
    }
  }

  async #read(): Promise<ReadonlyMap<string, unknown> | undefined> {
    try {
      return await this.records();
    } catch {
      // Unreadable is not empty: the caller sees the difference.
      return undefined;
    }
  }
}

function reasonOf(denial: DenialCode): NewReason {
  if (denial === 'unknown') return 'store-lost';
  return denial === 'renewed' ? 'key-lost' : denial;
}

const NO_SERVER: ServerRecord = { version: RECORD_VERSION, pins: [], active: {} };

function isNamed({ localID, profile, name }: Omit<Partial<Identity>, 'next'>, wanted: string): boolean {
  return localID === wanted || profile?.account === wanted || name === wanted;
}

/**
 * Picks the identity in use: the one the server's record names. Where that record is lost, the newest that is not set
 * aside; not where the one that it names is gone, because the others are other people's.
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
  const active = server?.active[storeID];
  let newest: IdentityRecord | undefined;
  const prefix = identityKey(address, storeID, '');
  for (const [key, value] of records) {
    if (!key.startsWith(prefix)) continue;
    const record = parseIdentityRecord(value);
    if (record === 'newer') return 'newer';
    if (record === undefined || record.setAside !== undefined) continue;
    if (record.localID === active) return record;
    if (active !== undefined) continue;
    if (newest === undefined || record.createdAtMs > newest.createdAtMs) newest = record;
  }
  return newest;
}

/** @returns The record with the one key that has won; the same record when there is nothing to settle. */
function settledRecord(record: IdentityRecord, winner: Bytes, loser: Bytes | undefined): IdentityRecord {
  const next: StoredKey | undefined = nextKeyOf(record);
  if (next === undefined) return record;
  const { next: _next, ...rest } = record;
  if (samePoint(next.publicKey, winner)) return { ...rest, ...next };
  const hasLost = loser !== undefined && samePoint(next.publicKey, loser);
  return hasLost && samePoint(record.publicKey, winner) ? rest : record;
}

function publicHalf(
  record: IdentityRecord,
): Omit<Identity, 'key' | 'next' | 'storage' | 'isStored' | 'madeBecause'> {
  const { localID, storeID, sessionID, profile = {}, name, createdAtMs } = record;
  return { localID, storeID, sessionID, profile, name, createdAtMs, refusals: 0, isAside: false };
}

function samePoint(a: Bytes, b: Bytes): boolean {
  return toBase64url(a) === toBase64url(b);
}

function samePins(a: readonly Bytes[], b: readonly Bytes[]): boolean {
  return String(a.map(toBase64url).sort()) === String(b.map(toBase64url).sort());
}

import { WebgramError } from 'webgram';
import type { Identity } from '../identity.ts';
import type { IdentityLink } from '../identity-link.ts';
import {
  identityKey,
  ownIdentityRecord,
  parseServerRecord,
  RECORD_VERSION,
  serverKey,
} from '../identity-records.ts';
import type { IdentityRecord, ServerRecord } from '../identity-records.ts';
import type { Write } from '../key-store.ts';
import { SIGNED_OUT } from '../keyring.ts';
import type { IdentityInfo } from '../port-protocol.ts';
import { parseMessage, queuePrefix } from '../queue/queue-records.ts';
import type { CallingTab, IdentityWallet, WalletCall, WalletEntry, WalletHost } from './identity-wallet.ts';

/** Longest name that a user can give, in UTF-16 units. */
const MAX_NAME_LENGTH = 64;

/** An entry, and where it comes from. */
interface Known {
  entry: WalletEntry;
  storeID: string;
  /** It ends with this host. */
  inMemory?: Identity;
}

/** A call that waits for the server. */
interface Waiting {
  tab: CallingTab;
  call: number;
  served: IdentityLink;
}

/**
 * The identities of a browser, as its user sees them: lists them, and does what the user wants with them.
 *
 * It is loaded behind the first link, and holds nothing that is not in the storage or in the links.
 */
export class Wallet implements IdentityWallet {
  readonly #host: WalletHost;
  /** Calls of `add` whose identity has no session yet. */
  readonly #adds = new Set<Waiting>();
  /** One change at a time, so that each sees what the one before has written. */
  #last: Promise<unknown> = Promise.resolve();

  constructor(host: WalletHost) {
    this.#host = host;
  }

  call(tab: CallingTab, { call, what, args }: WalletCall, served: IdentityLink): void {
    this.#last = this.#last.then(async () => {
      try {
        const link = served.heir;
        if (what === 'add') {
          await this.#add(link);
          this.#adds.add({ tab, call, served });
          this.changed(link.address);
        } else {
          const behind: (() => void)[] = [];
          tab.post({ kind: 'answer', call, value: await this.#do(link, what, args, behind) });
          for (const act of behind) act();
        }
      } catch (error) {
        refuse(tab, call, error);
      }
    });
  }

  linked(identityLink: IdentityLink): void {
    void this.#resumeOthers(identityLink).catch(() => {
      // The next link tries it again.
    });
  }

  changed(address: string): void {
    for (const waiting of [...this.#adds]) {
      const { tab, call, served } = waiting;
      if (served.address !== address) continue;
      const identity = this.#host.activeAt(address)?.identity;
      if (identity === undefined || identity.sessionID === null) continue;
      this.#adds.delete(waiting);
      this.#known(served.heir).then(
        (all) => {
          const entry = all.find(({ entry: { id } }) => id === identity.localID)?.entry;
          tab.post({ kind: 'answer', call, value: entry });
        },
        (error: unknown) => {
          refuse(tab, call, error);
        },
      );
    }
  }

  /** @param behind Takes what is to be done behind the answer. */
  async #do(link: IdentityLink, what: string, args: unknown[], behind: (() => void)[]): Promise<unknown> {
    const [id, name] = args;
    switch (what) {
      case 'list':
        return (await this.#known(link)).map(({ entry }) => entry);
      case 'switch':
        return this.#switchTo(link, await this.#find(link, id));
      case 'rename':
        return this.#rename(link, await this.#find(link, id), name);
      case 'sign-out':
        return this.#leave(link, await this.#find(link, id), SIGNED_OUT, behind);
      case 'forget':
        return this.#leave(link, await this.#find(link, id), 'forgotten', behind);
      default:
        throw new WebgramError('WEBGRAM_BAD_REQUEST', 'there is no such call');
    }
  }

  // ---- what there is

  /** Returns all that can be used, oldest first. */
  async #known(link: IdentityLink): Promise<Known[]> {
    const { address } = link;
    const keyring = this.#host.keyring(address);
    const records = await keyring.records();
    const server = serverOf(records, address);
    const current = link.identity;
    const storeID = current?.storeID;
    const known = new Map<string, Known>();
    for (const value of records.values()) {
      const record = ownIdentityRecord(value);
      if (record === undefined || record.setAside !== undefined) continue;
      const isActive = server.active[record.storeID] === record.localID;
      const entry = entryOf(record, isActive, 'persistent');
      known.set(entry.id, { entry, storeID: record.storeID });
    }
    for (const identity of keyring.inMemory.values()) {
      const isActive = keyring.activeInMemory.get(identity.storeID) === identity;
      const entry = entryOf(identity, isActive, identity.storage);
      known.set(entry.id, { entry, storeID: identity.storeID, inMemory: identity });
    }
    // What was never in session is nobody's yet, unless it is just being made.
    const shown = [...known.values()].filter(
      ({ entry, ...of }) =>
        (storeID === undefined || of.storeID === storeID) &&
        (entry.sessionID !== undefined || entry.isActive),
    );
    for (const { entry } of shown) entry.isCurrent = entry.id === current?.localID;
    return shown.sort((a, b) => a.entry.createdAtMs - b.entry.createdAtMs);
  }

  /** @throws {WebgramError} `WEBGRAM_UNKNOWN_IDENTITY` */
  async #find(link: IdentityLink, id: unknown): Promise<Known> {
    const found = (await this.#known(link)).find(({ entry }) => entry.id === id);
    if (found === undefined) throw new WebgramError('WEBGRAM_UNKNOWN_IDENTITY', 'no such identity');
    return found;
  }

  // ---- what is done

  async #switchTo(link: IdentityLink, { entry, storeID, inMemory }: Known): Promise<void> {
    const { address } = link;
    const keyring = this.#host.keyring(address);
    const before = this.#host.activeAt(address);
    if (inMemory === undefined) {
      let was: string | undefined;
      await keyring.update((now) => {
        const server = serverOf(now, address);
        was = server.active[storeID];
        return was === entry.id ? [] : [[serverKey(address), withActive(server, storeID, entry.id)]];
      });
      // It may not know yet which one it is.
      if (was) before?.bind(was);
    }
    if (inMemory === undefined) keyring.activeInMemory.delete(storeID);
    else keyring.activeInMemory.set(storeID, inMemory);
    keyring.tellChange();
    this.#activate(link, entry.id, infoOf(entry));
  }

  /** Makes one without an account the active one: another that is there, or a new one. */
  async #add(link: IdentityLink): Promise<void> {
    const active = this.#host.activeAt(link.address);
    if (active?.isFresh) return;
    const known = await this.#known(link);
    const free = known.filter(({ entry }) => entry.account === undefined);
    const unused = free.find(({ entry }) => entry.isActive) ?? free.at(-1);
    // The first of all is on its way.
    if (active?.isOpen && !known.some(({ entry }) => entry.isActive)) return;
    if (unused === undefined) this.#activate(link, null);
    else if (!unused.entry.isActive) await this.#switchTo(link, unused);
  }

  async #rename(link: IdentityLink, { entry, storeID, inMemory }: Known, name: unknown): Promise<void> {
    if (typeof name !== 'string' || name.length > MAX_NAME_LENGTH) {
      throw new WebgramError('WEBGRAM_BAD_REQUEST', `a name has at most ${MAX_NAME_LENGTH} characters`);
    }
    const { address } = link;
    const keyring = this.#host.keyring(address);
    const chosen = name === '' ? undefined : name;
    for (const { identity } of this.#host.linksAt(address)) {
      if (identity?.localID === entry.id) identity.name = chosen;
    }
    if (inMemory !== undefined) inMemory.name = chosen;
    const key = identityKey(address, storeID, entry.id);
    await keyring.update((now) => {
      const record = ownIdentityRecord(now.get(key));
      if (record === undefined || record.name === chosen) return [];
      const { name: _name, ...rest } = record;
      return [[key, chosen === undefined ? rest : { ...rest, name: chosen }]];
    });
    if (inMemory !== undefined) keyring.tellChange();
  }

  /** Takes an identity out of use for good. If it was active, one without an account follows. */
  async #leave(
    link: IdentityLink,
    { entry, storeID, inMemory }: Known,
    why: typeof SIGNED_OUT | 'forgotten',
    behind: (() => void)[],
  ): Promise<void> {
    const { address } = link;
    const keyring = this.#host.keyring(address);
    const key = identityKey(address, storeID, entry.id);
    let wasActive = entry.isActive;
    await keyring.update((now) => {
      const writes: Write[] = [];
      const server = serverOf(now, address);
      wasActive ||= server.active[storeID] === entry.id;
      // Nobody becomes another person by leaving.
      if (server.active[storeID] === entry.id) {
        writes.push([serverKey(address), withActive(server, storeID, '')]);
      }
      const record = ownIdentityRecord(now.get(key));
      if (record !== undefined) {
        const aside: IdentityRecord = {
          ...record,
          setAside: { reason: why, atMs: this.#host.platform.clock.nowMs() },
        };
        writes.push([key, why === SIGNED_OUT ? aside : undefined]);
      }
      return writes;
    });
    const living = this.#host.linksAt(address).find(({ identity }) => identity?.localID === entry.id);
    if (inMemory !== undefined) keyring.forgetInMemory(inMemory);
    if (wasActive) await this.#add(link);
    keyring.tellChange();
    behind.push(() => {
      living?.dismiss(why);
      if (why === SIGNED_OUT) (living ?? this.#open(link, entry.id)).end();
    });
  }

  /** Sends all tabs there that keep to no identity. @param id `null`: a new one. */
  #activate(link: IdentityLink, id: string | null, to?: IdentityInfo): void {
    const { address } = link;
    const before = this.#host.activeAt(address);
    const present = this.#host.linksAt(address).find(({ identity }) => identity?.localID === id);
    const next = present ?? this.#open(link, id);
    if (next === before) return;
    this.#host.setActive(next);
    next.visit();
    before?.tabs.switchFollowers(to);
  }

  #open(link: IdentityLink, id: string | null): IdentityLink {
    return this.#host.open({ ...link.wish, identity: id ?? undefined, fresh: id === null });
  }

  /** Ends sessions that were signed out while the server was away, and sends what is queued for identities not in use. */
  async #resumeOthers(link: IdentityLink): Promise<void> {
    const { address } = link;
    const storeID = link.identity?.storeID;
    const keyring = this.#host.keyring(address);
    const isBusy = (id: string): boolean => this.#host.linksAt(address).some((other) => other.isOf(id));
    for (const value of (await keyring.records()).values()) {
      const record = ownIdentityRecord(value);
      if (record?.setAside?.reason !== SIGNED_OUT || record.storeID !== storeID) continue;
      if (!isBusy(record.localID)) this.#open(link, record.localID).end();
    }
    const queued = [...(await keyring.records(queuePrefix(address))).values()].map(parseMessage);
    const owners = new Set(queued.map((message) => (typeof message === 'object' ? message.localID : null)));
    for (const id of owners) {
      if (id !== null && !isBusy(id)) this.#open(link, id).visit();
    }
  }
}

/** What is no error of ours comes from the storage. */
function refuse(tab: CallingTab, call: number, error: unknown): void {
  const isOwn = error instanceof WebgramError;
  const { message } = error as Error;
  tab.post({ kind: 'answer', call, error: { code: isOwn ? error.code : 'WEBGRAM_STORAGE_FAILED', message } });
}

function serverOf(records: ReadonlyMap<string, unknown>, address: string): ServerRecord {
  const server = parseServerRecord(records.get(serverKey(address)));
  if (server === 'newer') {
    throw new WebgramError(
      'WEBGRAM_STORAGE_FAILED',
      'a later version of the library keeps the identities here',
    );
  }
  return server ?? { version: RECORD_VERSION, pins: [], active: {} };
}

function withActive(server: ServerRecord, storeID: string, localID: string): ServerRecord {
  return { ...server, active: { ...server.active, [storeID]: localID } };
}

function entryOf(
  {
    localID: id,
    sessionID,
    profile,
    name,
    createdAtMs,
  }: Pick<IdentityRecord | Identity, 'localID' | 'sessionID' | 'profile' | 'name' | 'createdAtMs'>,
  isActive: boolean,
  storage: WalletEntry['storage'],
): WalletEntry {
  return {
    id,
    ...(sessionID === null ? {} : { sessionID }),
    ...profile,
    ...(name === undefined ? {} : { name }),
    isActive,
    isCurrent: false,
    storage,
    createdAtMs,
  };
}

function infoOf({ id, sessionID, account, label, picture, storage }: WalletEntry): IdentityInfo | undefined {
  if (sessionID === undefined) return undefined;
  const shown = Object.entries({ account, label, picture }).filter(([, value]) => value !== undefined);
  return { id, sessionID, ...Object.fromEntries(shown), storage };
}

import { randomBytes } from 'node:crypto';
import { WebgramError, type Device } from 'webgram';
import { changedDevice } from './changed-device.ts';
import { randomTag } from './random-tag.ts';
import type {
  Commit,
  Created,
  DeviceChange,
  EndReason,
  KeyRow,
  Lineage,
  NewKey,
  NewSession,
  Renewed,
  SessionSummary,
  Store,
  StoredSession,
  Visits,
} from './store.ts';

interface KeptSession {
  keyID: string;
  createdMs: number;
  fromClient: string | undefined;
  generation: number;
  life: number;
  /** Absent until the first load. */
  tag?: string;
  lineage: Lineage;
  data: string | undefined;
  streams: Map<string, string>;
  visits: Visits;
  expiresAtMs: number | undefined;
  account: string | undefined;
  profile: string | undefined;
  device: Device;
  forked: boolean;
}

/**
 * Keeps sessions in this process's memory: for tests, and to try things out.
 *
 * The content belongs to the object. It stays over `close()` and the next `open()`, as a folder would.
 */
export class MemoryStore implements Store {
  readonly kind = 'memory';
  readonly #id = Uint8Array.from(randomBytes(16));
  readonly #keys = new Map<string, KeyRow>();
  readonly #sessions = new Map<number, KeptSession>();
  #nextSessionID = 1;
  #state: 'new' | 'open' | 'closed' = 'new';

  get storeID(): Uint8Array {
    if (this.#state === 'new') throw closed();
    return this.#id;
  }

  async open(): Promise<void> {
    if (this.#state === 'open') throw new TypeError("'open' wants a closed store, this one is open");
    this.#state = 'open';
  }

  async close(): Promise<void> {
    if (this.#state === 'open') this.#state = 'closed';
  }

  async nextSessionID(): Promise<number> {
    this.#mustBeOpen();
    return this.#nextSessionID;
  }

  /** A memory does not go away. */
  onChange(): () => void {
    return () => undefined;
  }

  async backup(): Promise<void> {
    this.#mustBeOpen();
    throw new WebgramError('WEBGRAM_BACKUP_FAILED', 'no backup was made: a MemoryStore keeps no files');
  }

  async create(session: NewSession): Promise<Created> {
    this.#mustBeOpen();
    const { keyID, publicKey, nowMs, fromClient, expiresAtMs, device } = session;
    const known = this.#keys.get(keyID);
    if (known?.ended !== undefined) return { ended: known.ended.reason };
    if (known !== undefined) return { sessionID: known.sessionID, created: false };
    const sessionID = this.#nextSessionID++;
    this.#keys.set(keyID, { sessionID, publicKey: Uint8Array.from(publicKey) });
    this.#sessions.set(sessionID, {
      keyID,
      createdMs: nowMs,
      fromClient,
      generation: 0,
      life: 0,
      lineage: [],
      data: undefined,
      streams: new Map(),
      visits: { firstMs: nowMs, latestMs: nowMs },
      expiresAtMs,
      account: undefined,
      profile: undefined,
      device: structuredClone(device ?? {}),
      forked: false,
    });
    return { sessionID, created: true };
  }

  async findKey(keyID: string): Promise<KeyRow | undefined> {
    this.#mustBeOpen();
    const row = this.#keys.get(keyID);
    if (row === undefined) return undefined;
    const session = this.#sessions.get(row.sessionID);
    if (session === undefined || row.ended !== undefined) return structuredClone(row);
    const { createdMs, expiresAtMs } = session;
    return structuredClone({ ...row, createdMs, ...(expiresAtMs === undefined ? {} : { expiresAtMs }) });
  }

  async claim(sessionID: number, nowMs: number): Promise<number> {
    this.#mustBeOpen();
    const session = this.#sessions.get(sessionID);
    if (!session) throw new WebgramError('WEBGRAM_SESSION_ENDED', `there is no session ${sessionID}`);
    session.generation = Math.max(session.generation + 1, nowMs);
    return session.generation;
  }

  async load(sessionID: number, nowMs: number): Promise<StoredSession | undefined> {
    this.#mustBeOpen();
    const session = this.#sessions.get(sessionID);
    if (!session) return undefined;
    session.life = Math.max(session.life + 1, nowMs);
    const tag = (session.tag = randomTag());
    const { keyID, createdMs, expiresAtMs, account, profile } = session;
    const { fromClient, generation, life, lineage, data, streams, visits, device } = session;
    return structuredClone({
      sessionID,
      keyID,
      createdMs,
      expiresAtMs,
      account,
      profile,
      fromClient,
      generation,
      life,
      tag,
      lineage,
      data,
      streams,
      visits,
      device,
    });
  }

  async commit({ sessionID, expectedTag, tag, generation, lineage, data, streams }: Commit): Promise<void> {
    this.#mustBeOpen();
    const session = this.#sessions.get(sessionID);
    if (session?.tag === undefined || session.tag !== expectedTag) {
      throw new WebgramError(
        'WEBGRAM_STORE_CONFLICT',
        `session ${sessionID} is written by somebody else or has ended`,
      );
    }
    if (session.generation > generation) {
      throw new WebgramError('WEBGRAM_STORE_CONFLICT', `session ${sessionID} has a newer link`);
    }
    session.tag = tag;
    session.lineage = structuredClone(lineage);
    if (data !== undefined) session.data = data;
    for (const [tabID, stream] of streams) {
      if (stream === null) session.streams.delete(tabID);
      else session.streams.set(tabID, stream);
    }
  }

  async renew(key: NewKey): Promise<Renewed> {
    this.#mustBeOpen();
    const { sessionID, replacedKeyID, generation, keyID, publicKey, account, clearsData, nowMs } = key;
    const session = this.#sessions.get(sessionID);
    const replaced = this.#keys.get(replacedKeyID);
    if (!session) return 'gone';
    if (!replaced || session.keyID !== replacedKeyID || session.generation !== generation)
      return 'superseded';
    if (this.#keys.has(keyID)) return 'known';
    replaced.ended = { reason: 'renewed', atMs: nowMs };
    this.#keys.set(keyID, { sessionID, publicKey: Uint8Array.from(publicKey) });
    session.keyID = keyID;
    session.account = account?.name;
    session.profile = account?.profile;
    session.forked = false;
    if (clearsData) session.data = undefined;
    return 'renewed';
  }

  async headTag(sessionID: number): Promise<string | undefined> {
    this.#mustBeOpen();
    return this.#sessions.get(sessionID)?.tag;
  }

  async writeVisits(sessionID: number, visits: Visits): Promise<void> {
    this.#mustBeOpen();
    const session = this.#sessions.get(sessionID);
    if (session) session.visits = { ...visits };
  }

  async end(sessionID: number, reason: EndReason, nowMs: number, account?: string): Promise<boolean> {
    this.#mustBeOpen();
    const session = this.#sessions.get(sessionID);
    const key = session && this.#keys.get(session.keyID);
    if (!key || (account ?? session.account) !== session.account) return false;
    key.ended = { reason, atMs: nowMs };
    return this.#sessions.delete(sessionID);
  }

  async extend(sessionID: number, expiresAtMs: number | undefined): Promise<void> {
    this.#mustBeOpen();
    const session = this.#sessions.get(sessionID);
    if (session) session.expiresAtMs = expiresAtMs;
  }

  async due(nowMs: number, limit: number): Promise<number[]> {
    this.#mustBeOpen();
    return [...this.#sessions]
      .map(([sessionID, { expiresAtMs = Infinity }]) => ({ sessionID, expiresAtMs }))
      .filter(({ expiresAtMs }) => expiresAtMs <= nowMs)
      .sort((a, b) => a.expiresAtMs - b.expiresAtMs || a.sessionID - b.sessionID)
      .slice(0, limit)
      .map(({ sessionID }) => sessionID);
  }

  async expire(sessionID: number, nowMs: number): Promise<boolean> {
    this.#mustBeOpen();
    const { expiresAtMs = Infinity } = this.#sessions.get(sessionID) ?? {};
    return expiresAtMs <= nowMs && this.end(sessionID, 'expired', nowMs);
  }

  async forgetEnded(beforeMs: number, limit: number): Promise<number> {
    this.#mustBeOpen();
    const old = [...this.#keys].filter(([, { ended }]) => ended !== undefined && ended.atMs < beforeMs);
    for (const [keyID] of old.slice(0, limit)) this.#keys.delete(keyID);
    return Math.min(old.length, limit);
  }

  async setAccount(sessionID: number, account: string | undefined): Promise<void> {
    this.#mustBeOpen();
    const session = this.#sessions.get(sessionID);
    if (!session) throw new WebgramError('WEBGRAM_SESSION_ENDED', `there is no session ${sessionID}`);
    if (session.account === account) return;
    session.account = account;
    session.profile = undefined;
  }

  async sessionsOf(account: string): Promise<number[]> {
    this.#mustBeOpen();
    return [...this.#sessions].filter(([, one]) => one.account === account).map(([sessionID]) => sessionID);
  }

  async summary(sessionID: number): Promise<SessionSummary | undefined> {
    this.#mustBeOpen();
    const session = this.#sessions.get(sessionID);
    if (!session) return undefined;
    const { account, createdMs, visits, generation, device, forked } = session;
    const lastUsedMs = Math.max(visits.latestMs, generation);
    return structuredClone({ sessionID, account, createdMs, lastUsedMs, device, forked });
  }

  async summariesOf(account: string, after: number, limit: number): Promise<SessionSummary[]> {
    const ids = (await this.sessionsOf(account)).filter((sessionID) => sessionID > after).slice(0, limit);
    const found = await Promise.all(ids.map((sessionID) => this.summary(sessionID)));
    return found.filter((one) => one !== undefined);
  }

  async updateDevice(sessionID: number, change: DeviceChange, account?: string): Promise<boolean> {
    this.#mustBeOpen();
    const session = this.#sessions.get(sessionID);
    if (!session || (account ?? session.account) !== session.account) return false;
    session.device = structuredClone(changedDevice(session.device, change));
    return true;
  }

  async markForked(sessionID: number): Promise<void> {
    this.#mustBeOpen();
    const session = this.#sessions.get(sessionID);
    if (session) session.forked = true;
  }

  #mustBeOpen(): void {
    if (this.#state !== 'open') throw closed();
  }
}

function closed(): WebgramError {
  return new WebgramError('WEBGRAM_STORE_CLOSED', 'the store is not open');
}

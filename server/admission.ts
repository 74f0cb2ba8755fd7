import {
  CLOSE,
  CONFIRM_BYTES,
  encodeJson,
  hasCode,
  parseHandshakeFrame,
  parseProofBody,
  SIGNATURE_BYTES,
  type DenialCode,
  type Device,
  type Limits,
  type Proof,
  type ServerHandshake,
} from 'webgram';
import { TooOften, type AddressLimits } from './address-limits.ts';
import { namedDevice } from './device.ts';
import { endOfLife, type Lifetime } from './lifetime.ts';
import type { Sessions } from './sessions.ts';
import type { KeyRow, Store } from './store/store.ts';

/** What deciding about proofs needs of a server. */
export interface AdmissionContext {
  store: Store;
  sessions: Pick<Sessions, 'claim' | 'expire'>;
  limits: Limits;
  lifetime: Lifetime;
  addresses: AddressLimits;
  /** Server time in ms since 1970. */
  clock: () => number;
  /**
   * A client names a session that this store has not made yet: the store is older than the client.
   *
   * @returns Whether the operator has accepted that, so that the client may be told.
   */
  storeIsBehind: (sessionID: number) => boolean;
}

/**
 * What becomes of a proof:
 * - `accepted`: it is good, what is new is durable, and the session's link is claimed.
 * - `denied`: it is to be answered with that code.
 * - `closed`: the socket is to be closed without an answer.
 * - `gone`: the client has not waited.
 */
export type Verdict =
  | {
      name: 'accepted';
      proof: Exclude<Proof, { kind: 'refused' }>;
      sessionID: number;
      generation: number;
      expiresAtMs: number | undefined;
    }
  | { name: 'denied'; code: DenialCode }
  | { name: 'closed'; code: number; reason: string }
  | { name: 'gone' };

/**
 * Decides about one proof: limits of its address first, then the proof itself, then what the store has to say.
 *
 * A failed proof changes nothing. PROTOCOL.md, "Verification and answer".
 */
export class Admission {
  readonly #context: AdmissionContext;
  readonly #ip: string;
  readonly #device: Device;
  readonly #isThere: () => boolean;

  /**
   * @param device Kept of a session that is created.
   * @param isThere Whether the client still waits.
   */
  constructor(context: AdmissionContext, ip: string, device: Device, isThere: () => boolean) {
    this.#context = context;
    this.#ip = ip;
    this.#device = device;
    this.#isThere = isThere;
  }

  /** @throws {TooOften} and whatever is wrong with the text; the socket is to be closed then. */
  async decide(handshake: ServerHandshake, text: string): Promise<Verdict> {
    const { store, sessions, clock, lifetime } = this.#context;
    const found: { row?: KeyRow | undefined; keyID?: string | undefined } = {};
    const proof = await handshake.receive(text, async (keyID) => {
      const row = (found.row = await this.#findKey(keyID));
      found.keyID = row && keyID;
      await this.#mayTry(text, found.keyID);
      return row && { publicKey: row.publicKey, ended: row.ended?.reason };
    });
    if (proof.kind === 'refused') return this.#refused(proof.code, text, found.keyID);
    const entry = found.row ?? (await this.#create(proof));
    if ('name' in entry) return entry;
    if (!this.#isThere()) return { name: 'gone' };
    const { sessionID } = entry;
    const generation = await sessions.claim(sessionID).catch((error: unknown) => {
      if (hasCode(error, 'WEBGRAM_SESSION_ENDED')) return undefined;
      throw error;
    });
    // The key may have ended since we looked. A renewal that comes later finds this generation and fails.
    const row = await store.findKey(proof.keyID);
    if (generation === undefined || row === undefined || row.ended !== undefined) {
      return { name: 'denied', code: row?.ended?.reason ?? 'unknown' };
    }
    const expiresAtMs = endOfLife(lifetime, found.row?.createdMs ?? clock(), clock());
    return { name: 'accepted', proof, sessionID, generation, expiresAtMs };
  }

  /**
   * Before anything that costs time. A key that we know may be proved: it is never refused for a limit.
   *
   * @param keyID When the store knows it.
   */
  async #mayTry(text: string, keyID: string | undefined): Promise<void> {
    const { addresses, limits } = this.#context;
    const hasFailed = addresses.hasFailedTooOften(this.#ip, keyID);
    if (keyID !== undefined) {
      if (hasFailed) await addresses.turn(this.#ip, this.#isThere);
    } else if (resumedIn(text, limits) === undefined) {
      if (!addresses.mayCreate(this.#ip)) throw new TooOften('too many new sessions');
    } else if (hasFailed) {
      throw new TooOften('too many failed proofs');
    }
  }

  /** Finds a key; one whose lifetime is over becomes a tombstone at that. */
  async #findKey(keyID: string): Promise<KeyRow | undefined> {
    const { store, sessions, clock, lifetime } = this.#context;
    const row = await store.findKey(keyID);
    if (row?.createdMs === undefined) return row;
    const { sessionID, createdMs, expiresAtMs = Infinity } = row;
    // It may have been made when the options were others.
    const lastMs = createdMs + lifetime.absoluteLifetimeMs;
    if (Math.min(expiresAtMs, lastMs) > clock()) return row;
    if (lastMs < expiresAtMs) await store.extend(sessionID, lastMs);
    return (await sessions.expire(sessionID)) ? store.findKey(keyID) : row;
  }

  async #create(proof: Proof): Promise<Verdict | { sessionID: number }> {
    const { store, clock, addresses, lifetime } = this.#context;
    if (proof.kind !== 'create') throw new TypeError('a resume must have a row');
    if (!addresses.takeCreate(this.#ip)) {
      return { name: 'closed', code: CLOSE.rate, reason: 'too many new sessions' };
    }
    const { keyID, publicKey, fromClient } = proof;
    const encoded = fromClient === null ? undefined : encodeJson(fromClient);
    const nowMs = clock();
    const expiresAtMs = endOfLife(lifetime, nowMs, nowMs);
    const device = namedDevice(this.#device, fromClient);
    const created = await store.create({ keyID, publicKey, nowMs, expiresAtMs, fromClient: encoded, device });
    if ('sessionID' in created) return created;
    return { name: 'denied', code: created.ended };
  }

  /** @param knownKeyID Of the proof, when the store knows it. */
  async #refused(code: DenialCode, text: string, knownKeyID: string | undefined): Promise<Verdict> {
    const { store, storeIsBehind, addresses, limits } = this.#context;
    if (code === 'unknown') {
      const sessionID = resumedIn(text, limits);
      const isBehind = sessionID !== undefined && sessionID >= (await store.nextSessionID());
      if (isBehind && !storeIsBehind(sessionID)) {
        // A denial would make the client put its identity aside, for a mistake of the operator.
        return { name: 'closed', code: CLOSE.tryLater, reason: 'try later' };
      }
      // A create that fails counts like one that does not, or it would be cheaper.
      if (sessionID === undefined && knownKeyID === undefined) addresses.takeCreate(this.#ip);
      else addresses.countFailure(this.#ip, knownKeyID);
    }
    return { name: 'denied', code };
  }
}

/** The sessionID that a refused proof has claimed; `undefined` when it did not resume. */
function resumedIn(text: string, limits: Limits): number | undefined {
  const lengths = [SIGNATURE_BYTES, CONFIRM_BYTES];
  const shapes = { 'session-create': lengths, 'session-resume': lengths };
  const { type, body } = parseHandshakeFrame(text, limits.maxHandshakeBytes, shapes);
  const proof = parseProofBody(type, body, limits.maxFromClientBytes);
  return proof.type === 'session-resume' ? proof.sessionID : undefined;
}

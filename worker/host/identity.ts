import type { DenialCode, OutcomeReason, SigningKey } from 'webgram';
import type { Profile } from './identity-records.ts';

/** Why an identity had to be made. */
export type NewReason = Exclude<OutcomeReason, 'joined' | 'resumed' | 'overflow' | 'retention'>;

/** An identity that can sign. */
export interface Identity {
  /** Names it in this browser. */
  readonly localID: string;
  /** In base64url. */
  readonly storeID: string;
  key: SigningKey;
  /** The key of a renewal that may have come to its end or not: one of the two is good. */
  next: SigningKey | undefined;
  /** How often a key was denied while there are two, since the last `session-ok`. */
  refusals: number;
  /** `null` until the first verified `session-ok`. */
  sessionID: number | null;
  profile: Profile;
  /** What the user calls it in this browser. */
  name: string | undefined;
  readonly createdAtMs: number;
  /** `memory`: it ends with the host. */
  storage: 'persistent' | 'memory';
  /** The key store has it. */
  isStored: boolean;
  /** The server did not know it; it is tried again. */
  isAside: boolean;
  /** Why it was made; `undefined` when it was found. */
  readonly madeBecause: NewReason | undefined;
}

/** How often keys are tried while there are two: next, current, next. PROTOCOL.md, "Renewal". */
const TRIES = 3;

/** Returns the key to prove oneself with now. */
export function keyToTry({ key, next, refusals, sessionID }: Identity): SigningKey {
  // A session that was never confirmed is created, and the next key must never create another one.
  return next === undefined || sessionID === null || refusals % 2 === 1 ? key : next;
}

/**
 * What a verified denial of one of an identity's keys means for the identity. Counts it.
 *
 * - `other-key`: the other key may be good.
 * - `drop`: the session has ended, and with it the identity.
 * - `aside`: the identity is kept, and another one is used.
 */
export function judge(identity: Identity, denial: DenialCode): 'other-key' | 'drop' | 'aside' {
  if (denial === 'revoked' || denial === 'expired') return 'drop';
  if (identity.next === undefined) return 'aside';
  identity.refusals += 1;
  return identity.refusals < TRIES ? 'other-key' : 'aside';
}

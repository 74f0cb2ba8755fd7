import type { ErrorCode, OutcomeReason } from 'webgram';

/**
 * Where a client stands.
 *
 * - `connecting`: the host is looked for, or the link is being made; `attempt` counts from 0.
 * - `active`: in session.
 * - `waiting`: the link is down and is tried again at `retryAtMs` (ms since 1970), or earlier when the page is focused or
 *   comes online. `reason` is for people, but for `server-key-changed`, `superseded` (another host with this identity has
 *   taken the session over) and `forked` (it was a copy of the identity).
 * - `offline`: there is no browser here, and nothing is ever sent.
 * - `denied` (final): the server has ended the session, authenticated; `reason` is its word.
 * - `closed` (final): `code` is `WEBGRAM_CLOSED` after `close()` of this client or of its conn at the server, and
 *   `WEBGRAM_NO_HOST` when this browser or page cannot run the host, `WEBGRAM_TOO_MANY_TABS` when the one that runs does
 *   not serve this tab, and `WEBGRAM_VERSION_SKEW` when it is of a newer version: reload the page. `reason` says it in
 *   words.
 */
export type ClientState =
  | { name: 'connecting'; attempt: number }
  | { name: 'active' }
  | { name: 'waiting'; retryAtMs: number; reason: string }
  | { name: 'offline' }
  | { name: 'denied'; reason: string }
  | { name: 'closed'; code: ErrorCode; reason: string };

/** What `$session-active` tells: always, at the first time and after every interruption. */
export interface SessionActive {
  sessionID: number;
  /** The same session as before, or as in an earlier visit. */
  resumed: boolean;
  reason: OutcomeReason;
  /**
   * Messages that are known to be lost, or of which nobody knows whether they were handled: of those sent, and of those
   * that should have been received. `sent` counts once what pages before this one have lost as well.
   */
  gap: { sent: number; received: number };
}

/** The identity that this tab speaks with, as far as anybody may know it. */
export interface ClientIdentity {
  /** Names it in this browser, never at the server. */
  id: string;
  sessionID: number;
  /** The user id that the session is bound to since the last `conn.login`; absent without one. */
  account?: string;
  /** What the server wants to be shown of the user. */
  label?: string;
  picture?: string;
  /** `memory`: the browser refused to keep the key; it ends with the host. */
  storage: 'persistent' | 'memory';
}

/** The host that serves this tab. */
export interface ClientHost {
  kind: 'shared-worker' | 'leader-tab' | 'in-process';
  /** A tab can lead others; a worker leads all of them. */
  role: 'leader' | 'follower';
  /** Why it is this host. */
  why: string;
}

/** What was sent with `durable.send` and is still to be handled; as the host has told last. */
export interface ClientQueue {
  /** Messages. */
  readonly count: number;
  /** What they take encoded, in bytes, or a little more. */
  readonly bytes: number;
  /** When the oldest was stored, ms since 1970; `undefined` when there is none. */
  readonly oldestMs?: number | undefined;
  /**
   * Returns what is queued, oldest first, without what is in it.
   *
   * @throws {WebgramError} `WEBGRAM_STORAGE_FAILED`
   */
  list(): Promise<{ type: string; bytes: number; storedMs: number }[]>;
  /**
   * Deletes what is queued. What is on its way just then may still arrive.
   *
   * @returns How many messages it were.
   * @throws {WebgramError} `WEBGRAM_STORAGE_FAILED`
   */
  clear(): Promise<number>;
}

/** News that is no state, such as `WEBGRAM_SERVER_KEY_CHANGED` and `WEBGRAM_FORKED`. */
export interface ClientNotice {
  code: string;
  message: string;
}

/** What `$switched` tells. */
export interface Switched {
  from: ClientIdentity | undefined;
  /** `undefined` while the host does not know it. */
  to: ClientIdentity | undefined;
}

/** Events of a client, with the arguments of their listeners. */
export interface ClientEvents {
  $state: (state: ClientState) => unknown;
  '$session-active': (session: SessionActive) => unknown;
  $notice: (notice: ClientNotice) => unknown;
  /**
   * The tab goes over to another identity. Nothing of the one before comes behind this: forget what you hold of it. The
   * `$session-active` of the other follows.
   */
  $switched: (switched: Switched) => unknown;
  /** The identities of this browser have changed, or what is known of them: `Identities` tells what they are. */
  $identities: () => unknown;
}

import type { Limits } from 'webgram';
import type { DataVersion } from './data-version.ts';
import type { Handlers } from './handlers.ts';
import type { Locate } from './device.ts';
import type { Lifetime } from './lifetime.ts';
import type { Logger } from './log.ts';
import type { Store } from './store/store.ts';

/** How long things are kept when a tab or link has gone without a word. */
export interface Retention {
  /** A stream that is in memory only, and its conn. Default 120 s. */
  streamGraceMs: number;
  /** A stream that was committed. Default 24 h. */
  streamRetentionMs: number;
}

export const DEFAULT_RETENTION: Readonly<Retention> = Object.freeze({
  streamGraceMs: 120_000,
  streamRetentionMs: 86_400_000,
});

/** What all sessions of a server share. */
export interface SessionContext extends DataVersion {
  store: Store;
  /** Server time in ms since 1970. */
  clock: () => number;
  limits: Limits;
  retention: Retention;
  lifetime: Lifetime;
  handlers: Handlers;
  log: Logger;
  /** Default: nobody knows where devices are. */
  locate?: Locate | undefined;
  /** The session belongs to another account from now on. */
  bound: (session: { readonly sessionID: number }, before: string | undefined) => void;
  /** The session has left this node's memory. */
  ended: (session: { readonly sessionID: number }) => void;
}

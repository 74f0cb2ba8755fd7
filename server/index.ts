export { AskError, WebgramError } from 'webgram';
export type { AnyApp, AppShape, Device, DeviceSession, Limits } from 'webgram';
export type { Login, Profile, SessionRecord } from './account.ts';
export type { AccountTabs } from './account-tabs.ts';
export type { AddressRates } from './address-limits.ts';
export { attach } from './attach.ts';
export type { Conn, Saved } from './conn.ts';
export type { DataVersion } from './data-version.ts';
export type { MayRevoke, Revocation } from './device-answers.ts';
export type { Locate, NewDevice } from './device.ts';
export type { Deliver, SendOptions } from './delivery.ts';
export type { Forked } from './fork-watch.ts';
export { concurrent } from './handlers.ts';
export type { Lifetime } from './lifetime.ts';
export type { LiveSession } from './live-session.ts';
export { quietLogger } from './log.ts';
export type { Logger } from './log.ts';
export type { OriginOptions } from './origins.ts';
export type { ServerLimits, ServerOptions } from './options.ts';
export { Server } from './server.ts';
export type { Answers } from './server.ts';
export type { Retention } from './session-context.ts';
export type { ListOptions } from './sessions.ts';
export { LevelStore } from './store/level-store.ts';
export type { LevelStoreOptions } from './store/level-store.ts';
export { MemoryStore } from './store/memory-store.ts';
export type {
  Account,
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
  StoreChange,
  StoredSession,
  Visits,
} from './store/store.ts';

export { Client } from './client.ts';
export type { ClientOptions, PageAnswersOf } from './client.ts';
export type {
  ClientEvents,
  ClientHost,
  ClientIdentity,
  ClientNotice,
  ClientQueue,
  ClientState,
  SessionActive,
  Switched,
} from './state.ts';
export { AskError, WebgramError } from 'webgram';
export type { AnyApp, AppShape, AskOptions, ErrorCode, Outcome, OutcomeReason } from 'webgram';

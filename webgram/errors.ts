/**
 * Every code that an error of ours can carry. Codes are stable; messages may change.
 *
 * The list with what to do about each is in docs/errors.md.
 */
export const ERROR_CODES = [
  'WEBGRAM_ABORTED',
  'WEBGRAM_ACCOUNT_BOUND',
  'WEBGRAM_ASK_IN_HANDLER',
  'WEBGRAM_BACKUP_FAILED',
  'WEBGRAM_BAD_FRAME',
  'WEBGRAM_BAD_HANDSHAKE',
  'WEBGRAM_BAD_REQUEST',
  'WEBGRAM_BAD_TAG',
  'WEBGRAM_CLOSED',
  'WEBGRAM_DATA_NEWER',
  'WEBGRAM_DENIED',
  'WEBGRAM_FORKED',
  'WEBGRAM_FRAME_TOO_LARGE',
  'WEBGRAM_GAP',
  'WEBGRAM_HANDLER_FAILED',
  'WEBGRAM_LOGIN_PENDING',
  'WEBGRAM_MESSAGE_TOO_LARGE',
  'WEBGRAM_NOT_ENCODABLE',
  'WEBGRAM_NO_BROWSER',
  'WEBGRAM_NO_HANDLER',
  'WEBGRAM_NO_HOST',
  'WEBGRAM_QUEUE_FULL',
  'WEBGRAM_SERVER_KEY_CHANGED',
  'WEBGRAM_SESSION_ENDED',
  'WEBGRAM_STEP_UP_REQUIRED',
  'WEBGRAM_STORAGE_FAILED',
  'WEBGRAM_STORE_CLOSED',
  'WEBGRAM_STORE_CONFLICT',
  'WEBGRAM_STORE_CORRUPT',
  'WEBGRAM_STORE_FAILED',
  'WEBGRAM_STORE_FULL',
  'WEBGRAM_STORE_LOCKED',
  'WEBGRAM_SWITCHED',
  'WEBGRAM_TIMEOUT',
  'WEBGRAM_TOO_MANY_TABS',
  'WEBGRAM_UNKNOWN_IDENTITY',
  'WEBGRAM_VERSION_SKEW',
] as const;

export type ErrorCode = (typeof ERROR_CODES)[number];

/** What travels over the wire and over ports in place of an error. */
export interface WireError {
  code: string;
  message: string;
  data?: unknown;
}

export interface WebgramErrorOptions {
  cause?: unknown;
  /** The same call may succeed later without a change. Default false. */
  retryable?: boolean;
  /** It came from the peer. Default false. */
  received?: boolean;
}

/**
 * An error of this library.
 *
 * `code` is stable and is what programs look at; `message` is for people and may change.
 */
export class WebgramError extends Error {
  override readonly name: string = 'WebgramError';
  declare readonly code: string;
  declare readonly retryable: boolean;
  declare readonly received: boolean;

  constructor(code: ErrorCode, message: string, options: WebgramErrorOptions = {}) {
    super(message, options);
    this.code = code;
    this.retryable = options.retryable ?? false;
    this.received = options.received ?? false;
  }
}

/** Marks an `AskError`, also one of another copy of this library: applications are bundled with copies of their own. */
const ASK_ERROR: unique symbol = Symbol.for('webgram.AskError');

/**
 * An error that an application's handler answers an ask with, and what the asker's promise rejects with.
 *
 * Thrown in a handler it reaches the asker with its code, message and data. Any other throw reaches the
 * asker as `WEBGRAM_HANDLER_FAILED`, without details.
 */
export class AskError extends Error {
  override readonly name: string = 'AskError';
  /** The application's code, such as `sold-out`, or one of ours. */
  declare readonly code: string;
  declare readonly data: unknown;
  readonly retryable = false;
  declare readonly received: boolean;
  /** @internal */
  readonly [ASK_ERROR] = true;

  constructor(code: string, message = code, data?: unknown, options: { received?: boolean } = {}) {
    super(message);
    this.code = code;
    this.data = data;
    this.received = options.received ?? false;
  }
}

/** Whether a thrown value is an `AskError`, of this copy of the library or of another one. */
export function isAskError(thrown: unknown): thrown is AskError {
  return Boolean((thrown as Partial<AskError> | null | undefined)?.[ASK_ERROR]);
}

/** Whether a thrown value is an error of this library with that code. */
export function hasCode(error: unknown, code: ErrorCode): boolean {
  return error instanceof Error && 'code' in error && error.code === code;
}

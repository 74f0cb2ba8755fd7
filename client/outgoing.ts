import { WebgramError } from 'webgram';
import type { Limits } from 'webgram';
import { copyMessage } from './message-copy.ts';

/** Those limits of the protocol that a tab needs: the whole list would only make the page part longer. */
export const TAB_LIMITS = {
  maxUnackedBytes: 1_048_576,
  maxUnackedCount: 1_000,
} satisfies Partial<Limits>;
/** As `maxFrameBytes` of the protocol. */
const MAX_FRAME_BYTES = 1_048_576;
/** Room for type, number, acknowledgement and tag of a message, in bytes. */
const ENVELOPE_BYTES = 1_000;
const MESSAGE_TYPE = /^[^$][^]{0,255}$/;

/** A message that can be handed to the stream. */
export interface Outgoing {
  /** Copies, which nobody changes any more. */
  args: unknown[];
  bytes: number;
}

/**
 * Checks and copies a message of the application.
 *
 * @param own A type of the library that may be sent this way.
 * @throws {TypeError} when the type begins with `$` or is no type.
 * @throws {WebgramError} `WEBGRAM_NOT_ENCODABLE` or `WEBGRAM_MESSAGE_TOO_LARGE`.
 */
export function prepareMessage(type: string, args: unknown[], own?: string): Outgoing {
  if (typeof type !== 'string' || (type !== own && !MESSAGE_TYPE.test(type))) {
    throw new TypeError("'type' must be 1 to 256 characters, no $");
  }
  const { value, bytes } = copyMessage(args);
  if (bytes + ENVELOPE_BYTES > MAX_FRAME_BYTES) {
    throw new WebgramError('WEBGRAM_MESSAGE_TOO_LARGE', 'over 1 MiB');
  }
  return { args: value, bytes };
}

import { CLOSE, type CloseCode } from '../close-codes.ts';
import { hasCode, type ErrorCode } from '../errors.ts';

const CODES: readonly (readonly [ErrorCode, CloseCode])[] = [
  ['WEBGRAM_BAD_FRAME', CLOSE.badFrame],
  ['WEBGRAM_BAD_HANDSHAKE', CLOSE.handshake],
  ['WEBGRAM_BAD_TAG', CLOSE.badTag],
  ['WEBGRAM_FRAME_TOO_LARGE', CLOSE.tooLarge],
  ['WEBGRAM_TIMEOUT', CLOSE.deadline],
];

/** Returns the close code for what ended a connection; 1013, try later, for a fault of our own. */
export function closeCodeOf(error: unknown): CloseCode {
  return CODES.find(([code]) => hasCode(error, code))?.[1] ?? CLOSE.tryLater;
}

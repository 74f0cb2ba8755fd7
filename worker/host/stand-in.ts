import { TOO_LARGE } from 'webgram';
import type { UpEnvelope, WireError } from 'webgram';

type NumberedUp = Extract<UpEnvelope, { seq: number }>;

/**
 * Takes the place of a message that no frame of the link can hold, under its number: what its tab has sent behind it
 * would never arrive. An ask is answered with `WEBGRAM_MESSAGE_TOO_LARGE`.
 */
export function standInFor(envelope: NumberedUp, { code, message }: WireError): NumberedUp {
  return envelope.kind === 'answer'
    ? { ...envelope, error: { code, message }, value: null }
    : { ...envelope, type: TOO_LARGE, args: [] };
}

import { WebgramError } from '../errors.ts';
import type { IdentityEnvelope } from '../wire/envelope.ts';

/**
 * Returns the envelope by which who owns the key ends its session. `bye ["revoked"]` answers it.
 *
 * PROTOCOL.md, "Ending".
 */
export function endEnvelope(): IdentityEnvelope {
  return { kind: 'identity', what: 'end', args: [] };
}

/**
 * Whether an identity envelope ends the session.
 *
 * @throws {WebgramError} `WEBGRAM_BAD_FRAME` when it does and says more than that.
 */
export function isEnd({ what, args }: IdentityEnvelope): boolean {
  if (what !== 'end') return false;
  if (args.length > 0) {
    throw new WebgramError('WEBGRAM_BAD_FRAME', 'the end of a session has no arguments', { received: true });
  }
  return true;
}

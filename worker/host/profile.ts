import { WebgramError } from 'webgram';
import type { IdentityEnvelope } from 'webgram';
import type { Profile } from './identity.ts';

/**
 * Parses `identity ["profile", account, {label?, picture?}]`: who the session is bound to. Without an account there is
 * nothing else either; other names are ignored.
 *
 * @throws {WebgramError} `WEBGRAM_BAD_FRAME`
 */
export function parseProfile({ args: [account, shown] }: IdentityEnvelope): Profile {
  if (account === null) return {};
  if (typeof account !== 'string' || typeof shown !== 'object' || shown === null) throw bad();
  const profile: Profile = { account };
  for (const name of ['label', 'picture'] as const) {
    const value = (shown as Record<string, unknown>)[name];
    if (value === undefined) continue;
    if (typeof value !== 'string') throw bad();
    profile[name] = value;
  }
  return profile;
}

function bad(): WebgramError {
  return new WebgramError('WEBGRAM_BAD_FRAME', 'a profile must have an account and texts', {
    received: true,
  });
}

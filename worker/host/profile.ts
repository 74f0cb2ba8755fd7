import type { IdentityEnvelope } from 'webgram';
import type { Profile } from './identity-records.ts';

const SHOWN = ['label', 'picture'] as const;

/**
 * Reads `identity ["profile", account, {label?, picture?}]`: who the session is bound to. Without an account there is
 * nothing else either; what is no text, and other names, are ignored.
 */
export function readProfile({ args: [account, shown] }: IdentityEnvelope): Profile {
  const profile: Profile = {};
  if (typeof account !== 'string') return profile;
  profile.account = account;
  for (const name of SHOWN) {
    const value = (shown as Profile | null | undefined)?.[name];
    if (typeof value === 'string') profile[name] = value;
  }
  return profile;
}

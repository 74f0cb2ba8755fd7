import type { Bytes, Crypto, SigningKey } from 'webgram';
import type { StoredKey } from './identity-records.ts';
import type { KeyStore } from './key-store.ts';

/** Makes identity keys and signs with them: WebCrypto in browsers. */
export interface KeyMaker {
  /** Makes a P-256 key pair. `privateKey` is opaque to everyone else, and what the key store keeps. */
  generate(): Promise<StoredKey>;
  /** @throws when `privateKey` is not what `generate` made. */
  signingKey(publicKey: Bytes, privateKey: unknown): SigningKey;
}

export interface KeyProofOptions {
  keys: KeyMaker;
  crypto: Pick<Crypto, 'randomBytes' | 'verify'>;
}

/** @returns The key, or `undefined` when what was read back does not sign. */
export async function provenKey(
  { keys, crypto }: KeyProofOptions,
  { publicKey, privateKey }: StoredKey,
): Promise<SigningKey | undefined> {
  const challenge = crypto.randomBytes(32);
  try {
    const key = keys.signingKey(publicKey, privateKey);
    const signature = await key.sign(challenge);
    return (await crypto.verify(publicKey, signature, challenge)) ? key : undefined;
  } catch {
    // A key that was read back damaged, or as `null`, throws instead of signing.
    return undefined;
  }
}

const PROBE_KEY = 'probe';

/**
 * Finds out whether this place can keep a key: writes one, reads it back, signs and verifies. The key serves
 * nothing else and stays, so that the next start only has to read it.
 *
 * Needed because WebKit cannot store or read a `CryptoKey` in a SharedWorker.
 */
export async function canKeepKeys(options: KeyProofOptions & { store: KeyStore }): Promise<boolean> {
  const { store, keys } = options;
  const readBack = async (): Promise<boolean> => {
    const record = (await store.read(PROBE_KEY)).get(PROBE_KEY) as StoredKey | undefined;
    return record !== undefined && (await provenKey(options, record)) !== undefined;
  };
  try {
    if (await readBack()) return true;
    const made = await keys.generate();
    await store.update(PROBE_KEY, () => [[PROBE_KEY, made]]);
    return await readBack();
  } catch {
    return false;
  }
}

import type { KeyMaker } from './key-proof.ts';
import { generateSigningKey, signingKeyOf } from './web-crypto.ts';

/** Identity keys of WebCrypto: the private half can never be read. */
export const webKeys: KeyMaker = {
  generate: generateSigningKey,
  signingKey(publicKey, privateKey) {
    if (!(privateKey instanceof CryptoKey)) throw new TypeError("'privateKey' must be a CryptoKey");
    return signingKeyOf({ publicKey, privateKey });
  },
};

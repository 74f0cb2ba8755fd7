import type { Crypto, SigningKey } from 'webgram';
import { NodeSigningKey, nodeCrypto } from '../../server/node-crypto.ts';
import { generateSigningKey, signingKeyOf, webCrypto } from '../../worker/host/web-crypto.ts';

/** Both implementations of `Crypto`; each serves both roles here. */
export interface Implementation {
  name: 'node' | 'web';
  crypto: Crypto;
  newKey(): Promise<SigningKey>;
}

export const node: Implementation = {
  name: 'node',
  crypto: nodeCrypto,
  newKey: async () => NodeSigningKey.generate(),
};

export const web: Implementation = {
  name: 'web',
  crypto: webCrypto,
  newKey: async () => signingKeyOf(await generateSigningKey()),
};

export const implementations = [node, web];

/** Every pair of a server's and a client's implementation. */
export const pairs = implementations.flatMap((server) =>
  implementations.map((client) => ({ server, client })),
);

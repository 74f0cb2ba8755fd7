import { createECDH } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { fromBase64url, type Bytes, type EphemeralKey } from 'webgram';
import { NodeSigningKey, nodeCrypto } from '../../server/node-crypto.ts';
import { addMissing, type Vector, type VectorPlatform } from '../../webgram/vectors.make.ts';
import { describeVectors, expectOurSpelling, jwkOf, webPlatform } from './vector-suite.ts';

const FILE = new URL('../../webgram/vectors.json', import.meta.url);

const nodePlatform: VectorPlatform = {
  crypto: nodeCrypto,
  async importEphemeral({ d }): Promise<EphemeralKey> {
    const ecdh = createECDH('prime256v1');
    ecdh.setPrivateKey(fromBase64url(d));
    return {
      publicKey: Uint8Array.from(ecdh.getPublicKey()),
      deriveSecret: (peer) => Uint8Array.from(ecdh.computeSecret(peer)),
    };
  },
};

if (process.env['WEBGRAM_MAKE_VECTORS'] !== undefined) {
  const existing = ((): Vector[] => {
    try {
      return read();
    } catch {
      return [];
    }
  })();
  const vectors = await addMissing(
    {
      ...nodePlatform,
      publicKeyOf(d: Bytes) {
        const ecdh = createECDH('prime256v1');
        ecdh.setPrivateKey(d);
        return Uint8Array.from(ecdh.getPublicKey());
      },
      importSigning: async (pair) =>
        NodeSigningKey.fromJwk(jwkOf(pair) as Parameters<typeof NodeSigningKey.fromJwk>[0]),
    },
    existing,
  );
  writeFileSync(FILE, `${JSON.stringify(vectors, null, 2)}\n`);
}

function read(): Vector[] {
  return JSON.parse(readFileSync(FILE, 'utf8')) as Vector[];
}

const vectors = read();

describeVectors('node', nodePlatform, vectors);
describeVectors('web', webPlatform, vectors);

test.each(vectors)('the payloads of $name are envelopes, spelled as we spell them', expectOurSpelling);

test('there are vectors of everything', () => {
  expect(vectors.map(({ name }) => name)).toEqual([
    'create',
    'create without fromClient, other server key announced',
    'resume',
    'resume without Origin',
    'denied: unknown',
    'denied: revoked',
    'denied: create with a key that was renewed',
    'CBOR: create',
    'CBOR: resume',
    'sealed JSON: create',
    'sealed CBOR: resume',
    'sealed CBOR: denied',
    'renewal: resume, then login',
    'ending: resume, then end',
  ]);
});

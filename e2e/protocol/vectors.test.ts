import { createECDH } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import {
  clientSignatureInput,
  decodeEnvelopes,
  encodeEnvelopes,
  fromBase64url,
  jsonCodec,
  parseDown,
  parseUp,
  serverSignatureInput,
  toBase64url,
  type Bytes,
  type EphemeralKey,
  type SigningKey,
} from 'webgram';
import { NodeSigningKey, nodeCrypto } from '../../server/node-crypto.ts';
import { webCrypto } from '../../worker/host/web-crypto.ts';
import {
  addMissing,
  play,
  type KeyPairText,
  type Vector,
  type VectorPlatform,
} from '../../webgram/vectors.make.ts';

const FILE = new URL('../../webgram/vectors.json', import.meta.url);

function jwkOf({ d, publicKey }: KeyPairText): JsonWebKey {
  const point = fromBase64url(publicKey);
  const [x, y] = [toBase64url(point.slice(1, 33)), toBase64url(point.slice(33))];
  return { kty: 'EC', crv: 'P-256', d, x, y };
}

const platforms: Record<'node' | 'web', VectorPlatform> = {
  node: {
    crypto: nodeCrypto,
    async importEphemeral({ d }): Promise<EphemeralKey> {
      const ecdh = createECDH('prime256v1');
      ecdh.setPrivateKey(fromBase64url(d));
      return {
        publicKey: Uint8Array.from(ecdh.getPublicKey()),
        deriveSecret: (peer) => Uint8Array.from(ecdh.computeSecret(peer)),
      };
    },
  },
  web: {
    crypto: webCrypto,
    async importEphemeral(pair): Promise<EphemeralKey> {
      const algorithm = { name: 'ECDH', namedCurve: 'P-256' };
      const key = await crypto.subtle.importKey('jwk', jwkOf(pair), algorithm, false, ['deriveBits']);
      return {
        publicKey: fromBase64url(pair.publicKey),
        async deriveSecret(peer) {
          const other = await crypto.subtle.importKey('raw', peer, algorithm, true, []);
          return new Uint8Array(await crypto.subtle.deriveBits({ name: 'ECDH', public: other }, key, 256));
        },
      };
    },
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
      ...platforms.node,
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

/** Signs with the signature of the vector, which is one of many. */
function frozen({ publicKey }: KeyPairText, signature: string): SigningKey {
  return { publicKey: fromBase64url(publicKey), sign: () => fromBase64url(signature) };
}

describe.each(['node', 'web'] as const)('%s', (name) => {
  test.each(vectors)('$name', async ({ given, wanted }) => {
    const signers = {
      server: frozen(given.serverKey, wanted.serverSignature),
      identity: frozen(given.identity, wanted.clientSignature),
    };
    expect(await play(platforms[name], given, signers)).toEqual(wanted);

    const { crypto } = platforms[name];
    const signed = [
      [signers.identity, wanted.clientSignature, clientSignatureInput(fromBase64url(wanted.th2))],
      [signers.server, wanted.serverSignature, serverSignatureInput(fromBase64url(wanted.th3))],
    ] as const;
    for (const [key, signature, input] of signed) {
      expect(await crypto.verify(key.publicKey, fromBase64url(signature), input)).toBe(true);
    }
  });
});

test.each(vectors)('the payloads of $name are envelopes, spelled as we spell them', ({ given }) => {
  for (const payload of given.clientPayloads) {
    expect(encodeEnvelopes(jsonCodec, decodeEnvelopes(jsonCodec, payload, parseUp))).toBe(payload);
  }
  for (const payload of given.serverPayloads) {
    expect(encodeEnvelopes(jsonCodec, decodeEnvelopes(jsonCodec, payload, parseDown))).toBe(payload);
  }
});

test('there are vectors of create, resume and denials', () => {
  expect(vectors.map(({ name }) => name)).toEqual([
    'create',
    'create without fromClient, other server key announced',
    'resume',
    'resume without Origin',
    'denied: unknown',
    'denied: revoked',
    'denied: create with a key that was renewed',
  ]);
});

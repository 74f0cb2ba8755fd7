import { describe, expect, test } from 'vitest';
import {
  clientSignatureInput,
  decodeEnvelopes,
  encodeEnvelopes,
  FrameReader,
  fromBase64url,
  isSealed,
  jsonCodec,
  parseDown,
  parseUp,
  serverSignatureInput,
  toBase64url,
  type Envelope,
  type EphemeralKey,
  type Sender,
  type SigningKey,
} from 'webgram';
import {
  codecOf,
  payloadOf,
  play,
  type Given,
  type KeyPairText,
  type Played,
  type Vector,
  type VectorPlatform,
} from '../../webgram/vectors.make.ts';
import { webCrypto } from '../../worker/host/web-crypto.ts';

export function jwkOf({ d, publicKey }: KeyPairText): JsonWebKey {
  const point = fromBase64url(publicKey);
  const [x, y] = [toBase64url(point.slice(1, 33)), toBase64url(point.slice(33))];
  return { kty: 'EC', crv: 'P-256', d, x, y };
}

/** WebCrypto: in browsers, and in Node. */
export const webPlatform: VectorPlatform = {
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
};

/** Signs with the signature of the vector, which is one of many. */
function frozen({ publicKey }: KeyPairText, signature: string): SigningKey {
  return { publicKey: fromBase64url(publicKey), sign: () => fromBase64url(signature) };
}

/** Plays every vector on a platform. */
export function describeVectors(name: string, platform: VectorPlatform, vectors: readonly Vector[]): void {
  const { crypto } = platform;

  describe(name, () => {
    test.each(vectors)('$name', async ({ given, wanted }) => {
      const { renewal } = wanted;
      const signers = {
        server: frozen(given.serverKey, wanted.serverSignature),
        identity: frozen(given.identity, wanted.clientSignature),
        next: given.renewal && renewal && frozen(given.renewal.next, renewal.signature),
      };
      expect(await play(platform, given, signers)).toEqual(wanted);

      const signed: [SigningKey, string, Uint8Array<ArrayBuffer>][] = [
        [signers.identity, wanted.clientSignature, clientSignatureInput(fromBase64url(wanted.th2))],
        [signers.server, wanted.serverSignature, serverSignatureInput(fromBase64url(wanted.th3))],
      ];
      if (signers.next && renewal) {
        signed.push([signers.next, renewal.signature, fromBase64url(renewal.input)]);
      }
      for (const [key, signature, input] of signed) {
        expect(await crypto.verify(key.publicKey, fromBase64url(signature), input)).toBe(true);
      }
    });

    test.each(vectors)('the frames of $name open', async ({ given, wanted }) => {
      expect(await opened('client', platform, given, wanted)).toEqual(
        wanted.clientFrames.length === 0 ? [] : given.clientPayloads,
      );
      expect(await opened('server', platform, given, wanted)).toEqual(
        wanted.serverFrames.length === 0 ? [] : given.serverPayloads,
      );
    });
  });
}

/** Reads frozen frames with frozen keys: the payloads, as JSON. */
async function opened(sender: Sender, { crypto }: VectorPlatform, given: Given, wanted: Played) {
  const codec = codecOf(given);
  const labels = isSealed(given.views.chosen)
    ? ({ client: 'c seal', server: 's seal' } as const)
    : ({ client: 'c frame', server: 's frame' } as const);
  const bytes = wanted.keys[labels[sender]];
  if (bytes === undefined) throw new TypeError('a vector must have the key of its frames');
  const key = isSealed(given.views.chosen)
    ? await crypto.sealKey(fromBase64url(bytes))
    : await crypto.macKey(fromBase64url(bytes));
  const frames = sender === 'client' ? wanted.clientFrames : wanted.serverFrames;
  const isText = given.views.chosen === jsonCodec.subprotocol;
  const payloads: string[] = [];
  await new Promise<void>((resolve, reject) => {
    const reader = new FrameReader<Envelope>({
      crypto,
      key,
      sender,
      codec,
      maxFrameBytes: 1_048_576,
      parse: sender === 'client' ? parseUp : parseDown,
      deliver(envelopes) {
        payloads.push(encodeEnvelopes(jsonCodec, envelopes) as string);
        if (payloads.length === frames.length) resolve();
      },
      failed: reject,
    });
    for (const frame of frames) reader.receive(isText ? frame : fromBase64url(frame));
    if (frames.length === 0) resolve();
  });
  // CBOR puts the properties of an object in the order of their bytes: compared as what travels.
  return payloads.map((payload, i) => {
    const wantedPayload = (sender === 'client' ? given.clientPayloads : given.serverPayloads)[i]!;
    expect(payloadOf(codec, payload)).toEqual(payloadOf(codec, wantedPayload));
    return wantedPayload;
  });
}

/** Whether the payloads of a vector are what our own encoder makes of them. */
export function expectOurSpelling({ given }: Vector): void {
  for (const payload of given.clientPayloads) {
    expect(encodeEnvelopes(jsonCodec, decodeEnvelopes(jsonCodec, payload, parseUp))).toBe(payload);
  }
  for (const payload of given.serverPayloads) {
    expect(encodeEnvelopes(jsonCodec, decodeEnvelopes(jsonCodec, payload, parseDown))).toBe(payload);
  }
}

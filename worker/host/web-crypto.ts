import type { Bytes, Crypto, EphemeralKey, MacKey, SealKey, SigningKey } from 'webgram';

const POINT_BYTES = 65;
const SIGNATURE_BYTES = 64;

const ECDSA = { name: 'ECDSA', namedCurve: 'P-256' } as const;
const ECDH = { name: 'ECDH', namedCurve: 'P-256' } as const;
const SIGNING = { name: 'ECDSA', hash: 'SHA-256' } as const;
const HMAC = { name: 'HMAC', hash: 'SHA-256' } as const;

/** `Crypto` on WebCrypto: in workers and pages of secure contexts, and in Node. */
export const webCrypto: Crypto = {
  randomBytes: (length) => crypto.getRandomValues(new Uint8Array(length)),
  sha256: async (data) => new Uint8Array(await crypto.subtle.digest('SHA-256', data)),
  async macKey(bytes): Promise<MacKey> {
    const key = await crypto.subtle.importKey('raw', bytes, HMAC, false, ['sign']);
    return { mac: async (data) => new Uint8Array(await crypto.subtle.sign('HMAC', key, data)) };
  },
  async sealKey(bytes): Promise<SealKey> {
    const key = await crypto.subtle.importKey('raw', bytes, 'AES-GCM', false, ['encrypt', 'decrypt']);
    return {
      async seal(iv, additionalData, text) {
        return new Uint8Array(
          await crypto.subtle.encrypt({ name: 'AES-GCM', iv, additionalData }, key, text),
        );
      },
      async open(iv, additionalData, sealed) {
        const opened = crypto.subtle.decrypt({ name: 'AES-GCM', iv, additionalData }, key, sealed);
        // It throws when the tag is wrong, and tells nothing else.
        return opened.then(
          (text) => new Uint8Array(text),
          () => undefined,
        );
      },
    };
  },
  async generateEphemeral(): Promise<EphemeralKey> {
    const pair = await crypto.subtle.generateKey(ECDH, false, ['deriveBits']);
    return {
      publicKey: new Uint8Array(await crypto.subtle.exportKey('raw', pair.publicKey)),
      async deriveSecret(peer) {
        const key = await importPoint(peer, ECDH, []);
        return new Uint8Array(
          await crypto.subtle.deriveBits({ name: 'ECDH', public: key }, pair.privateKey, 256),
        );
      },
    };
  },
  async verify(publicKey, signature, data) {
    if (signature.length !== SIGNATURE_BYTES) return false;
    let key: CryptoKey;
    try {
      key = await importPoint(publicKey, ECDSA, ['verify']);
    } catch {
      // Not on the curve.
      return false;
    }
    return crypto.subtle.verify(SIGNING, key, signature, data);
  },
  equal(a, b) {
    if (a.length !== b.length) return false;
    let difference = 0;
    for (let i = 0; i < a.length; i++) difference |= a[i]! ^ b[i]!;
    return difference === 0;
  },
};

/** Imports an uncompressed point. @throws when it is none, or not on the curve. */
async function importPoint(
  point: Bytes,
  algorithm: EcKeyImportParams,
  usages: KeyUsage[],
): Promise<CryptoKey> {
  // Some platforms take compressed and hybrid points as well.
  if (point.length !== POINT_BYTES || point[0] !== 0x04) {
    throw new RangeError('a point must be uncompressed, 65 bytes');
  }
  return crypto.subtle.importKey('raw', point, algorithm, true, usages);
}

/** An identity key as IndexedDB keeps it. */
export interface StoredSigningKey {
  /** ECDSA P-256, not extractable, usage `sign` only. */
  privateKey: CryptoKey;
  /** Uncompressed point, 65 bytes. */
  publicKey: Bytes;
}

/** Makes an identity key whose private half can never be read, also not by this code. */
export async function generateSigningKey(): Promise<StoredSigningKey> {
  const pair = await crypto.subtle.generateKey(ECDSA, false, ['sign', 'verify']);
  return {
    privateKey: pair.privateKey,
    publicKey: new Uint8Array(await crypto.subtle.exportKey('raw', pair.publicKey)),
  };
}

/** Returns a stored identity key as the handshake takes it. */
export function signingKeyOf({ privateKey, publicKey }: StoredSigningKey): SigningKey {
  return {
    publicKey,
    sign: async (data) => new Uint8Array(await crypto.subtle.sign(SIGNING, privateKey, data)),
  };
}

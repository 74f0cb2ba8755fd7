import { concat, utf8 } from 'webgram';
import type { Bytes, Crypto, EphemeralKey, SigningKey } from 'webgram';
import { nodeCrypto } from '../../../server/node-crypto.ts';
import type { KeyMaker } from '../../../worker/host/key-proof.ts';
import type { Actor } from './actor.ts';

/*
 * Handshake and frames are the real ones, with real SHA-256, HKDF and HMAC. Only the elliptic curve is a toy: a signature
 * is a hash that everybody could make, a shared secret is a hash of both public keys. With the curve a schedule would
 * take several times as long. Who can forge what is the business of e2e/protocol and server/forgeries.test.ts.
 */

const HASH_BYTES = 32;

function hash(...parts: Uint8Array[]): Bytes {
  return nodeCrypto.sha256(concat(...parts)) as Bytes;
}

/** @returns Bytes that depend on the actor and on how many it has asked for, and on nothing else. */
export function randomBytes(actor: Actor, length: number): Bytes {
  const bytes = new Uint8Array(length);
  for (let at = 0; at < length; at += HASH_BYTES) {
    const block = hash(utf8(`${actor.name} ${actor.randoms++}`));
    bytes.set(block.subarray(0, Math.min(HASH_BYTES, length - at)), at);
  }
  return bytes;
}

/** A point by its looks. */
function point(actor: Actor): Bytes {
  const made = randomBytes(actor, 65);
  made[0] = 0x04;
  return made;
}

function signature(publicKey: Bytes, data: Bytes): Bytes {
  const half = hash(publicKey, data);
  return concat(half, half);
}

export function signingKey(publicKey: Bytes): SigningKey {
  return { publicKey, sign: (data) => signature(publicKey, data) };
}

/** The server's key, the same on every node. */
export const SERVER_KEY = signingKey(
  point({ name: 'server key', isAlive: true, isFrozen: false, randoms: 0 }),
);

/** The cryptography of an actor. */
export function toyCrypto(actor: Actor): Crypto {
  return {
    ...nodeCrypto,
    randomBytes: (length) => randomBytes(actor, length),
    generateEphemeral: (): EphemeralKey => {
      const publicKey = point(actor);
      return {
        publicKey,
        deriveSecret: (peer) => {
          const both = [publicKey, peer].sort((a, b) => Buffer.compare(a, b));
          return hash(...both);
        },
      };
    },
    verify: (publicKey, signed, data) => Buffer.compare(signature(publicKey, data), signed) === 0,
  };
}

/** Makes the identity keys of a host. */
export function toyKeys(actor: Actor): KeyMaker {
  return {
    generate: async () => ({ publicKey: point(actor), privateKey: 'toy' }),
    signingKey: (publicKey) => signingKey(publicKey),
  };
}

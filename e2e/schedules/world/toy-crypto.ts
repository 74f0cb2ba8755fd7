import { concat, utf8 } from 'webgram';
import type { Bytes, Crypto, EphemeralKey, SigningKey } from 'webgram';
import { nodeCrypto } from '../../../server/node-crypto.ts';
import type { KeyMaker } from '../../../worker/host/key-proof.ts';
import type { Actor } from './actor.ts';

/*
 * Handshake and frames are the real ones; what they are made of is a toy: a hash of 53 bits that is spread over 32 bytes,
 * a MAC that is a hash, a signature that everybody could make, a shared secret that is a hash of both public keys. With
 * the real ones a schedule would take several times as long. Who can forge what is the business of e2e/protocol and
 * server/forgeries.test.ts.
 */

const HASH_BYTES = 32;

/** @returns Bytes that nobody expects to meet again for other parts. */
function hash(length: number, ...parts: readonly Uint8Array[]): Bytes {
  // cyrb53, then what spreads its two halves.
  let [a, b] = [0xdeadbeef, 0x41c6ce57];
  for (const part of parts) {
    a = Math.imul(a ^ part.length, 2_654_435_761);
    for (let i = 0; i < part.length; i++) {
      a = Math.imul(a ^ part[i]!, 2_654_435_761);
      b = Math.imul(b ^ part[i]!, 1_597_334_677);
    }
  }
  const bytes = new Uint8Array(length);
  for (let at = 0; at < length; at += 4) {
    a = Math.imul(a ^ (a >>> 16) ^ b, 2_246_822_507) + at;
    b = Math.imul(b ^ (b >>> 13) ^ a, 3_266_489_909);
    const word = a ^ (b >>> 11);
    for (let i = 0; i < 4 && at + i < length; i++) bytes[at + i] = word >>> (8 * i);
  }
  return bytes;
}

/** @returns Bytes that depend on the actor and on how many it has asked for, and on nothing else. */
export function randomBytes(actor: Actor, length: number): Bytes {
  return hash(length, utf8(`${actor.name} ${actor.randoms++}`));
}

/** A point by its looks. */
function point(actor: Actor): Bytes {
  const made = randomBytes(actor, 65);
  made[0] = 0x04;
  return made;
}

function signature(publicKey: Bytes, data: Bytes): Bytes {
  const half = hash(HASH_BYTES, publicKey, data);
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
    sha256: (data) => hash(HASH_BYTES, data),
    macKey: (key) => ({ mac: (data) => hash(HASH_BYTES, key, data) }),
    generateEphemeral: (): EphemeralKey => {
      const publicKey = point(actor);
      return {
        publicKey,
        deriveSecret: (peer) => {
          const both = [publicKey, peer].sort((a, b) => Buffer.compare(a, b));
          return hash(HASH_BYTES, ...both);
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

import {
  createCipheriv,
  createDecipheriv,
  createECDH,
  createHash,
  createHmac,
  createPrivateKey,
  createPublicKey,
  hash,
  randomFillSync,
  sign,
  timingSafeEqual,
  verify,
  type JsonWebKey,
  type KeyObject,
} from 'node:crypto';
import type { Bytes, Crypto, EphemeralKey, MacKey, SealKey, SigningKey } from 'webgram';

const POINT_BYTES = 65;
const SIGNATURE_BYTES = 64;

/**
 * `Crypto` on node:crypto. Everything is synchronous: WebCrypto's way through the thread pool makes signed
 * messages ten times as slow on a server.
 */
export const nodeCrypto: Crypto = {
  randomBytes,
  sha256,
  macKey: (key) => new NodeMacKey(key),
  sealKey: (key) => new NodeSealKey(key),
  generateEphemeral: () => new NodeEphemeralKey(),
  verify(publicKey, signature, data) {
    if (signature.length !== SIGNATURE_BYTES || !isUncompressed(publicKey)) return false;
    const key = importKey(publicKey);
    return key !== undefined && verify('sha256', data, { key, dsaEncoding: 'ieee-p1363' }, signature);
  },
  equal: (a, b) => a.length === b.length && timingSafeEqual(a, b),
};

function isUncompressed(point: Uint8Array): boolean {
  return point.length === POINT_BYTES && point[0] === 0x04;
}

/** Keys that were used last, the newest at the end: to import one is as dear as to verify with it. */
const imported = new Map<string, KeyObject>();
const MAX_IMPORTED = 1_000;

/** @returns `undefined` for a point that is not on the curve. */
function importKey(point: Uint8Array): KeyObject | undefined {
  const { buffer, byteOffset, length } = point;
  const name = Buffer.from(buffer, byteOffset, length).toString('latin1');
  let key = imported.get(name);
  if (key === undefined) {
    try {
      key = createPublicKey({ key: publicJwk(point), format: 'jwk' });
    } catch {
      return undefined;
    }
    for (const oldest of imported.keys()) {
      if (imported.size < MAX_IMPORTED) break;
      imported.delete(oldest);
    }
  }
  imported.delete(name);
  imported.set(name, key);
  return key;
}

/** Of the ways to import a point this is the fastest; node:crypto refuses one that is not on the curve. */
function publicJwk(point: Uint8Array): JsonWebKey {
  const { buffer, byteOffset } = point;
  return {
    kty: 'EC',
    crv: 'P-256',
    x: Buffer.from(buffer, byteOffset + 1, 32).toString('base64url'),
    y: Buffer.from(buffer, byteOffset + 33, 32).toString('base64url'),
  };
}

/** The bytes of a Buffer that is nobody else's. */
function view(buffer: Buffer): Bytes {
  return new Uint8Array(buffer.buffer as ArrayBuffer, buffer.byteOffset, buffer.length);
}

const pool = new Uint8Array(8_192);
let poolUsed = pool.length;

/** From a pool: one call into the generator is dearer than some hundred bytes of it. */
function randomBytes(length: number): Bytes {
  if (length > pool.length) return randomFillSync(new Uint8Array(length));
  if (poolUsed + length > pool.length) {
    randomFillSync(pool);
    poolUsed = 0;
  }
  const bytes = pool.slice(poolUsed, poolUsed + length);
  pool.fill(0, poolUsed, poolUsed + length);
  poolUsed += length;
  return bytes;
}

const BLOCK_BYTES = 64;
const DIGEST_BYTES = 32;

/** A digest comes as text: a Buffer of its own costs three times as much as the hash of a short message. */
function sha256(data: Uint8Array): Bytes {
  const text = hash('sha256', data, 'binary');
  const bytes = new Uint8Array(DIGEST_BYTES);
  for (let i = 0; i < DIGEST_BYTES; i++) bytes[i] = text.charCodeAt(i);
  return bytes;
}

/** Up to here two one-shot hashes are faster than an Hmac object. */
const ONE_SHOT_BYTES = 2_048;

// All synchronous, so one of each serves all keys; a key by itself costs an idle session 32 bytes.
const inner = new Uint8Array(BLOCK_BYTES + ONE_SHOT_BYTES);
const outer = Buffer.alloc(BLOCK_BYTES + DIGEST_BYTES);

/** HMAC-SHA-256, by its definition (RFC 2104 section 2) where data is short. */
class NodeMacKey implements MacKey {
  readonly #key: Bytes;

  constructor(key: Uint8Array) {
    this.#key = key.length > BLOCK_BYTES ? sha256(key) : Uint8Array.from(key);
  }

  mac(data: Uint8Array): Bytes {
    const key = this.#key;
    if (data.length > ONE_SHOT_BYTES) return view(createHmac('sha256', key).update(data).digest());
    pad(inner, key, 0x36);
    inner.set(data, BLOCK_BYTES);
    pad(outer, key, 0x5c);
    const hashed = hash('sha256', inner.subarray(0, BLOCK_BYTES + data.length), 'binary');
    outer.write(hashed, BLOCK_BYTES, 'latin1');
    return sha256(outer);
  }
}

function pad(block: Uint8Array, key: Uint8Array, byte: number): void {
  block.fill(byte, key.length, BLOCK_BYTES);
  for (let i = 0; i < key.length; i++) block[i] = key[i]! ^ byte;
}

const GCM = 'aes-256-gcm';
const GCM_TAG_BYTES = 16;

class NodeSealKey implements SealKey {
  readonly #key: Bytes;

  constructor(key: Uint8Array) {
    this.#key = Uint8Array.from(key);
  }

  seal(nonce: Uint8Array, additional: Uint8Array, text: Uint8Array): Bytes {
    const cipher = createCipheriv(GCM, this.#key, nonce, { authTagLength: GCM_TAG_BYTES });
    cipher.setAAD(additional);
    const sealed = new Uint8Array(text.length + GCM_TAG_BYTES);
    // A stream mode: all of it comes out at once.
    sealed.set(cipher.update(text));
    cipher.final();
    sealed.set(cipher.getAuthTag(), text.length);
    return sealed;
  }

  open(nonce: Uint8Array, additional: Uint8Array, sealed: Uint8Array): Bytes | undefined {
    const split = sealed.length - GCM_TAG_BYTES;
    if (split < 0) return undefined;
    const decipher = createDecipheriv(GCM, this.#key, nonce, { authTagLength: GCM_TAG_BYTES });
    decipher.setAAD(additional);
    decipher.setAuthTag(sealed.subarray(split));
    const text = new Uint8Array(decipher.update(sealed.subarray(0, split)));
    try {
      decipher.final();
    } catch {
      // The tag is wrong: nothing of the text may be used.
      return undefined;
    }
    return text;
  }
}

class NodeEphemeralKey implements EphemeralKey {
  readonly publicKey: Bytes;
  readonly #ecdh = createECDH('prime256v1');

  constructor() {
    this.publicKey = view(this.#ecdh.generateKeys());
  }

  deriveSecret(peer: Uint8Array): Bytes {
    if (!isUncompressed(peer)) throw new RangeError('a point must be uncompressed, 65 bytes');
    return view(this.#ecdh.computeSecret(peer));
  }
}

/** An ECDSA P-256 key that can be written down: the server's key, or the identity of a client in Node. */
export class NodeSigningKey implements SigningKey {
  readonly publicKey: Bytes;
  readonly #privateKey: KeyObject;

  private constructor(privateKey: KeyObject) {
    const { kty, crv, x, y } = privateKey.export({ format: 'jwk' });
    if (kty !== 'EC' || crv !== 'P-256' || x === undefined || y === undefined) {
      throw new TypeError('the key must be a private key on P-256');
    }
    this.publicKey = Uint8Array.of(0x04, ...Buffer.from(x, 'base64url'), ...Buffer.from(y, 'base64url'));
    this.#privateKey = privateKey;
  }

  /**
   * Makes a new key.
   *
   * Not with `generateKeyPairSync`: a garbage collection while such a key is exported as JWK waits for itself for
   * ever (Node 20: the destructor of the generating job takes the lock that the export holds).
   */
  static generate(): NodeSigningKey {
    const ecdh = createECDH('prime256v1');
    const point = ecdh.generateKeys();
    const scalar = Buffer.alloc(32);
    const d = ecdh.getPrivateKey();
    d.copy(scalar, scalar.length - d.length);
    return NodeSigningKey.fromJwk({
      kty: 'EC',
      crv: 'P-256',
      x: point.toString('base64url', 1, 33),
      y: point.toString('base64url', 33),
      d: scalar.toString('base64url'),
    });
  }

  /**
   * Reads a key in PKCS #8 (RFC 5208), as `toPem` returns it.
   *
   * @throws {TypeError} when it is something else. The text is in no message.
   */
  static fromPem(pem: string): NodeSigningKey {
    return new NodeSigningKey(importing(() => createPrivateKey({ key: pem, format: 'pem' })));
  }

  /** Reads a private JWK (RFC 7517); otherwise like `fromPem`. */
  static fromJwk(jwk: JsonWebKey): NodeSigningKey {
    return new NodeSigningKey(importing(() => createPrivateKey({ key: jwk, format: 'jwk' })));
  }

  /** @returns 64 bytes r‖s. */
  sign(data: Uint8Array): Bytes {
    return view(sign('sha256', data, { key: this.#privateKey, dsaEncoding: 'ieee-p1363' }));
  }

  /** Returns the private key in PKCS #8. Whoever has it is the server. */
  toPem(): string {
    return this.#privateKey.export({ type: 'pkcs8', format: 'pem' }) as string;
  }

  /** Returns the private key as a JWK. Whoever has it is the server. */
  toJwk(): JsonWebKey {
    return this.#privateKey.export({ format: 'jwk' });
  }
}

function importing(read: () => KeyObject): KeyObject {
  try {
    return read();
  } catch {
    throw new TypeError('the key must be a private key on P-256');
  }
}

/** Names a server key for people: the first 8 bytes of its SHA-256, in hex. */
export function fingerprintOf(publicKey: Uint8Array): string {
  return createHash('sha256').update(publicKey).digest('hex').slice(0, 16);
}

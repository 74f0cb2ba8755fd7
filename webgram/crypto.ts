import type { MaybePromise } from './maybe-promise.ts';

/** Bytes that own their buffer, which is what sockets and WebCrypto take. */
export type Bytes = Uint8Array<ArrayBuffer>;

/** An ephemeral ECDH key pair on P-256: one connection, never reused, never stored. */
export interface EphemeralKey {
  /** Uncompressed point, 65 bytes beginning with 0x04. */
  readonly publicKey: Bytes;
  /**
   * @param peer Uncompressed point, 65 bytes.
   * @returns The shared x coordinate, 32 bytes.
   * @throws when the point is not on the curve.
   */
  deriveSecret(peer: Bytes): MaybePromise<Bytes>;
}

/** A private ECDSA P-256 key that can only sign. */
export interface SigningKey {
  /** Uncompressed point, 65 bytes beginning with 0x04. */
  readonly publicKey: Bytes;
  /** @returns ECDSA with SHA-256, 64 bytes r‖s. */
  sign(data: Bytes): MaybePromise<Bytes>;
}

/** An HMAC-SHA-256 key that is used many times (RFC 2104). */
export interface MacKey {
  /**
   * @param data Read before this returns, in WebCrypto as well: it may be overwritten afterwards.
   * @returns 32 bytes.
   */
  mac(data: Bytes): MaybePromise<Bytes>;
}

/** An AES-256-GCM key (NIST SP 800-38D). A nonce serves one message for ever. */
export interface SealKey {
  /**
   * @param nonce 12 bytes.
   * @param additional What is authenticated beside the text.
   * @returns The sealed text, then its tag of 16 bytes.
   */
  seal(nonce: Bytes, additional: Bytes, text: Bytes): MaybePromise<Bytes>;
  /** @returns The text; `undefined` when it does not verify. */
  open(nonce: Bytes, additional: Bytes, sealed: Bytes): MaybePromise<Bytes | undefined>;
}

/**
 * The cryptography of one platform. Node answers at once, browsers through WebCrypto; everything in
 * `webgram/` works with both.
 */
export interface Crypto {
  /** @returns Unpredictable bytes from the platform's generator. */
  randomBytes(length: number): Bytes;
  sha256(data: Bytes): MaybePromise<Bytes>;
  macKey(key: Bytes): MaybePromise<MacKey>;
  /** @param key 32 bytes. */
  sealKey(key: Bytes): MaybePromise<SealKey>;
  generateEphemeral(): MaybePromise<EphemeralKey>;
  /**
   * Verifies ECDSA P-256 with SHA-256.
   *
   * @param publicKey Uncompressed point, 65 bytes; one that is not on the curve verifies nothing.
   * @param signature 64 bytes r‖s; any other length verifies nothing.
   */
  verify(publicKey: Bytes, signature: Bytes, data: Bytes): MaybePromise<boolean>;
  /** Compares in a time that depends on the lengths only. */
  equal(a: Uint8Array, b: Uint8Array): boolean;
}

import type { Bytes, Crypto, SigningKey } from '../crypto.ts';
import { WebgramError } from '../errors.ts';
import { fromBase64url, toBase64url } from '../wire/base64url.ts';
import { concat, utf8 } from '../wire/bytes.ts';
import type { IdentityEnvelope } from '../wire/envelope.ts';
import { POINT_BYTES, SIGNATURE_BYTES } from './messages.ts';
import { keyIDOf } from './transcript.ts';

export const RENEW_ID_BYTES = 16;
export const EXPORTER_BYTES = 32;

/** What the identity envelopes of a renewal say. PROTOCOL.md, "Renewal". */
export type RenewalWord =
  /** Server: bring another key. */
  | { what: 'renew'; renewID: Bytes }
  /** Client: this one, C′ (65 bytes), and sig_n (64 bytes). */
  | { what: 'renew-key'; renewID: Bytes; publicKey: Bytes; signature: Bytes }
  /** Server: the old key has ended and this one stands in its place. */
  | { what: 'renew-ok'; renewID: Bytes };

/** Returns the envelope that says it. */
export function renewalEnvelope(word: RenewalWord): IdentityEnvelope {
  const args = [toBase64url(word.renewID)];
  if (word.what === 'renew-key') args.push(toBase64url(word.publicKey), toBase64url(word.signature));
  return { kind: 'identity', what: word.what, args };
}

/** Whether an identity envelope belongs to a renewal, well formed or not. */
export function isRenewal({ what }: IdentityEnvelope): boolean {
  return what === 'renew' || what === 'renew-key' || what === 'renew-ok';
}

/**
 * Parses an identity envelope of a renewal.
 *
 * @throws {WebgramError} `WEBGRAM_BAD_FRAME` for any other `what` or shape.
 */
export function parseRenewal(envelope: IdentityEnvelope): RenewalWord {
  const { what, args } = envelope;
  const [renewID, publicKey, signature] = args;
  switch (what) {
    case 'renew':
    case 'renew-ok':
      return { what, renewID: parseRenewID(envelope) };
    case 'renew-key': {
      exactly(args, 3);
      const point = parseBytes(publicKey, POINT_BYTES, "C'");
      if (point[0] !== 0x04) throw bad("'C'' must be an uncompressed point");
      return {
        what,
        renewID: parseBytes(renewID, RENEW_ID_BYTES, 'renewID'),
        publicKey: point,
        signature: parseBytes(signature, SIGNATURE_BYTES, 'sig_n'),
      };
    }
    default:
      throw bad('an identity envelope of a renewal was expected');
  }
}

export interface RenewalParts {
  /** Of the connection, 32 bytes: the signature is good on no other. */
  exporter: Uint8Array;
  /** 16 bytes. */
  renewID: Uint8Array;
  /** C, 65 bytes: the key that the connection was opened with. */
  publicKey: Uint8Array;
  /** C′, 65 bytes. */
  nextPublicKey: Uint8Array;
}

/**
 * Returns what sig_n is made over.
 *
 * @throws {RangeError} unless every part has its length: nothing else keeps them apart.
 */
export function renewInput({ exporter, renewID, publicKey, nextPublicKey }: RenewalParts): Bytes {
  const lengths = [exporter, renewID, publicKey, nextPublicKey].map((part) => part.length);
  if (String(lengths) !== String([EXPORTER_BYTES, RENEW_ID_BYTES, POINT_BYTES, POINT_BYTES])) {
    throw new RangeError(`parts of a renewal have ${String(lengths)} bytes`);
  }
  return concat(utf8('webgram-sessions/2 renew\0'), exporter, renewID, publicKey, nextPublicKey);
}

export interface ServerRenewalOptions {
  crypto: Crypto;
  /** `exporter` of the keys of the link on which it happens. */
  exporter: Bytes;
  /** C, 65 bytes, as the handshake of that link has proved it. */
  publicKey: Bytes;
}

/** What a good `renew-key` has proved. `keyID` is 22 characters base64url, `publicKey` 65 bytes. */
export interface RenewedKey {
  publicKey: Bytes;
  keyID: string;
}

/**
 * - `new`: nothing was said.
 * - `open`: `renew` has been made; the key is awaited.
 * - `busy`: the key is being checked.
 * - `proved`: it is good; the store is written, then `ok` follows.
 * - `over` (final): answered, or refused.
 */
type ServerState = 'new' | 'open' | 'busy' | 'proved' | 'over';

/**
 * The server's steps of one renewal: `open`, `receive`, `ok`, each once.
 *
 * It does no I/O: time limit, store and link are its caller's. A `renew-key` on a link that has no open renewal
 * must end the link as `receive` does: otherwise whoever resumes a session once could give it a key of his own.
 */
export class ServerRenewal {
  readonly #options: ServerRenewalOptions;
  readonly #renewID: Bytes;
  #state: ServerState = 'new';

  constructor(options: ServerRenewalOptions) {
    this.#options = options;
    this.#renewID = options.crypto.randomBytes(RENEW_ID_BYTES);
  }

  /** Returns the `renew` that asks the client for another key. */
  open(): IdentityEnvelope {
    if (this.#state !== 'new') throw new TypeError('open() must be called once');
    this.#state = 'open';
    return renewalEnvelope({ what: 'renew', renewID: this.#renewID });
  }

  /**
   * Takes what the client has answered. Whether the store knows the key already is the caller's to see.
   *
   * @throws {WebgramError} `WEBGRAM_BAD_FRAME` for anything but the one good `renew-key`: the link ends then.
   */
  async receive(envelope: IdentityEnvelope): Promise<RenewedKey> {
    const wasOpen = this.#state === 'open';
    this.#state = wasOpen ? 'busy' : 'over';
    try {
      if (!wasOpen) throw bad('no renewal is open');
      const key = await this.#check(parseRenewal(envelope));
      // A second one may have ended it meanwhile.
      if (this.#isOver) throw bad('one key must answer a renewal');
      this.#state = 'proved';
      return key;
    } catch (error) {
      this.#state = 'over';
      throw error;
    }
  }

  get #isOver(): boolean {
    return this.#state === 'over';
  }

  async #check(word: RenewalWord): Promise<RenewedKey> {
    const { crypto, exporter, publicKey } = this.#options;
    if (word.what !== 'renew-key' || !crypto.equal(word.renewID, this.#renewID)) {
      throw bad('another renewal is open');
    }
    const { publicKey: nextPublicKey, signature } = word;
    if (crypto.equal(nextPublicKey, publicKey)) throw bad('a renewal must bring another key');
    const input = renewInput({ exporter, renewID: this.#renewID, publicKey, nextPublicKey });
    if (!(await crypto.verify(nextPublicKey, signature, input))) throw bad('sig_n does not verify');
    return { publicKey: nextPublicKey, keyID: toBase64url(await keyIDOf(crypto, nextPublicKey)) };
  }

  /** Returns the `renew-ok`, which follows the synced write; `bye ["renewed"]` comes behind it. */
  ok(): IdentityEnvelope {
    if (this.#state !== 'proved') throw new TypeError('ok() must follow a key that was good');
    this.#state = 'over';
    return renewalEnvelope({ what: 'renew-ok', renewID: this.#renewID });
  }
}

export interface ClientRenewalOptions {
  /** `exporter` of the keys of the link on which it happens. */
  exporter: Bytes;
  /** C, 65 bytes: the key that this link was opened with. */
  publicKey: Bytes;
}

/**
 * The client's steps of one renewal: it begins with the server's `renew`, then `answer`, then `receiveOk`.
 *
 * It does no I/O. The key that it answers with is in durable storage before; none is dropped before a
 * `session-ok` has come with the other.
 */
export class ClientRenewal {
  readonly #options: ClientRenewalOptions;
  readonly #renewID: Bytes;
  #state: 'asked' | 'answered' | 'done' = 'asked';

  /** @throws {WebgramError} `WEBGRAM_BAD_FRAME` unless the envelope is a `renew`. */
  constructor(envelope: IdentityEnvelope, options: ClientRenewalOptions) {
    if (envelope.what !== 'renew') throw bad('a renewal must begin with renew');
    this.#renewID = parseRenewID(envelope);
    this.#options = options;
  }

  /** The server has said that the next key stands in the place of the old one. */
  get isDone(): boolean {
    return this.#state === 'done';
  }

  /** Returns the `renew-key` for a key that has been stored. */
  async answer(next: SigningKey): Promise<IdentityEnvelope> {
    if (this.#state !== 'asked') throw new TypeError('answer() must be called once');
    this.#state = 'answered';
    const input = renewInput({ ...this.#options, renewID: this.#renewID, nextPublicKey: next.publicKey });
    const signature = await next.sign(input);
    return renewalEnvelope({
      what: 'renew-key',
      renewID: this.#renewID,
      publicKey: next.publicKey,
      signature,
    });
  }

  /**
   * Takes the server's `renew-ok`: from now on the old key is answered with a denial only.
   *
   * @throws {WebgramError} `WEBGRAM_BAD_FRAME` for any other envelope, and before the key has been sent.
   */
  receiveOk(envelope: IdentityEnvelope): void {
    const isOurs =
      envelope.what === 'renew-ok' && toBase64url(parseRenewID(envelope)) === toBase64url(this.#renewID);
    if (!isOurs || this.#state !== 'answered') throw bad('a renew-ok must answer our renew-key, once');
    this.#state = 'done';
  }
}

/** What the server says in a renewal is its renewID alone. */
function parseRenewID({ args }: IdentityEnvelope): Bytes {
  exactly(args, 1);
  return parseBytes(args[0], RENEW_ID_BYTES, 'renewID');
}

function exactly(args: readonly unknown[], length: number): void {
  if (args.length !== length) throw bad(`an envelope of this renewal must have ${length} arguments`);
}

function parseBytes(value: unknown, length: number, name: string): Bytes {
  // Longer text is not decoded first.
  const bytes = typeof value === 'string' && value.length <= 2 * length && fromBase64url(value);
  if (!bytes || bytes.length !== length) throw bad(`'${name}' must have ${length} bytes`);
  return bytes;
}

function bad(message: string): WebgramError {
  return new WebgramError('WEBGRAM_BAD_FRAME', message, { received: true });
}

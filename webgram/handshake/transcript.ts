import type { Bytes, Crypto, MacKey, SealKey } from '../crypto.ts';
import { WebgramError } from '../errors.ts';
import { concat, lp, utf8 } from '../wire/bytes.ts';
import { isSealed } from '../wire/sealed.ts';

/** Version of the protocol, first element of the hello. */
export const PROTOCOL_VERSION = 2;

/** The one exchange there is; another suite has another name and so another transcript. */
export const SUITE = 'ES256 P256 HKDF-SHA256 HMAC-SHA256';

const L = utf8(`webgram-sessions/2 ${SUITE}\0`);

/** Longest of each view, in bytes of UTF-8. */
export const MAX_VIEW_BYTES = 256;

/** What one end believes about the connection. Proofs verify only when both ends believe the same. */
export interface Views {
  /** The `Origin` header at the server, `globalThis.origin` at the client; "" when none is sent. */
  readonly origin: string;
  /** The host of the server's address, lower case, with the port unless it is the default. */
  readonly authority: string;
  /** The subprotocols that the client has offered, as `offeredView` returns them. */
  readonly offered: string;
  /** The subprotocol of the 101. */
  readonly chosen: string;
}

/**
 * Returns the view of a `Sec-WebSocket-Protocol` offer: split at commas, trimmed, joined with ",".
 *
 * @param offer The header, or the list given to `new WebSocket`.
 */
export function offeredView(offer: string | readonly string[]): string {
  const text = typeof offer === 'string' ? offer : offer.join(',');
  return text
    .split(',')
    .map((name) => name.trim())
    .join(',');
}

/**
 * Checks the views of either end.
 *
 * @throws {WebgramError} `WEBGRAM_BAD_HANDSHAKE` when one is too long, or the chosen subprotocol was not
 * offered. (Firefox opens a socket whose 101 names none.)
 */
export function checkViews(views: Views): void {
  for (const view of [views.origin, views.authority, views.offered, views.chosen]) {
    if (utf8(view).length > MAX_VIEW_BYTES) throw bad(`a view must have at most ${MAX_VIEW_BYTES} bytes`);
  }
  if (views.chosen === '' || !views.offered.split(',').includes(views.chosen)) {
    throw bad('the chosen subprotocol must be one that was offered');
  }
}

function bad(message: string): WebgramError {
  return new WebgramError('WEBGRAM_BAD_HANDSHAKE', message);
}

/** What a client's proof is made of. `body` is the exact text; signature and tag are the bytes. */
export interface ProofParts {
  type: 'session-create' | 'session-resume';
  body: string;
}

/** th1: both views of the connection and the hello. 32 bytes. */
export async function hashHello(crypto: Crypto, views: Views, helloBody: string): Promise<Bytes> {
  const { origin, authority, offered, chosen } = views;
  return crypto.sha256(
    concat(
      L,
      utf8('hello\0'),
      lp(utf8(origin)),
      lp(utf8(authority)),
      lp(utf8(offered)),
      lp(utf8(chosen)),
      lp(utf8(helloBody)),
    ),
  );
}

/** th2: th1 and what the client says. 32 bytes. `publicKey` is its identity key C, 65 bytes. */
export async function hashProof(
  crypto: Crypto,
  th1: Bytes,
  { type, body }: ProofParts,
  publicKey: Bytes,
): Promise<Bytes> {
  return crypto.sha256(concat(L, utf8('client\0'), th1, lp(utf8(type)), lp(publicKey), lp(utf8(body))));
}

export interface AnswerParts extends ProofParts {
  /** 64 bytes. */
  clientSignature: Bytes;
  /** 32 bytes. */
  clientTag: Bytes;
  answerType: 'session-ok' | 'session-denied';
  answerBody: string;
}

/** th3: th1, every byte the server has received, and what it answers. 32 bytes. */
export async function hashAnswer(crypto: Crypto, th1: Bytes, parts: AnswerParts): Promise<Bytes> {
  return crypto.sha256(
    concat(
      L,
      utf8('answer\0'),
      th1,
      lp(utf8(parts.type)),
      lp(utf8(parts.body)),
      lp(parts.clientSignature),
      lp(parts.clientTag),
      lp(utf8(parts.answerType)),
      lp(utf8(parts.answerBody)),
    ),
  );
}

/** What a client signs with its identity key. */
export function clientSignatureInput(th2: Bytes): Bytes {
  return concat(utf8('webgram-sessions/2 client\0'), th2);
}

/** What a server signs with its key. */
export function serverSignatureInput(th3: Bytes): Bytes {
  return concat(utf8('webgram-sessions/2 server\0'), th3);
}

/** Labels of the keys that one handshake gives. */
export type KeyLabel =
  | 'c confirm'
  | 's confirm'
  | 'c frame'
  | 's frame'
  | 'exporter'
  /** Instead of the two of `frame` in sealed mode. */
  | 'c seal'
  | 's seal';

/**
 * The keys of one connection: HKDF-SHA-256 (RFC 5869) of the ECDH secret with th2 as salt.
 *
 * It is made of HMACs, so that the extract step, which all keys share, is done once.
 */
export class KeySchedule {
  readonly #crypto: Crypto;
  readonly #pseudoRandomKey: MacKey;

  private constructor(crypto: Crypto, pseudoRandomKey: MacKey) {
    this.#crypto = crypto;
    this.#pseudoRandomKey = pseudoRandomKey;
  }

  static async from(crypto: Crypto, secret: Bytes, th2: Bytes): Promise<KeySchedule> {
    const extract = await crypto.macKey(th2);
    return new KeySchedule(crypto, await crypto.macKey(await extract.mac(secret)));
  }

  /** @returns 32 bytes: the first and only block of the expand step. */
  async bytes(label: KeyLabel): Promise<Bytes> {
    return this.#pseudoRandomKey.mac(concat(utf8(`webgram-sessions/2 ${label}`), Uint8Array.of(1)));
  }

  async macKey(label: KeyLabel): Promise<MacKey> {
    return this.#crypto.macKey(await this.bytes(label));
  }

  async sealKey(label: KeyLabel): Promise<SealKey> {
    return this.#crypto.sealKey(await this.bytes(label));
  }
}

/** The first 16 bytes of SHA-256 of a public key: finds it, is no secret. */
export async function keyIDOf(crypto: Crypto, publicKey: Bytes): Promise<Bytes> {
  return (await crypto.sha256(publicKey)).slice(0, 16);
}

/** What a finished handshake leaves for the frames: MAC keys, or seal keys in sealed mode. */
export interface LinkKeys {
  /** Opens what comes in. */
  receive: MacKey | SealKey;
  /** Protects what goes out. */
  send: MacKey | SealKey;
  /** 32 bytes that both ends know and nobody else; binds a renewal to this connection. */
  exporter: Bytes;
}

/** @param chosen The subprotocol of the connection: its name tells whether frames are sealed. */
export async function linkKeys(
  schedule: KeySchedule,
  role: 'client' | 'server',
  chosen: string,
): Promise<LinkKeys> {
  const sealed = isSealed(chosen);
  const [fromClient, fromServer, exporter] = await Promise.all([
    sealed ? schedule.sealKey('c seal') : schedule.macKey('c frame'),
    sealed ? schedule.sealKey('s seal') : schedule.macKey('s frame'),
    schedule.bytes('exporter'),
  ]);
  return role === 'client'
    ? { receive: fromServer, send: fromClient, exporter }
    : { receive: fromClient, send: fromServer, exporter };
}

import type { Bytes } from '../crypto.ts';
import { WebgramError } from '../errors.ts';
import { fromBase64url, toBase64url } from '../wire/base64url.ts';
import { utf8Length } from '../wire/bytes.ts';
import { decodeJson, encodeJson, isPlainObject } from '../wire/json.ts';
import { PROTOCOL_VERSION, SUITE } from './transcript.ts';

export const CHALLENGE_BYTES = 32;
export const STORE_ID_BYTES = 16;
export const KEY_ID_BYTES = 16;
export const SIGNATURE_BYTES = 64;
export const CONFIRM_BYTES = 32;
/** An uncompressed point of P-256. */
export const POINT_BYTES = 65;
/** Most entries of `caps`, and most characters of each. */
export const MAX_CAPS = 16;
export const MAX_CAP_LENGTH = 64;

/** Codes of a `session-denied`. PROTOCOL.md, "Denials", says what each may do. */
export const DENIAL_CODES = ['unknown', 'revoked', 'expired', 'renewed'] as const;

export type DenialCode = (typeof DENIAL_CODES)[number];

/** First frame of a connection, from the server. */
export interface HelloBody {
  /** E_s, 65 bytes. */
  ephemeral: Bytes;
  /** S, 65 bytes. */
  serverKey: Bytes;
  /** 32 bytes. */
  challenge: Bytes;
  /** 16 bytes. */
  storeID: Bytes;
  maxFrameBytes: number;
  pingMs: number;
  maxEarlyBytes: number;
}

export interface CreateBody {
  type: 'session-create';
  /** C, 65 bytes. */
  publicKey: Bytes;
  /** E_c, 65 bytes. */
  ephemeral: Bytes;
  /** What the application said about the client when it made the session. */
  fromClient: Record<string, unknown> | null;
  caps: string[];
}

export interface ResumeBody {
  type: 'session-resume';
  /** 16 bytes. */
  keyID: Bytes;
  /** E_c, 65 bytes. */
  ephemeral: Bytes;
  sessionID: number;
  caps: string[];
}

export type ProofBody = CreateBody | ResumeBody;

/** What the server says of a session whose client has proved itself. */
export interface OkBody {
  sessionID: number;
  serverTimeMs: number;
  /** How long the session lives without being used; `null` for without end. */
  expiresInMs: number | null;
  /** How long this link may live. */
  maxLinkMs: number;
  /** Larger than that of every earlier link of the session. */
  generation: number;
  /** The server's other key while it changes keys, 65 bytes. */
  otherServerKey: Bytes | null;
}

/**
 * The outer array of a handshake frame: its type, the body's exact text, then byte fields.
 */
export interface HandshakeFrame {
  type: string;
  body: string;
  fields: Bytes[];
}

/** Returns the text of a handshake frame. */
export function encodeHandshakeFrame(type: string, body: string, ...fields: readonly Uint8Array[]): string {
  return JSON.stringify([type, body, ...fields.map(toBase64url)]);
}

/**
 * Parses the outer array of a handshake frame.
 *
 * @param shapes The types that may come now, each with the lengths of its byte fields.
 * @throws {WebgramError} `WEBGRAM_BAD_FRAME`, or `WEBGRAM_FRAME_TOO_LARGE` above `maxBytes`.
 */
export function parseHandshakeFrame<T extends string>(
  text: string,
  maxBytes: number,
  shapes: Readonly<Record<T, readonly number[]>>,
): HandshakeFrame & { type: T } {
  if (text.length > maxBytes || utf8Length(text) > maxBytes) {
    throw new WebgramError(
      'WEBGRAM_FRAME_TOO_LARGE',
      `a handshake frame must have at most ${maxBytes} bytes`,
      {
        received: true,
      },
    );
  }
  let frame: unknown;
  try {
    frame = JSON.parse(text);
  } catch {
    throw bad('a handshake frame must be JSON');
  }
  if (!Array.isArray(frame)) throw bad('a handshake frame must be an array');
  const [type, body, ...rest] = frame as unknown[];
  if (typeof type !== 'string' || !Object.hasOwn(shapes, type))
    throw bad('an unexpected type of handshake frame');
  if (typeof body !== 'string') throw bad("'body' must be a string");
  const lengths = shapes[type as T];
  if (rest.length !== lengths.length) throw bad(`'${type}' must have ${lengths.length + 2} elements`);
  const fields = lengths.map((length, i) => parseBytes(rest[i], length, 'a byte field'));
  return { type: type as T, body, fields };
}

export function encodeHelloBody(hello: HelloBody): string {
  const { ephemeral, serverKey, challenge, storeID, maxFrameBytes, pingMs, maxEarlyBytes } = hello;
  const bytes = [ephemeral, serverKey, challenge, storeID].map(toBase64url);
  return JSON.stringify([PROTOCOL_VERSION, SUITE, ...bytes, maxFrameBytes, pingMs, maxEarlyBytes]);
}

export function parseHelloBody(body: string): HelloBody {
  const [version, suite, ephemeral, serverKey, challenge, storeID, ...numbers] = parseArray(body, 9);
  if (version !== PROTOCOL_VERSION) throw bad(`the protocol version must be ${PROTOCOL_VERSION}`);
  if (suite !== SUITE) throw bad(`the suite must be ${SUITE}`);
  return {
    ephemeral: parsePoint(ephemeral, 'E_s'),
    serverKey: parsePoint(serverKey, 'S'),
    challenge: parseBytes(challenge, CHALLENGE_BYTES, 'challenge'),
    storeID: parseBytes(storeID, STORE_ID_BYTES, 'storeID'),
    maxFrameBytes: parseInteger(numbers[0], 1, 'maxFrameBytes'),
    pingMs: parseInteger(numbers[1], 1, 'pingMs'),
    maxEarlyBytes: parseInteger(numbers[2], 0, 'maxEarlyBytes'),
  };
}

export function encodeProofBody(proof: ProofBody): string {
  const ephemeral = toBase64url(proof.ephemeral);
  if (proof.type === 'session-resume') {
    return JSON.stringify([toBase64url(proof.keyID), ephemeral, proof.sessionID, proof.caps]);
  }
  const { publicKey, fromClient, caps } = proof;
  return encodeJson([toBase64url(publicKey), ephemeral, fromClient, caps]);
}

/** @param maxFromClientBytes Longest `fromClient`, in bytes of encoded JSON. */
export function parseProofBody(type: ProofBody['type'], body: string, maxFromClientBytes: number): ProofBody {
  const [who, ephemeral, what, caps] = parseArray(body, 4);
  const common = { ephemeral: parsePoint(ephemeral, 'E_c'), caps: parseCaps(caps) };
  if (type === 'session-resume') {
    const keyID = parseBytes(who, KEY_ID_BYTES, 'keyID');
    return { type, keyID, sessionID: parseInteger(what, 1, 'sessionID'), ...common };
  }
  const publicKey = parsePoint(who, 'C');
  return { type, publicKey, fromClient: parseFromClient(what, maxFromClientBytes), ...common };
}

export function encodeOkBody(ok: OkBody): string {
  const { sessionID, serverTimeMs, expiresInMs, maxLinkMs, generation, otherServerKey } = ok;
  const other = otherServerKey === null ? null : toBase64url(otherServerKey);
  return JSON.stringify([sessionID, serverTimeMs, expiresInMs, maxLinkMs, generation, other]);
}

export function parseOkBody(body: string): OkBody {
  const [sessionID, serverTimeMs, expiresInMs, maxLinkMs, generation, other] = parseArray(body, 6);
  return {
    sessionID: parseInteger(sessionID, 1, 'sessionID'),
    serverTimeMs: parseInteger(serverTimeMs, 0, 'serverTimeMs'),
    expiresInMs: expiresInMs === null ? null : parseInteger(expiresInMs, 0, 'expiresInMs'),
    maxLinkMs: parseInteger(maxLinkMs, 1, 'maxLinkMs'),
    generation: parseInteger(generation, 1, 'generation'),
    otherServerKey: other === null ? null : parsePoint(other, 'otherS'),
  };
}

export function encodeDeniedBody(code: DenialCode): string {
  return JSON.stringify([code]);
}

export function parseDeniedBody(body: string): DenialCode {
  const [code] = parseArray(body, 1);
  const known = DENIAL_CODES.find((name) => name === code);
  if (known === undefined) throw bad("'code' must be a known denial");
  return known;
}

function bad(message: string): WebgramError {
  return new WebgramError('WEBGRAM_BAD_FRAME', message, { received: true });
}

function parseArray(body: string, length: number): unknown[] {
  const array = decodeJson(body);
  if (!Array.isArray(array) || array.length !== length)
    throw bad(`'body' must be an array of ${length} elements`);
  return array as unknown[];
}

function parseBytes(value: unknown, length: number, name: string): Bytes {
  if (typeof value !== 'string') throw bad(`'${name}' must be a string, got ${typeof value}`);
  const bytes = fromBase64url(value);
  if (bytes.length !== length) throw bad(`'${name}' must have ${length} bytes, got ${bytes.length}`);
  return bytes;
}

/** Whether a point is on the curve is seen when it is used; its spelling is checked here. */
function parsePoint(value: unknown, name: string): Bytes {
  const point = parseBytes(value, POINT_BYTES, name);
  if (point[0] !== 0x04) throw bad(`'${name}' must be an uncompressed point`);
  return point;
}

function parseInteger(value: unknown, min: number, name: string): number {
  if (!Number.isSafeInteger(value) || (value as number) < min) {
    throw bad(`'${name}' must be an integer from ${min} up, got ${typeof value}`);
  }
  return value as number;
}

function parseCaps(value: unknown): string[] {
  if (!Array.isArray(value) || value.length > MAX_CAPS)
    throw bad(`'caps' must be a list of at most ${MAX_CAPS}`);
  return value.map((cap: unknown) => {
    if (typeof cap !== 'string' || cap.length > MAX_CAP_LENGTH) {
      throw bad(`'caps' must hold strings of at most ${MAX_CAP_LENGTH} characters`);
    }
    return cap;
  });
}

function parseFromClient(value: unknown, maxBytes: number): Record<string, unknown> | null {
  if (value === null) return null;
  if (!isPlainObject(value)) throw bad(`'fromClient' must be an object or null, got ${typeof value}`);
  if (utf8Length(encodeJson(value)) > maxBytes) throw bad(`'fromClient' must have at most ${maxBytes} bytes`);
  return value;
}

import type { Bytes } from '../crypto.ts';
import { WebgramError } from '../errors.ts';
import { fromUtf8, utf8Length } from './bytes.ts';
import { describeWirePath, toWire, type Envelope } from './envelope.ts';
import { decodeJson, encodeJson, type EncodeJsonOptions } from './json.ts';

/** One envelope, encoded; several are joined to a payload. */
export interface EncodedEnvelope {
  readonly data: string | Bytes;
  /** Bytes that it adds to a payload, separator included. */
  readonly bytes: number;
}

/**
 * The end of an envelope, encoded when it was sent: the list of its type and arguments, or of its error and value.
 *
 * It is kept as it is for as long as it waits, whichever link it leaves by; see `bodyFor`.
 */
export interface EncodedBody {
  /** JSON text, or CBOR in bytes. */
  readonly data: string | Bytes;
  /** Length, of a text that of its UTF-8. */
  readonly bytes: number;
}

/** What a frame carries behind its tag. */
export type Payload = string | Bytes;

/** How envelopes become payloads. One for each WebSocket subprotocol. */
export interface PayloadCodec {
  readonly subprotocol: 'webgram.2.json' | 'webgram.2.cbor';
  /** Binary WebSocket messages, otherwise text. */
  readonly binary: boolean;
  /** Bytes that joining adds at most beside those of the envelopes. */
  readonly joinBytes: number;
  /**
   * Encodes the wire list of one envelope.
   *
   * @throws {WebgramError} `WEBGRAM_NOT_ENCODABLE`, naming the place as `args[0].x`.
   */
  encode(wire: readonly unknown[]): EncodedEnvelope;
  /**
   * Encodes the last elements of an envelope, at least one.
   *
   * @param describe Names the place of what cannot be encoded.
   * @throws {WebgramError} `WEBGRAM_NOT_ENCODABLE`, naming the place.
   */
  encodeBody(list: readonly unknown[], describe?: EncodeJsonOptions['describe']): EncodedBody;
  /** Decodes what this codec's `encodeBody` has made. */
  decodeBody(body: EncodedBody): unknown[];
  /**
   * Encodes an envelope whose end was encoded when it was sent, perhaps long ago and for another link.
   *
   * @param head Its first elements: integers and lists of integers, fewer than 24.
   * @param body Its other elements, as this codec's `encodeBody` has made them.
   */
  encodeWithBody(head: readonly (number | readonly number[])[], body: EncodedBody): EncodedEnvelope;
  join(envelopes: readonly EncodedEnvelope[]): Payload;
  /**
   * Decodes a payload, whose tag has been verified.
   *
   * @param payload Text or bytes, as it has arrived: text in UTF-8 bytes is taken as well.
   * @throws {WebgramError} `WEBGRAM_BAD_FRAME`.
   */
  decode(payload: string | Uint8Array): unknown;
}

/** The subprotocol `webgram.2.json`: text frames, JSON with the mapping of PROTOCOL.md, "JSON". */
export const jsonCodec: PayloadCodec = {
  subprotocol: 'webgram.2.json',
  binary: false,
  joinBytes: 2,
  encode(wire) {
    const data = encodeJson(wire, { depth: 1, describe: (path) => describeWirePath(wire, path) });
    return { data, bytes: utf8Length(data) + 1 };
  },
  encodeBody(list, describe) {
    const data = encodeJson(list, describe === undefined ? { depth: 1 } : { depth: 1, describe });
    return { data, bytes: utf8Length(data) };
  },
  decodeBody({ data }) {
    return decodeJson(data as string) as unknown[];
  },
  encodeWithBody(head, body) {
    let start = '[';
    for (const item of head) start += typeof item === 'number' ? `${item},` : `[${item.join()}],`;
    // The bracket that is cut off is the comma that joining adds.
    return { data: start + (body.data as string).slice(1), bytes: start.length + body.bytes };
  },
  join(envelopes) {
    return `[${envelopes.map((envelope) => envelope.data as string).join(',')}]`;
  },
  decode(payload) {
    return decodeJson(typeof payload === 'string' ? payload : fromUtf8(payload));
  },
};

/** Encodes envelopes as the payload of one frame. */
export function encodeEnvelopes(codec: PayloadCodec, envelopes: readonly Envelope[]): Payload {
  return codec.join(envelopes.map((envelope) => codec.encode(toWire(envelope))));
}

/**
 * Decodes the payload of one frame: all of its envelopes or none.
 *
 * @param parse `parseUp` or `parseDown`.
 * @throws {WebgramError} `WEBGRAM_BAD_FRAME` unless it is a list of one or more envelopes.
 */
export function decodeEnvelopes<E extends Envelope>(
  codec: PayloadCodec,
  payload: string | Uint8Array,
  parse: (wire: unknown) => E,
): E[] {
  const list = codec.decode(payload);
  if (!Array.isArray(list) || list.length === 0) {
    throw new WebgramError('WEBGRAM_BAD_FRAME', 'a frame must carry a list of envelopes');
  }
  return list.map((wire) => parse(wire));
}

import type { Bytes } from '../crypto.ts';
import { WebgramError } from '../errors.ts';
import { fromUtf8, utf8Length } from './bytes.ts';
import { describeWirePath, toWire, type Envelope } from './envelope.ts';
import { decodeJson, encodeJson } from './json.ts';

/** One envelope, encoded; several are joined to a payload. */
export interface EncodedEnvelope {
  readonly data: string | Bytes;
  /** Bytes that it adds to a payload, separator included. */
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
  join(envelopes: readonly EncodedEnvelope[]): Payload;
  /**
   * Decodes a payload, whose tag has been verified.
   *
   * @param payload Text or bytes, as it has arrived: text in UTF-8 bytes is taken as well.
   * @throws {WebgramError} `WEBGRAM_BAD_FRAME`.
   */
  decode(payload: string | Uint8Array): unknown;
}

/** The payloads of `webgram.2.json`, for a peer that encodes no bodies by themselves. */
export const jsonPayloads: PayloadCodec = {
  subprotocol: 'webgram.2.json',
  binary: false,
  joinBytes: 2,
  encode(wire) {
    const data = encodeJson(wire, { depth: 1, describe: (path) => describeWirePath(wire, path) });
    return { data, bytes: utf8Length(data) + 1 };
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

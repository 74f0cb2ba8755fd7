import type { Bytes } from '../crypto.ts';
import { utf8Length } from './bytes.ts';
import { decodeJson, encodeJson, type EncodeJsonOptions } from './json.ts';
import { jsonPayloads, type EncodedEnvelope, type PayloadCodec } from './payload.ts';

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

/** A codec that also encodes the ends of envelopes by themselves, to be kept until a link takes them. */
export interface BodyCodec extends PayloadCodec {
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
}

/** The subprotocol `webgram.2.json`: text frames, JSON with the mapping of PROTOCOL.md, "JSON". */
export const jsonCodec: BodyCodec = {
  ...jsonPayloads,
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
};

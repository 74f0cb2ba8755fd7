import { cborCodec } from './cbor.ts';
import { jsonCodec, type BodyCodec, type EncodedBody } from './body.ts';
import { sealedName } from './sealed.ts';

/** Every codec there is, the denser first. A platform that wants to be small names `jsonPayloads` alone. */
export const codecs: readonly BodyCodec[] = [cborCodec, jsonCodec];

/**
 * Returns the codec of a subprotocol, sealed or not; `undefined` when there is none.
 *
 * @param among The codecs that this end has. Default: all.
 */
export function codecFor(subprotocol: string, among: readonly BodyCodec[] = codecs): BodyCodec | undefined {
  return among.find((codec) => subprotocol === codec.subprotocol || subprotocol === sealedName(codec));
}

/**
 * Returns a body as a codec needs it: itself, or encoded anew when it was sent for a link with another codec.
 *
 * @throws {WebgramError} never for what an `encodeBody` has made: what one codec takes, the other takes.
 */
export function bodyFor(codec: BodyCodec, body: EncodedBody): EncodedBody {
  const own = typeof body.data === 'string' ? jsonCodec : cborCodec;
  return own === codec ? body : codec.encodeBody(own.decodeBody(body));
}

import { cborCodec } from './cbor.ts';
import { jsonCodec, type PayloadCodec } from './payload.ts';
import { sealedName } from './sealed.ts';

/** Every codec there is, the denser first. A platform that wants to be small names `jsonCodec` alone. */
export const codecs: readonly PayloadCodec[] = [cborCodec, jsonCodec];

/**
 * Returns the codec of a subprotocol, sealed or not; `undefined` when there is none.
 *
 * @param among The codecs that this end has. Default: all.
 */
export function codecFor(
  subprotocol: string,
  among: readonly PayloadCodec[] = codecs,
): PayloadCodec | undefined {
  return among.find((codec) => subprotocol === codec.subprotocol || subprotocol === sealedName(codec));
}

import type { PayloadCodec } from './payload.ts';

/** What ends the name of a subprotocol whose frames are sealed. */
const SUFFIX = '.sealed';

/**
 * Whether the frames of a subprotocol are sealed, that is encrypted, and not only tagged.
 *
 * The name is part of what both ends sign, so nobody can talk them out of it. PROTOCOL.md, "Sealed frames".
 */
export function isSealed(subprotocol: string): boolean {
  return subprotocol.endsWith(SUFFIX);
}

/**
 * Returns the subprotocols of codecs, in their order.
 *
 * @param sealed What the end is configured for: it offers and chooses no others.
 */
export function subprotocolsOf(codecs: readonly PayloadCodec[], sealed: boolean): string[] {
  return codecs.map((codec) => (sealed ? sealedName(codec) : codec.subprotocol));
}

/** The name of the subprotocol that seals payloads of a codec. */
export function sealedName(codec: PayloadCodec): string {
  return codec.subprotocol + SUFFIX;
}

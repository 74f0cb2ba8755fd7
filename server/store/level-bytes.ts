/** Numbers and lengths as LevelDB writes them. A read behind the end throws `RangeError`. */
export class Reader {
  readonly #bytes: Buffer;
  at = 0;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  get isAtEnd(): boolean {
    return this.at >= this.#bytes.length;
  }

  varint(): number {
    let value = 0;
    for (let factor = 1; factor < 2 ** 49; factor *= 128) {
      const byte = this.#bytes.readUInt8(this.at++);
      value += (byte & 127) * factor;
      if (byte < 128) return value;
    }
    throw new RangeError('a number is too long');
  }

  skip(bytes: number): void {
    this.at += bytes;
  }

  /** Passes over bytes that have their length before them. */
  skipPrefixed(): void {
    this.skip(this.varint());
  }
}

const CRC32C = Int32Array.from({ length: 256 }, (_, byte) => {
  let crc = byte;
  for (let bit = 0; bit < 8; bit += 1) crc = crc & 1 ? (crc >>> 1) ^ 0x82f63b78 : crc >>> 1;
  return crc;
});

/** LevelDB's checksum of bytes, as it stands in its files. */
export function maskedCrc32c(bytes: Uint8Array, from: number, to: number): number {
  if (to > bytes.length) throw new RangeError('a block ends behind the file');
  let crc = -1;
  for (let at = from; at < to; at += 1) crc = CRC32C[(crc ^ bytes[at]!) & 255]! ^ (crc >>> 8);
  crc = ~crc;
  return (((crc >>> 15) | (crc << 17)) + 0xa282ead8) >>> 0;
}

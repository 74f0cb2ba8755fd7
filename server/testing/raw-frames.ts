import type { Socket } from 'node:net';
import type { TestLink } from './test-client.ts';

export const OPCODE = { continuation: 0, text: 1, binary: 2, close: 8, ping: 9, pong: 10 } as const;

export interface RawFrameOptions {
  /** Default true. */
  fin?: boolean;
  /** The three reserved bits. Default 0. */
  rsv?: number;
  /** Default true, as a client must. */
  isMasked?: boolean;
  /** What the header says, whatever follows. Default: the length of the payload. */
  length?: number | bigint;
}

/** One WebSocket frame as RFC 6455 section 5.2 has it, well formed or not. */
export function rawFrame(
  opcode: number,
  payload: string | Uint8Array = '',
  { fin = true, rsv = 0, isMasked = true, length }: RawFrameOptions = {},
): Buffer {
  const data = Buffer.from(payload as string);
  const size = BigInt(length ?? data.length);
  const mask = isMasked ? Buffer.from([0x12, 0x34, 0x56, 0x78]) : Buffer.alloc(0);
  const short = size < 126n ? Number(size) : size < 65_536n ? 126 : 127;
  const head = Buffer.alloc(2 + (short === 126 ? 2 : short === 127 ? 8 : 0));
  head[0] = (fin ? 0x80 : 0) | (rsv << 4) | opcode;
  head[1] = (isMasked ? 0x80 : 0) | short;
  if (short === 126) head.writeUInt16BE(Number(size), 2);
  if (short === 127) head.writeBigUInt64BE(size, 2);
  if (isMasked) for (let i = 0; i < data.length; i += 1) data[i]! ^= mask[i & 3]!;
  return Buffer.concat([head, mask, data]);
}

/** The payload of a close frame. */
export function closePayload(code: number, reason: string | Uint8Array = ''): Buffer {
  const head = Buffer.alloc(2);
  head.writeUInt16BE(code);
  return Buffer.concat([head, Buffer.from(reason as string)]);
}

/** Writes bytes to the TCP connection of a link, past its WebSocket. */
export function writeRaw(link: TestLink, ...frames: readonly Uint8Array[]): void {
  const { _socket: tcp } = link.socket as unknown as { _socket: Socket };
  tcp.write(Buffer.concat(frames));
}

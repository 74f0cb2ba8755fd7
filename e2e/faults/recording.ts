/** One WebSocket message, or what was seen of a control frame. */
export interface RecordedFrame {
  from: 'client' | 'server';
  opcode: number;
  payload: Buffer;
}

const OPCODE_TEXT = 1;
const OPCODE_BINARY = 2;

/** The bytes of one TCP connection, both ways. */
export class Recording {
  readonly #fromClient: Buffer[] = [];
  readonly #fromServer: Buffer[] = [];
  #length = 0;

  add(from: 'client' | 'server', data: Buffer): void {
    (from === 'client' ? this.#fromClient : this.#fromServer).push(data);
    this.#length += data.length;
  }

  /** Bytes so far, both ways. */
  get length(): number {
    return this.#length;
  }

  /** The request of a WebSocket upgrade, which browsers always send on a connection of its own. */
  get isWebSocket(): boolean {
    return /^upgrade: *websocket\r$/im.test(this.requestHead);
  }

  /** Request line and headers. */
  get requestHead(): string {
    return headOf(Buffer.concat(this.#fromClient)).toString('latin1');
  }

  /** All bytes, as they went over the wire. */
  get bytes(): Buffer {
    return Buffer.concat([...this.#fromClient, ...this.#fromServer]);
  }

  /** Messages that the client sent, unmasked, in order. */
  get clientMessages(): RecordedFrame[] {
    return messages('client', Buffer.concat(this.#fromClient));
  }

  /** Messages that the server sent, in order. */
  get serverMessages(): RecordedFrame[] {
    return messages('server', Buffer.concat(this.#fromServer));
  }
}

function headOf(bytes: Buffer): Buffer {
  const end = bytes.indexOf('\r\n\r\n');
  return end < 0 ? bytes : bytes.subarray(0, end + 4);
}

/** Decodes the frames behind the headers; compression must be off, and browsers do not fragment. */
function messages(from: RecordedFrame['from'], bytes: Buffer): RecordedFrame[] {
  const found: RecordedFrame[] = [];
  let at = headOf(bytes).length;
  while (at + 2 <= bytes.length) {
    const opcode = bytes.readUInt8(at) & 0x0f;
    const isMasked = (bytes.readUInt8(at + 1) & 0x80) !== 0;
    let length = bytes.readUInt8(at + 1) & 0x7f;
    at += 2;
    if (length === 126) {
      length = bytes.readUInt16BE(at);
      at += 2;
    } else if (length === 127) {
      length = Number(bytes.readBigUInt64BE(at));
      at += 8;
    }
    const mask = isMasked ? bytes.subarray(at, (at += 4)) : undefined;
    if (at + length > bytes.length) break;
    const payload = Buffer.from(bytes.subarray(at, at + length));
    at += length;
    if (mask !== undefined) for (let i = 0; i < length; i++) payload[i]! ^= mask[i & 3]!;
    if (opcode === OPCODE_TEXT || opcode === OPCODE_BINARY) found.push({ from, opcode, payload });
  }
  return found;
}

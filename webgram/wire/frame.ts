import type { Bytes, Crypto, MacKey, SealKey } from '../crypto.ts';
import { WebgramError } from '../errors.ts';
import { isPromiseLike, whenReady, type MaybePromise } from '../maybe-promise.ts';
import { base64urlBytes, toBase64url } from './base64url.ts';
import { concat, utf8, utf8Length, writeUint64, writeUtf8 } from './bytes.ts';
import type { Envelope } from './envelope.ts';
import { decodeEnvelopes, type Payload, type PayloadCodec } from './payload.ts';

/** A frame as it goes to a socket: text for `webgram.2.json`, bytes for every other subprotocol. */
export type Frame = string | Bytes;

/** Who seals a frame. Both directions have their own key, and the tag names the direction besides. */
export type Sender = 'client' | 'server';

/** Bytes of a tag on the wire: the first half of an HMAC-SHA-256. */
export const TAG_BYTES = 16;
/** Characters of the same tag before a text payload. */
export const TAG_CHARACTERS = 22;

const LABEL = utf8('frame\0');
const DIRECTION: Record<Sender, number> = { client: 0x43, server: 0x53 };
const PREFIX_BYTES = LABEL.length + 1 + 8;

/** Where the input of a tag is put together when it fits: a MAC reads it before it returns. */
const scratch = new Uint8Array(131_072);

/**
 * Returns what a frame's tag is computed over; see PROTOCOL.md, "Frames".
 *
 * @param counter Number of frames sent before in this direction.
 * @returns `"frame\0"`, direction byte, 8-byte counter, payload in UTF-8 or as it is. Good until the next call.
 */
export function frameInput(sender: Sender, counter: number, payload: string | Uint8Array): Bytes {
  const most = PREFIX_BYTES + (typeof payload === 'string' ? payload.length * 3 : payload.length);
  const input = most <= scratch.length ? scratch : new Uint8Array(most);
  input.set(LABEL);
  input[LABEL.length] = DIRECTION[sender];
  writeUint64(input, LABEL.length + 1, counter);
  if (typeof payload === 'string') {
    return input.subarray(0, PREFIX_BYTES + writeUtf8(input, PREFIX_BYTES, payload));
  }
  input.set(payload, PREFIX_BYTES);
  return input.subarray(0, most);
}

/** Returns the bytes that the protection of a frame adds to a payload of that codec. */
export function tagLength(codec: PayloadCodec, key?: MacKey | SealKey): number {
  return isBinary(codec, key) ? TAG_BYTES : TAG_CHARACTERS;
}

function isBinary(codec: PayloadCodec, key?: MacKey | SealKey): boolean {
  return codec.binary || (key !== undefined && 'seal' in key);
}

/** What a sealed frame authenticates beside its payload. */
const ADDITIONAL: Record<Sender, Bytes> = {
  client: concat(LABEL, Uint8Array.of(DIRECTION.client)),
  server: concat(LABEL, Uint8Array.of(DIRECTION.server)),
};

/** The nonce of a sealed frame: 4 zero bytes, then the counter. Each direction has its own key. */
function nonceOf(counter: number): Bytes {
  const nonce = new Uint8Array(12);
  writeUint64(nonce, 4, counter);
  return nonce;
}

/** Bytes that own their buffer: those of a socket may be a Buffer over foreign memory. */
function ownBytes(data: string | Uint8Array): Bytes {
  return typeof data === 'string' ? utf8(data) : new Uint8Array(data);
}

/** Hands values on in the order in which they were put in, at once while all of them are there. */
class InOrder {
  #waiting = 0;
  #tail: PromiseLike<void> = Promise.resolve();

  put<T>(value: MaybePromise<T>, next: (value: T) => void, failed: (error: unknown) => void): void {
    if (this.#waiting === 0 && !isPromiseLike(value)) {
      next(value);
      return;
    }
    this.#waiting++;
    // Both at once: a rejection that waits for its turn would count as unhandled.
    const settled = Promise.allSettled([value, this.#tail]);
    this.#tail = settled.then(([own]) => {
      this.#waiting--;
      if (own.status === 'fulfilled') next(own.value);
      else failed(own.reason);
    });
  }
}

export interface FrameWriterOptions {
  /** A MAC key tags frames, a seal key encrypts them. */
  key: MacKey | SealKey;
  sender: Sender;
  codec: PayloadCodec;
  /** Longest frame that the peer takes, tag included, in bytes. */
  maxFrameBytes: number;
  /** Takes the frames in order. Must not throw. */
  output: (frame: Frame) => void;
  /** Called at most once, when no tag can be computed; nothing goes out after that. */
  failed: (error: unknown) => void;
}

/**
 * Seals payloads and hands the frames on in order.
 *
 * With synchronous crypto the frame is out when `write` returns. The counter is taken before the tag is
 * begun, so that frames in the making cannot change places.
 */
export class FrameWriter {
  readonly codec: PayloadCodec;
  readonly maxFrameBytes: number;
  /** Bytes that a frame has beside its payload. */
  readonly tagBytes: number;
  readonly #options: FrameWriterOptions;
  readonly #inOrder = new InOrder();
  #counter = 0;
  #stopped = false;

  constructor(options: FrameWriterOptions) {
    this.codec = options.codec;
    this.maxFrameBytes = options.maxFrameBytes;
    this.tagBytes = tagLength(options.codec, options.key);
    this.#options = options;
  }

  /**
   * Seals one payload.
   *
   * @throws {WebgramError} `WEBGRAM_FRAME_TOO_LARGE`; the counter stays as it was.
   */
  write(payload: Payload): void {
    if (this.#stopped) return;
    const { key, output, failed } = this.#options;
    this.#inOrder.put(
      'seal' in key ? this.#seal(key, payload) : this.#tag(key, payload),
      (frame) => {
        if (!this.#stopped) output(frame);
      },
      (error) => {
        if (this.#stopped) return;
        this.#stopped = true;
        failed(error);
      },
    );
  }

  #tag(key: MacKey, payload: Payload): MaybePromise<Frame> {
    const input = frameInput(this.#options.sender, this.#counter, payload);
    this.#take(input.length - PREFIX_BYTES);
    return whenReady(key.mac(input), (mac) => {
      const tag = mac.subarray(0, TAG_BYTES);
      return typeof payload === 'string' ? toBase64url(tag) + payload : concat(tag, payload);
    });
  }

  #seal(key: SealKey, payload: Payload): MaybePromise<Frame> {
    const text = typeof payload === 'string' ? utf8(payload) : payload;
    const counter = this.#take(text.length);
    return key.seal(nonceOf(counter), ADDITIONAL[this.#options.sender], text);
  }

  /** Takes the number of a frame with a payload of so many bytes, if it is not too long. */
  #take(payloadBytes: number): number {
    const { maxFrameBytes } = this;
    if (payloadBytes + this.tagBytes > maxFrameBytes) {
      throw new WebgramError('WEBGRAM_FRAME_TOO_LARGE', `a frame must have at most ${maxFrameBytes} bytes`);
    }
    return this.#counter++;
  }

  /** Drops what is still in the making; later writes do nothing. */
  stop(): void {
    this.#stopped = true;
  }
}

export interface FrameReaderOptions<E extends Envelope> {
  crypto: Pick<Crypto, 'equal'>;
  key: MacKey | SealKey;
  /** Whose frames these are. */
  sender: Sender;
  codec: PayloadCodec;
  /** Longest frame, tag included, in bytes. */
  maxFrameBytes: number;
  /** `parseUp` at the server, `parseDown` at the client. */
  parse: (wire: unknown) => E;
  /** Takes the envelopes of one frame, in order; ends with `bye` where there is one. */
  deliver: (envelopes: E[]) => void;
  /**
   * Called at most once, and nothing is delivered after that: `WEBGRAM_BAD_TAG`, `WEBGRAM_BAD_FRAME` or
   * `WEBGRAM_FRAME_TOO_LARGE`, or whatever `deliver` has thrown.
   */
  failed: (error: unknown) => void;
}

/**
 * Opens frames: counts, verifies, then parses, then delivers, in order.
 *
 * With synchronous crypto the envelopes are delivered when `receive` returns. After the first frame that does
 * not verify or parse, and after a `bye`, nothing more is read.
 */
export class FrameReader<E extends Envelope> {
  readonly #options: FrameReaderOptions<E>;
  readonly #inOrder = new InOrder();
  #counter = 0;
  #stopped = false;

  constructor(options: FrameReaderOptions<E>) {
    this.#options = options;
  }

  /**
   * Takes one WebSocket message. Never throws.
   *
   * @param data As it has arrived; the UTF-8 bytes of a text message are taken as well.
   * @param binary Whether it was a binary message. Default: whether `data` is bytes.
   */
  receive(data: string | Uint8Array, binary: boolean = typeof data !== 'string'): void {
    if (this.#stopped) return;
    const { key, codec, maxFrameBytes } = this.#options;
    const length = typeof data === 'string' ? utf8Length(data) : data.length;
    if (length > maxFrameBytes) {
      this.failLater(
        new WebgramError('WEBGRAM_FRAME_TOO_LARGE', `a frame must have at most ${maxFrameBytes} bytes`, {
          received: true,
        }),
      );
      return;
    }
    const wantsBinary = isBinary(codec, key);
    if (binary !== wantsBinary) {
      this.failLater(
        new WebgramError(
          'WEBGRAM_BAD_FRAME',
          `a frame must be a ${wantsBinary ? 'binary' : 'text'} message`,
          {
            received: true,
          },
        ),
      );
      return;
    }
    const counter = this.#counter++;
    this.#inOrder.put(
      'seal' in key ? this.#unseal(key, counter, data) : this.#verify(key, counter, data),
      (payload) => this.#open(payload),
      (error) => this.#fail(error),
    );
  }

  /** @returns The payload; `undefined` when its tag is wrong. */
  #verify(
    key: MacKey,
    counter: number,
    data: string | Uint8Array,
  ): MaybePromise<string | Uint8Array | undefined> {
    const { crypto, sender, codec } = this.#options;
    const split = tagLength(codec);
    const tag = typeof data === 'string' ? utf8(data.slice(0, split)) : data.subarray(0, split);
    const payload = typeof data === 'string' ? data.slice(split) : data.subarray(split);
    return whenReady(key.mac(frameInput(sender, counter, payload)), (mac) => {
      const full = mac.subarray(0, TAG_BYTES);
      // Comparing the text refuses the fifteen other spellings of a base64url tag.
      return crypto.equal(codec.binary ? full : base64urlBytes(full), tag) ? payload : undefined;
    });
  }

  /** @returns The payload; `undefined` when its tag is wrong. */
  #unseal(key: SealKey, counter: number, data: string | Uint8Array): MaybePromise<Uint8Array | undefined> {
    return key.open(nonceOf(counter), ADDITIONAL[this.#options.sender], ownBytes(data));
  }

  /** Delivers nothing more. */
  stop(): void {
    this.#stopped = true;
  }

  #open(payload: string | Uint8Array | undefined): void {
    if (this.#stopped) return;
    const { codec, parse, deliver } = this.#options;
    try {
      if (payload === undefined) {
        throw new WebgramError('WEBGRAM_BAD_TAG', 'a frame does not verify', { received: true });
      }
      const envelopes = decodeEnvelopes(codec, payload, parse);
      const bye = envelopes.findIndex((envelope) => envelope.kind === 'bye');
      if (bye >= 0) {
        this.#stopped = true;
        envelopes.length = bye + 1;
      }
      deliver(envelopes);
    } catch (error) {
      this.#fail(error);
    }
  }

  /** Fails with that error, in turn: frames before it that are still being verified are good. */
  failLater(error: unknown): void {
    this.#inOrder.put(
      undefined,
      () => this.#fail(error),
      () => undefined,
    );
  }

  #fail(error: unknown): void {
    if (this.#stopped) return;
    this.#stopped = true;
    this.#options.failed(error);
  }
}

/**
 * Keeps what a client sends right behind its proof until the server has decided about the proof.
 *
 * Nothing of it is verified or dispatched before; then it goes to the reader in order.
 */
export class EarlyFrames {
  readonly #maxBytes: number;
  readonly #frames: { data: string | Uint8Array; binary: boolean }[] = [];
  #bytes = 0;

  /** @param maxBytes The `maxEarlyBytes` of the hello. */
  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  /** @throws {WebgramError} `WEBGRAM_FRAME_TOO_LARGE` when they are more than `maxBytes` together. */
  push(data: string | Uint8Array, binary: boolean): void {
    this.#bytes += typeof data === 'string' ? utf8Length(data) : data.length;
    if (this.#bytes > this.#maxBytes) {
      const message = `early frames must have at most ${this.#maxBytes} bytes together`;
      throw new WebgramError('WEBGRAM_FRAME_TOO_LARGE', message, { received: true });
    }
    this.#frames.push({ data, binary });
  }

  /** Empties it into the reader. */
  drain(reader: Pick<FrameReader<Envelope>, 'receive'>): void {
    for (const { data, binary } of this.#frames.splice(0)) reader.receive(data, binary);
  }
}

import {
  bodyFor,
  FrameReader,
  FrameWriter,
  KIND,
  parseUp,
  TickBatcher,
  type Crypto,
  type DownEnvelope,
  type EncodedBody,
  type Frame,
  type Limits,
  type LinkKeys,
  type BodyCodec,
  type Position,
  type UpEnvelope,
} from 'webgram';

export interface LinkChannelOptions {
  crypto: Crypto;
  keys: LinkKeys;
  codec: BodyCodec;
  limits: Limits;
  output: (frame: Frame) => void;
  /** Takes the envelopes of one frame, in order. */
  deliver: (envelopes: UpEnvelope[]) => void;
  /** A frame could not be made, opened or delivered; nothing goes either way after that. */
  failed: (error: unknown) => void;
}

/** Frames both ways behind the proofs: envelopes in and out, those of one tick sealed together. */
export class LinkChannel {
  readonly codec: BodyCodec;
  readonly #reader: FrameReader<UpEnvelope>;
  readonly #writer: FrameWriter;
  readonly #batcher: TickBatcher;

  constructor({ crypto, keys, codec, limits, output, deliver, failed }: LinkChannelOptions) {
    const { maxFrameBytes, tickFrameBytes } = limits;
    this.codec = codec;
    this.#writer = new FrameWriter({
      key: keys.send,
      sender: 'server',
      codec,
      maxFrameBytes,
      output,
      failed,
    });
    this.#reader = new FrameReader<UpEnvelope>({
      crypto,
      key: keys.receive,
      sender: 'client',
      codec,
      maxFrameBytes,
      parse: parseUp,
      deliver,
      failed,
    });
    this.#batcher = new TickBatcher({
      writer: this.#writer,
      tickFrameBytes,
      schedule: (flush) => {
        process.nextTick(() => {
          try {
            flush();
          } catch (error) {
            failed(error);
          }
        });
      },
    });
  }

  /** Takes one WebSocket message. Never throws. */
  receive(data: string | Uint8Array, isBinary: boolean): void {
    this.#reader.receive(data, isBinary);
  }

  /** @throws {WebgramError} as `TickBatcher.send` does. */
  send(envelope: DownEnvelope): void {
    this.#batcher.send(envelope);
  }

  /** Sends what was encoded before; see `SessionLink.sendMessage`. @throws as `send`. */
  sendMessage(
    kind: 'send' | 'ask' | 'answer',
    tab: number,
    { life, n }: Position,
    ack: number,
    asked: number | undefined,
    body: EncodedBody,
  ): void {
    const head = [KIND[kind], tab, [life, n], ack];
    if (asked !== undefined) head.push(asked);
    this.#batcher.sendEncoded(this.codec.encodeWithBody(head, bodyFor(this.codec, body)));
  }

  /** Sends what this tick has collected now. */
  flush(): void {
    this.#batcher.flush();
  }

  /** Nothing goes either way any more. */
  stop(): void {
    this.#reader.stop();
    this.#writer.stop();
  }
}

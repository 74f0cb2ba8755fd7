import { WebgramError } from '../errors.ts';
import { toWire, type Envelope } from './envelope.ts';
import type { FrameWriter } from './frame.ts';
import type { EncodedEnvelope } from './payload.ts';

/** So many envelopes leave as a frame at once: the other end can work on them while this one goes on. */
const FULL_FRAME_ENVELOPES = 32;

export interface TickBatcherOptions {
  writer: FrameWriter;
  /** Runs a callback at the end of this tick: `process.nextTick` or `queueMicrotask`. */
  schedule: (flush: () => void) => void;
  /** Where a frame of several envelopes is cut, tag included, in bytes. */
  tickFrameBytes: number;
  /**
   * What may leave before `release()`, in bytes of frames together: at a client the `maxEarlyBytes` of the
   * hello. The rest waits. Default: no bound.
   */
  earlyBytes?: number;
}

/**
 * Collects the envelopes of one tick into one frame: one tag and one socket write for all of them.
 *
 * Order is kept. A frame is cut before it would become longer than `tickFrameBytes`, and after 32 envelopes; an
 * envelope that is longer by itself travels alone.
 */
export class TickBatcher {
  readonly #writer: FrameWriter;
  readonly #schedule: (flush: () => void) => void;
  readonly #tickFrameBytes: number;
  readonly #overheadBytes: number;
  #earlyBytes: number;
  #batch: EncodedEnvelope[] = [];
  #batchBytes = 0;
  #scheduled = false;
  /** Frames that wait for `release()`. */
  #held: EncodedEnvelope[][] = [];

  constructor({ writer, schedule, tickFrameBytes, earlyBytes = Infinity }: TickBatcherOptions) {
    this.#writer = writer;
    this.#schedule = schedule;
    this.#tickFrameBytes = tickFrameBytes;
    this.#earlyBytes = earlyBytes;
    this.#overheadBytes = writer.tagBytes + writer.codec.joinBytes;
  }

  /**
   * Encodes an envelope and sends it with the others of this tick.
   *
   * @returns Its encoded size in bytes.
   * @throws {WebgramError} `WEBGRAM_NOT_ENCODABLE`, or `WEBGRAM_MESSAGE_TOO_LARGE` when no frame can hold it;
   * nothing is sent then and the others are unharmed.
   */
  send(envelope: Envelope): number {
    const encoded = this.#writer.codec.encode(toWire(envelope));
    this.sendEncoded(encoded);
    return encoded.bytes;
  }

  /**
   * Sends an envelope that the writer's codec has encoded before.
   *
   * @throws {WebgramError} `WEBGRAM_MESSAGE_TOO_LARGE` when no frame can hold it.
   */
  sendEncoded(encoded: EncodedEnvelope): void {
    const { maxFrameBytes } = this.#writer;
    if (encoded.bytes + this.#overheadBytes > maxFrameBytes) {
      throw new WebgramError(
        'WEBGRAM_MESSAGE_TOO_LARGE',
        `a message must fit into a frame of ${maxFrameBytes} bytes`,
      );
    }
    if (this.#batch.length > 0 && this.#frameBytes(encoded.bytes) > this.#cutBytes()) this.#cut();
    this.#batch.push(encoded);
    this.#batchBytes += encoded.bytes;
    if (this.#batch.length === FULL_FRAME_ENVELOPES) this.#cut();
    if (this.#scheduled) return;
    this.#scheduled = true;
    this.#schedule(() => {
      this.#scheduled = false;
      this.flush();
    });
  }

  /** Sends what was collected now, not at the end of the tick. */
  flush(): void {
    if (this.#batch.length > 0) this.#cut();
  }

  /** Ends the early phase: what waited leaves, and nothing waits any more. */
  release(): void {
    this.#earlyBytes = Infinity;
    for (const batch of this.#held.splice(0)) this.#write(batch);
  }

  /** What a frame of the batch would have, with so many bytes more. */
  #frameBytes(more = 0): number {
    return this.#overheadBytes + this.#batchBytes + more;
  }

  #cutBytes(): number {
    return Math.min(this.#tickFrameBytes, this.#writer.maxFrameBytes);
  }

  #cut(): void {
    const batch = this.#batch;
    const bytes = this.#frameBytes();
    this.#batch = [];
    this.#batchBytes = 0;
    this.#earlyBytes -= bytes;
    // Once one frame waits, all later ones do, or they would overtake it.
    if (this.#earlyBytes < 0) this.#held.push(batch);
    else this.#write(batch);
  }

  #write(batch: readonly EncodedEnvelope[]): void {
    this.#writer.write(this.#writer.codec.join(batch));
  }
}

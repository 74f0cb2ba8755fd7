import {
  ClientHandshake,
  FrameReader,
  FrameWriter,
  hasCode,
  jsonPayloads,
  offeredView,
  parseDown,
  subprotocolsOf,
  TickBatcher,
  WebgramError,
} from 'webgram';
import type {
  Bytes,
  ByeEnvelope,
  DenialCode,
  DownEnvelope,
  Frame,
  Hello,
  Intent,
  Limits,
  LinkKeys,
  OkBody,
  PayloadCodec,
  SigningKey,
  UpEnvelope,
} from 'webgram';
import { Heartbeat } from './heartbeat.ts';
import type { HostPlatform, Socket } from './platform.ts';

/** How long the peer may take to close after our bye, in ms. */
const BYE_LIMIT_MS = 1_000;
/** Longest delay that timers take, in ms; a longer one fires at once. */
const MAX_TIMER_MS = 0x7fff_ffff;

/** Why a link is no more. Only `denied` and `bye` come from the server for certain; the rest are guesses. */
export type LinkEnd =
  | { name: 'denied'; code: DenialCode }
  | { name: 'bye'; bye: ByeEnvelope }
  | { name: 'failed'; reason: string };

export interface LinkOptions {
  /** Never given to another link of this host. */
  number: number;
  address: string;
  fromPlatform: Pick<HostPlatform, 'openSocket' | 'origin' | 'crypto' | 'clock' | 'schedule' | 'codecs'>;
  /** Offers only subprotocols whose frames are encrypted. */
  sealed: boolean;
  limits: Limits;
  /**
   * Chooses who the client is at this server.
   *
   * @throws to send nothing at all.
   */
  identify: (hello: Hello) => Promise<{ key: SigningKey; intent: Intent; caps: readonly string[] }>;
  /** `send` can be called. */
  opened: () => void;
  /** The link is as old as it may get: it lives until another one has taken over, or the server ends it. */
  aged: () => void;
  /** Both proofs have been verified. */
  up: (ok: OkBody, hello: Hello) => void;
  /** Envelopes of one frame, in order. */
  receive: (envelopes: readonly DownEnvelope[]) => void;
  /** The envelope cannot be encoded, or no frame can hold it. */
  dropped: (envelope: UpEnvelope, error: WebgramError) => void;
  /** Called once, unless the link was ended from this side; nothing else is called afterwards. */
  down: (end: LinkEnd) => void;
}

/**
 * - `connecting`: the socket opens, then the hello is awaited.
 * - `proving`: the proof is being made; what is sent waits.
 * - `early`: the proof has left; what is sent follows it up to the server's bound.
 * - `verifying`: the answer has come; frames behind it wait, and so does the end of the socket.
 * - `active`: both ends are who they say.
 * - `over` (final).
 */
type State =
  | { name: 'connecting'; handshake?: ClientHandshake }
  | { name: 'proving'; waiting: UpEnvelope[] }
  | ({ name: 'early'; handshake: ClientHandshake; hello: Hello } & Channel)
  | ({ name: 'verifying'; behind: (string | Uint8Array)[]; closed?: Error } & Channel)
  | ({ name: 'active'; reader: FrameReader<DownEnvelope>; heartbeat: Heartbeat } & Channel)
  | { name: 'over' };

interface Channel {
  batcher: TickBatcher;
  writer: FrameWriter;
  keys: LinkKeys;
}

/** The authenticated channel over one WebSocket: handshake, sealed frames, liveness. Says nothing about delivery. */
export class Link {
  readonly number: number;
  readonly #options: LinkOptions;
  readonly #socket: Socket;
  readonly #codecs: readonly PayloadCodec[];
  /** Subprotocols, one for each codec. */
  readonly #offer: readonly string[];
  #state: State = { name: 'connecting' };
  /** Ends the handshake, then the link, when they take too long. */
  #cancelLimit: () => void;

  /** Opens the socket. @throws when the platform refuses the address. */
  constructor(options: LinkOptions) {
    const { fromPlatform, limits, address, sealed } = options;
    this.number = options.number;
    this.#options = options;
    this.#codecs = fromPlatform.codecs ?? [jsonPayloads];
    this.#offer = subprotocolsOf(this.#codecs, sealed);
    const socket = fromPlatform.openSocket(address, [...this.#offer]);
    socket.binaryType = 'arraybuffer';
    socket.onopen = () => {
      this.#guard(() => this.#opened());
    };
    socket.onmessage = ({ data }) => {
      this.#guard(() => this.#received(data));
    };
    socket.onclose = ({ code, reason }) => {
      this.#closed(new Error(reason === '' ? `the socket closed with ${code}` : `${reason} (${code})`));
    };
    // A close event follows with what little there is to know.
    socket.onerror = null;
    this.#socket = socket;
    this.#cancelLimit = fromPlatform.clock.after(limits.handshakeTimeoutMs, () => {
      this.#fail('no answer from the server');
    });
  }

  /** The hello has come: `send` can be called. */
  get isOpen(): boolean {
    return 'waiting' in this.#state || 'batcher' in this.#state;
  }

  /** Binds what is signed on this link to it, 32 bytes; `undefined` unless the link is active. */
  get exporter(): Bytes | undefined {
    return this.#state.name === 'active' ? this.#state.keys.exporter : undefined;
  }

  /**
   * Sends an envelope with the others of this tick; what is sent early travels right behind the proof.
   *
   * Ignored when the link is not open.
   */
  send(envelope: UpEnvelope): void {
    const state = this.#state;
    if (state.name === 'proving') state.waiting.push(envelope);
    if (!('batcher' in state)) return;
    try {
      state.batcher.send(envelope);
    } catch (error) {
      if (isMisuse(error)) this.#options.dropped(envelope, error);
      else this.#fail(error);
    }
  }

  /** Finds out whether the other end still answers, within 3 s. */
  probe(): void {
    if (this.#state.name === 'active') this.#state.heartbeat.probe();
  }

  /** Ends the link in good order. `down` is not called. */
  bye(reason: string): void {
    const state = this.#state;
    if (state.name !== 'active') {
      this.abandon();
      return;
    }
    state.batcher.send({ kind: 'bye', reason, args: [] });
    state.batcher.flush();
    state.reader.stop();
    state.heartbeat.stop();
    this.#state = { name: 'over' };
    this.#cancelLimit();
    // The frame may still be in the making; the peer closes when it has come.
    const stop = this.#options.fromPlatform.clock.after(BYE_LIMIT_MS, () => {
      this.#release();
    });
    this.#socket.onclose = stop;
  }

  /** Ends the link at once, without waiting for the socket. `down` is not called. */
  abandon(): void {
    const state = this.#state;
    this.#state = { name: 'over' };
    if ('writer' in state) state.writer.stop();
    if (state.name === 'active') {
      state.reader.stop();
      state.heartbeat.stop();
    }
    this.#cancelLimit();
    this.#release();
  }

  #release(): void {
    const socket = this.#socket;
    socket.onopen = socket.onmessage = socket.onclose = null;
    // Without a listener `ws` would throw the error of a socket that is closed while it opens.
    socket.onerror = () => undefined;
    socket.close();
  }

  #opened(): void {
    const { address, fromPlatform, limits } = this.#options;
    const { crypto, origin } = fromPlatform;
    const authority = new URL(address).host;
    const chosen = this.#socket.protocol;
    const handshake = new ClientHandshake({
      crypto,
      limits,
      views: { origin, authority, offered: offeredView(this.#offer), chosen },
    });
    if (this.#state.name === 'connecting') this.#state = { name: 'connecting', handshake };
  }

  /** What came before the end of the socket counts, and may still be with the verifier: a bye, or a denial. */
  #closed(error: Error): void {
    const state = this.#state;
    if (state.name === 'active') state.reader.failLater(error);
    else if (state.name === 'verifying') state.closed = error;
    else this.#fail(error);
  }

  #received(data: unknown): void {
    const state = this.#state;
    if (state.name === 'active') {
      state.heartbeat.heard();
      state.reader.receive(bytesOrText(data));
    } else if (state.name === 'verifying') {
      state.behind.push(bytesOrText(data));
    } else {
      const text = bytesOrText(data);
      if (typeof text !== 'string') throw unexpected();
      if (state.name === 'connecting' && state.handshake !== undefined) {
        this.#run(this.#prove(state.handshake, state.handshake.receiveHello(text)));
      } else if (state.name === 'early') {
        this.#run(this.#answer(state, text));
      } else {
        throw unexpected();
      }
    }
  }

  async #prove(handshake: ClientHandshake, hello: Hello): Promise<void> {
    const { limits, identify, fromPlatform } = this.#options;
    const waiting: UpEnvelope[] = [];
    this.#state = { name: 'connecting' };
    const { key, intent, caps } = await identify(hello);
    if (this.#isOver) return;
    this.#state = { name: 'proving', waiting };
    this.#options.opened();
    const { proof, keys } = await handshake.prove(key, intent, caps);
    if (this.#isOver) return;
    const writer = new FrameWriter({
      key: keys.send,
      sender: 'client',
      codec: this.#codec,
      maxFrameBytes: Math.min(limits.maxFrameBytes, hello.maxFrameBytes),
      output: (frame) => {
        this.#write(frame);
      },
      failed: (error) => {
        this.#fail(error);
      },
    });
    const batcher = new TickBatcher({
      writer,
      schedule: fromPlatform.schedule,
      tickFrameBytes: limits.tickFrameBytes,
      earlyBytes: Math.min(limits.maxEarlyBytes, hello.maxEarlyBytes),
    });
    this.#write(proof);
    this.#state = { name: 'early', handshake, hello, batcher, writer, keys };
    for (const envelope of waiting) this.send(envelope);
  }

  async #answer(state: State & { name: 'early' }, text: string): Promise<void> {
    const { handshake, hello, batcher, writer, keys } = state;
    const behind: (string | Uint8Array)[] = [];
    const verifying: State & { name: 'verifying' } = { name: 'verifying', behind, batcher, writer, keys };
    this.#state = verifying;
    const answer = await handshake.receiveAnswer(text);
    if (this.#isOver) return;
    if (answer.kind === 'denied') {
      this.#end({ name: 'denied', code: answer.code });
      return;
    }
    const { limits, fromPlatform, up, receive } = this.#options;
    const reader = new FrameReader<DownEnvelope>({
      crypto: fromPlatform.crypto,
      key: keys.receive,
      sender: 'server',
      codec: this.#codec,
      maxFrameBytes: limits.maxFrameBytes,
      parse: parseDown,
      deliver: (envelopes) => {
        receive(envelopes.filter((envelope) => this.#isForTabs(envelope)));
        const last = envelopes.at(-1);
        if (last?.kind === 'bye') this.#end({ name: 'bye', bye: last });
      },
      failed: (error) => {
        this.#fail(error);
      },
    });
    const heartbeat = new Heartbeat({
      clock: fromPlatform.clock,
      pingMs: Math.min(limits.pingMs, hello.pingMs),
      pongTimeoutMs: limits.pongTimeoutMs,
      ping: (n) => {
        this.send({ kind: 'ping', n });
      },
      silent: () => {
        this.#fail('the server has become silent');
      },
    });
    this.#state = { name: 'active', reader, heartbeat, batcher, writer, keys };
    this.#cancelLimit();
    this.#cancelLimit = fromPlatform.clock.after(Math.min(answer.maxLinkMs, MAX_TIMER_MS), () => {
      this.#options.aged();
    });
    up(answer, hello);
    batcher.release();
    for (const data of behind) reader.receive(data);
    if (verifying.closed !== undefined) reader.failLater(verifying.closed);
  }

  #isForTabs(envelope: DownEnvelope): boolean {
    if (envelope.kind === 'ping') this.send({ kind: 'pong', n: envelope.n });
    return envelope.kind !== 'ping' && envelope.kind !== 'pong';
  }

  #write(frame: Frame): void {
    if (this.#state.name === 'active') this.#state.heartbeat.sent();
    this.#socket.send(frame);
  }

  /** The handshake has refused a subprotocol that was not offered. */
  get #codec(): PayloadCodec {
    return this.#codecs[this.#offer.indexOf(this.#socket.protocol)] ?? jsonPayloads;
  }

  get #isOver(): boolean {
    return this.#state.name === 'over';
  }

  #guard(step: () => void): void {
    try {
      step();
    } catch (error) {
      this.#fail(error);
    }
  }

  #run(step: Promise<void>): void {
    step.catch((error: unknown) => {
      this.#fail(error);
    });
  }

  #fail(error: unknown): void {
    this.#end({ name: 'failed', reason: reasonOf(error) });
  }

  #end(end: LinkEnd): void {
    if (this.#isOver) return;
    this.abandon();
    this.#options.down(end);
  }
}

function isMisuse(error: unknown): error is WebgramError {
  return hasCode(error, 'WEBGRAM_NOT_ENCODABLE') || hasCode(error, 'WEBGRAM_MESSAGE_TOO_LARGE');
}

function bytesOrText(data: unknown): string | Bytes {
  if (typeof data === 'string') return data;
  if (data instanceof ArrayBuffer) return new Uint8Array(data);
  throw unexpected();
}

function unexpected(): WebgramError {
  return new WebgramError('WEBGRAM_BAD_HANDSHAKE', 'the server sent something out of turn', {
    received: true,
  });
}

/** Returns what to tell people of an error. */
export function reasonOf(error: unknown): string {
  // Words for some faults are left out of what browsers load.
  return error instanceof Error ? error.message || String((error as { code?: unknown }).code) : String(error);
}

import {
  codecFor,
  ClientHandshake,
  ClientRenewal,
  encodeEnvelopes,
  FrameReader,
  FrameWriter,
  offeredView,
  parseDown,
  TickBatcher,
  toBase64url,
  type Answer,
  type DownEnvelope,
  type Envelope,
  type Frame,
  type Hello,
  type Intent,
  type LinkKeys,
  type Listener,
  type Outcome,
  type Payload,
  type BodyCodec,
  type Position,
  type UpEnvelope,
} from 'webgram';
import { nodeCrypto, NodeSigningKey } from '../node-crypto.ts';

type TestEvent = 'message' | 'close' | 'error' | 'open' | 'unexpected-response';

/** What the test client needs of a WebSocket class: that of `ws`. */
export interface TestSocket {
  readonly protocol: string;
  readonly readyState: number;
  on(event: TestEvent, listener: Listener): unknown;
  send(data: string | Uint8Array): void;
  send(data: string | Uint8Array, options: { fin?: boolean }): void;
  close(code?: number): void;
  terminate(): void;
  pause(): void;
  resume(): void;
}

interface TestResponse {
  statusCode?: number | undefined;
  on(event: 'data', listener: (chunk: Buffer) => void): unknown;
  on(event: 'end', listener: () => void): unknown;
}

export type TestSocketClass = new (
  address: string,
  protocols: string[],
  options: { origin?: string; headers?: Record<string, string>; perMessageDeflate?: boolean },
) => TestSocket;

export interface TestLinkOptions {
  address: string;
  WebSocket: TestSocketClass;
  /** Default: none is sent. */
  origin?: string;
  /** Default: `webgram.2.json`, as browsers offer. */
  protocols?: string[];
  /** Another `Host` header than that of the address; the client's view stays that of the address. */
  headers?: Record<string, string>;
  perMessageDeflate?: boolean;
}

export interface Closed {
  code: number;
  reason: string;
}

/** An identity: a key, and the session it has got. */
export interface TestIdentity {
  key: NodeSigningKey;
  sessionID?: number;
  /** The key of a renewal that may have come to an end or not. */
  next?: NodeSigningKey;
}

const PROTOCOLS = ['webgram.2.json'];

/** How long a test waits for an event before it fails, in ms. */
const PATIENCE_MS = 4_000;

/** An upgrade that was answered by something else than 101. */
export class UpgradeRefused extends Error {
  readonly status: number;
  readonly text: string;

  constructor(status: number, text: string) {
    super(`the upgrade was answered with ${status}: ${text}`);
    this.status = status;
    this.text = text;
  }
}

/**
 * The client's end of one link, step by step, so that a test can do any of them wrong.
 *
 * `await TestLink.open(…)` has the hello; then `prove`, `sendRaw`, or `resume`/`create`, which do both and wait for
 * the answer. After it, `send` seals envelopes and `next` waits for what comes.
 */
export class TestLink {
  readonly socket: TestSocket;
  readonly hello: Hello;
  readonly helloText: string;
  /** Settles when the socket has closed. */
  readonly closed: Promise<Closed>;
  /** Every text that has come behind the answer; binary messages in base64url. */
  readonly received: string[] = [];
  readonly codec: BodyCodec;
  /** Changes what `send` puts on the wire: none, one or several messages instead of one. */
  onWire: (frame: Frame) => readonly Frame[] = (frame) => [frame];
  readonly #handshake: ClientHandshake;
  /** What the server has said of the account, the latest last. */
  readonly profiles: unknown[][] = [];
  readonly #envelopes = new Queue<DownEnvelope>();
  readonly #messages: Queue<Frame>;
  #reader: FrameReader<DownEnvelope> | undefined;
  #batcher: TickBatcher | undefined;
  #writer: FrameWriter | undefined;
  #keys: LinkKeys | undefined;

  private constructor(
    socket: TestSocket,
    messages: Queue<Frame>,
    closed: Promise<Closed>,
    handshake: ClientHandshake,
    helloText: string,
  ) {
    this.socket = socket;
    this.closed = closed;
    this.#messages = messages;
    this.codec = codecFor(socket.protocol)!;
    this.#handshake = handshake;
    this.helloText = helloText;
    this.hello = handshake.receiveHello(helloText);
    void closed.then(({ code, reason }) => {
      this.#envelopes.fail(new Error(`the socket closed with ${code} ${reason}`));
    });
  }

  /** @throws {UpgradeRefused} */
  static async open(options: TestLinkOptions): Promise<TestLink> {
    const { address, WebSocket, origin, protocols = PROTOCOLS, headers, perMessageDeflate = false } = options;
    const socket = new WebSocket(address, protocols, {
      perMessageDeflate,
      ...(origin === undefined ? {} : { origin }),
      ...(headers === undefined ? {} : { headers }),
    });
    const messages = new Queue<Frame>();
    socket.on('message', (data: Buffer, isBinary: boolean) => {
      messages.push(isBinary ? new Uint8Array(data) : data.toString());
    });
    const closed = new Promise<Closed>((resolve) => {
      socket.on('close', (code: number, reason: Buffer) => {
        messages.fail(new Error(`the socket closed with ${code} ${reason.toString()}`));
        resolve({ code, reason: reason.toString() });
      });
    });
    await opened(socket);
    const handshake = new ClientHandshake({
      crypto: nodeCrypto,
      views: {
        origin: origin ?? '',
        authority: new URL(address).host,
        offered: offeredView(protocols),
        chosen: socket.protocol,
      },
    });
    return new TestLink(socket, messages, closed, handshake, (await messages.next()) as string);
  }

  get isOpen(): boolean {
    return this.socket.readyState === 1;
  }

  /** Makes a proof without sending it. */
  prove(
    key: NodeSigningKey,
    intent: Intent,
    caps: readonly string[] = [],
  ): Promise<{ proof: string; keys: LinkKeys }> {
    return this.#handshake.prove(key, intent, caps);
  }

  /** Sends anything. */
  sendRaw(data: string | Uint8Array): void {
    this.socket.send(data);
  }

  /** Creates a session, or resumes the one of the identity. `early` travels in the same flight. */
  async enter(
    identity: TestIdentity,
    early: readonly UpEnvelope[] = [],
    caps: readonly string[] = [],
  ): Promise<Answer> {
    const { sessionID } = identity;
    const intent: Intent =
      sessionID === undefined ? { kind: 'create', fromClient: null } : { kind: 'resume', sessionID };
    const { proof, keys } = await this.prove(identity.key, intent, caps);
    this.sendRaw(proof);
    this.seal(keys);
    for (const envelope of early) this.send(envelope);
    const answer = await this.answer();
    if (answer.kind === 'ok') identity.sessionID = answer.sessionID;
    return answer;
  }

  /** Begins sealing: what `send` is given from now on goes out in frames. */
  seal(keys: LinkKeys): void {
    const { maxFrameBytes } = this.hello;
    this.#keys = keys;
    this.#writer = new FrameWriter({
      key: keys.send,
      sender: 'client',
      codec: this.codec,
      maxFrameBytes,
      output: (frame) => {
        if (this.isOpen) for (const sent of this.onWire(frame)) this.socket.send(sent);
      },
      failed: (error) => {
        this.#envelopes.fail(error as Error);
      },
    });
    this.#batcher = new TickBatcher({
      writer: this.#writer,
      schedule: (flush) => process.nextTick(flush),
      tickFrameBytes: 32_768,
    });
    this.#reader = new FrameReader<DownEnvelope>({
      crypto: nodeCrypto,
      key: keys.receive,
      sender: 'server',
      codec: this.codec,
      maxFrameBytes,
      parse: parseDown,
      deliver: (envelopes) => {
        for (const envelope of envelopes) {
          if (envelope.kind === 'identity' && envelope.what === 'profile') this.profiles.push(envelope.args);
          else this.#envelopes.push(envelope);
        }
      },
      failed: (error) => {
        this.#envelopes.fail(error as Error);
      },
    });
  }

  /** Waits for the answer to the proof and verifies it; frames are read from then on. */
  async answer(): Promise<Answer> {
    const answer = await this.#handshake.receiveAnswer((await this.#messages.next()) as string);
    this.#messages.pipe((frame) => {
      this.received.push(typeof frame === 'string' ? frame : toBase64url(frame));
      this.#reader?.receive(frame);
    });
    return answer;
  }

  /** Seals an envelope with the others of this tick. */
  send(envelope: UpEnvelope): void {
    if (this.#batcher === undefined) throw new TypeError('seal first');
    this.#batcher.send(envelope);
  }

  /** Seals a payload of its own, well formed or not. */
  sendPayload(payload: Payload): void {
    if (this.#writer === undefined) throw new TypeError('seal first');
    this.#writer.write(payload);
  }

  /** Seals envelopes as one frame, at once. */
  sendTogether(envelopes: readonly Envelope[]): void {
    this.sendPayload(encodeEnvelopes(this.codec, envelopes));
  }

  /** Waits for the server to ask for another key. Its `answer` is what to send. */
  async renewal(identity: TestIdentity): Promise<ClientRenewal> {
    if (this.#keys === undefined) throw new TypeError('seal first');
    const { exporter } = this.#keys;
    return new ClientRenewal(await this.next('identity'), { exporter, publicKey: identity.key.publicKey });
  }

  /** Does all that a client does in a renewal: the identity has another key afterwards. */
  async renew(identity: TestIdentity): Promise<void> {
    const renewal = await this.renewal(identity);
    identity.next = NodeSigningKey.generate();
    this.send(await renewal.answer(identity.next));
    renewal.receiveOk(await this.next('identity'));
    identity.key = identity.next;
    delete identity.next;
  }

  /** Waits for the next envelope of a kind; others are dropped. */
  async next<K extends DownEnvelope['kind']>(kind: K): Promise<Extract<DownEnvelope, { kind: K }>> {
    for (;;) {
      const envelope = await this.#envelopes.next();
      if (envelope.kind === kind) return envelope as Extract<DownEnvelope, { kind: K }>;
    }
  }

  /** Waits for the socket to close. */
  waitForClose(): Promise<Closed> {
    return within(this.closed, 'the socket to close');
  }

  /** Ends with a `bye`. */
  async close(): Promise<void> {
    if (this.#batcher !== undefined && this.isOpen) {
      this.send({ kind: 'bye', reason: 'test', args: [] });
      this.#batcher.flush();
    }
    this.socket.close();
    await this.closed;
  }
}

/** A tab on a link: enough of a stream to send, ask and be answered. */
export class TestTab {
  readonly link: TestLink;
  readonly tab: number;
  readonly tabID: string;
  counter: number;
  seq = 0;
  received: Position = { life: 0, n: 0 };

  constructor(link: TestLink, tab = 1, tabID = toBase64url(nodeCrypto.randomBytes(16)), counter = 1) {
    this.link = link;
    this.tab = tab;
    this.tabID = tabID;
    this.counter = counter;
  }

  attachEnvelope(): UpEnvelope {
    return {
      kind: 'attach',
      tab: this.tab,
      tabID: this.tabID,
      counter: this.counter,
      received: this.received,
      oldest: this.seq + 1,
      seen: { timeMs: 0, life: 0, commit: 0 },
      info: {},
    };
  }

  askEnvelope(type: string, ...args: unknown[]): UpEnvelope {
    this.seq += 1;
    return { kind: 'ask', tab: this.tab, seq: this.seq, ack: this.received, type, args };
  }

  async attach(): Promise<Outcome> {
    this.link.send(this.attachEnvelope());
    return this.attached();
  }

  async attached(): Promise<Outcome> {
    const { outcome } = await this.link.next('attached');
    if (typeof outcome === 'string') throw new Error(`the attach was refused: ${outcome}`);
    return outcome;
  }

  async ask(type: string, ...args: unknown[]): Promise<unknown> {
    this.link.send(this.askEnvelope(type, ...args));
    return this.answerTo(this.seq);
  }

  async answerTo(seq: number): Promise<unknown> {
    for (;;) {
      const answer = await this.link.next('answer');
      this.received = answer.seq;
      if (answer.asked !== seq) continue;
      if (answer.error !== null)
        throw Object.assign(new Error(answer.error.message), { code: answer.error.code });
      return answer.value;
    }
  }
}

/** Values that come, for those who wait for them; after `fail`, what is left and then the error. */
class Queue<T> {
  readonly #values: T[] = [];
  #waiting: { resolve: (value: T) => void; reject: (error: unknown) => void }[] = [];
  #sink: ((value: T) => void) | undefined;
  #error: { error: Error } | undefined;

  push(value: T): void {
    if (this.#sink !== undefined) {
      this.#sink(value);
      return;
    }
    const first = this.#waiting.shift();
    if (first === undefined) this.#values.push(value);
    else first.resolve(value);
  }

  fail(error: Error): void {
    this.#error ??= { error };
    for (const { reject } of this.#waiting.splice(0)) reject(error);
  }

  /** Everything goes there from now on. */
  pipe(sink: (value: T) => void): void {
    this.#sink = sink;
    for (const value of this.#values.splice(0)) sink(value);
  }

  next(): Promise<T> {
    const value = this.#values.shift();
    if (value !== undefined) return Promise.resolve(value);
    if (this.#error !== undefined) return Promise.reject(this.#error.error);
    const coming = new Promise<T>((resolve, reject) => this.#waiting.push({ resolve, reject }));
    return within(coming, 'a message');
  }
}

function opened(socket: TestSocket): Promise<void> {
  return within(
    new Promise((resolve, reject) => {
      socket.on('open', resolve);
      socket.on('error', reject);
      socket.on('unexpected-response', (_request: unknown, response: TestResponse) => {
        let text = '';
        response.on('data', (chunk) => {
          text += chunk.toString();
        });
        response.on('end', () => {
          reject(new UpgradeRefused(response.statusCode ?? 0, text.trim()));
          socket.terminate();
        });
      });
    }),
    'the upgrade',
  );
}

async function within<T>(promise: Promise<T>, what: string): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => {
      reject(new Error(`waited ${PATIENCE_MS} ms for ${what}`));
    }, PATIENCE_MS);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

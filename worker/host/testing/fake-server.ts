import {
  DEFAULT_LIMITS,
  EarlyFrames,
  FrameReader,
  FrameWriter,
  jsonCodec,
  offeredView,
  parseUp,
  ServerHandshake,
  TickBatcher,
} from 'webgram';
import type { Bytes, DenialCode, DownEnvelope, Limits, Proof, SigningKey, UpEnvelope } from 'webgram';
import type { Socket } from '../platform.ts';
import { generateSigningKey, signingKeyOf, webCrypto } from '../web-crypto.ts';
import { until } from './until.ts';

interface KnownSession {
  publicKey: Bytes;
  sessionID: number;
  ended?: Exclude<DenialCode, 'unknown'>;
}

/** A server with the real handshake and frames, and without sessions behind it: a test plays those. */
export class FakeServer {
  storeID: Bytes = webCrypto.randomBytes(16);
  origin = 'https://page.example';
  maxLinkMs = 3_600_000;
  /** Announced beside its own key. */
  otherKey: Bytes | null = null;
  limits: Limits = DEFAULT_LIMITS;
  /** What the 101 names. */
  subprotocol = 'webgram.2.json';
  /** Refuses every socket: nobody is there. */
  isDown = false;
  /** Answers proofs; a test can hold the answer back. */
  answers = true;
  /** Changes a handshake text on its way to the client. */
  tamper: (text: string) => string = (text) => text;
  /** Told of every envelope that has come in. */
  onUp: (up: UpEnvelope, connection: FakeConnection) => void = () => undefined;
  readonly sessions = new Map<string, KnownSession>();
  readonly connections: FakeConnection[] = [];
  readonly #keyPair: SigningKey;
  #nextSessionID = 1;

  private constructor(key: SigningKey) {
    this.#keyPair = key;
  }

  static async start(): Promise<FakeServer> {
    return new FakeServer(signingKeyOf(await generateSigningKey()));
  }

  /** The same place, with another key and perhaps another store. */
  static async successor(to: FakeServer, store: 'same store' | 'other store'): Promise<FakeServer> {
    const server = await FakeServer.start();
    if (store === 'same store') {
      server.storeID = to.storeID;
      for (const [keyID, session] of to.sessions) server.sessions.set(keyID, session);
    }
    return server;
  }

  get key(): SigningKey {
    return this.#keyPair;
  }

  get last(): FakeConnection {
    const last = this.connections.at(-1);
    if (last === undefined) throw new Error('nobody has connected');
    return last;
  }

  /** What the platform of a host calls. */
  readonly openSocket = (address: string, protocols: string[]): Socket => {
    const connection = new FakeConnection(this, new URL(address).host, protocols);
    this.connections.push(connection);
    return connection.socket;
  };

  create(keyID: string, publicKey: Bytes): KnownSession {
    const known = this.sessions.get(keyID);
    if (known !== undefined) return known;
    const session = { publicKey, sessionID: this.#nextSessionID++ };
    this.sessions.set(keyID, session);
    return session;
  }
}

/** One socket, seen from the server. */
export class FakeConnection {
  readonly ups: UpEnvelope[] = [];
  /** Every text that came in, as it came. */
  readonly texts: string[] = [];
  proof: Proof | undefined;
  isOpen = true;
  /** Swallows everything, both ways, and never closes. */
  isHalfOpen = false;
  /** Answers pings. */
  pongs = true;
  /** The socket closes right behind the next frame. */
  isLastFrame = false;
  readonly #server: FakeServer;
  readonly #handshake: ServerHandshake | undefined;
  readonly #early = new EarlyFrames(DEFAULT_LIMITS.maxEarlyBytes);
  #reader: FrameReader<UpEnvelope> | undefined;
  #batcher: TickBatcher | undefined;
  #answer: (() => Promise<void>) | undefined;
  readonly #socket: Socket;

  constructor(server: FakeServer, authority: string, protocols: string[]) {
    this.#server = server;
    this.#socket = {
      binaryType: 'blob',
      protocol: server.subprotocol,
      onopen: null,
      onmessage: null,
      onclose: null,
      onerror: null,
      send: (data) => {
        if (this.isOpen && !this.isHalfOpen) this.#received(data as string);
      },
      close: () => {
        this.isOpen = false;
      },
    };
    if (server.subprotocol !== '') {
      this.#handshake = new ServerHandshake({
        crypto: webCrypto,
        serverKey: server.key,
        storeID: server.storeID,
        limits: server.limits,
        views: {
          origin: server.origin,
          authority,
          offered: offeredView(protocols),
          chosen: server.subprotocol,
        },
      });
    }
    setTimeout(() => {
      void this.#open();
    });
  }

  get socket(): Socket {
    return this.#socket;
  }

  /** Sends to the client. */
  send(...envelopes: DownEnvelope[]): void {
    for (const envelope of envelopes) this.#batcher?.send(envelope);
  }

  /** The socket closes, as after an error. */
  cut(code = 1006, reason = ''): void {
    if (!this.isOpen) return;
    this.isOpen = false;
    this.#socket.onclose?.({ code, reason });
  }

  /** Lets the answer go that `answers = false` has held back. */
  async release(): Promise<void> {
    await until(() => this.#answer !== undefined, 'the proof');
    await this.#answer?.();
  }

  /** Waits for an envelope. */
  async up<K extends UpEnvelope['kind']>(
    kind: K,
    fits: (up: UpEnvelope & { kind: K }) => boolean = () => true,
  ): Promise<UpEnvelope & { kind: K }> {
    const find = (): (UpEnvelope & { kind: K }) | undefined =>
      this.ups.find(
        (up): up is UpEnvelope & { kind: K } => up.kind === kind && fits(up as UpEnvelope & { kind: K }),
      );
    await until(() => find() !== undefined, `an up of kind ${kind}`);
    return find()!;
  }

  async #open(): Promise<void> {
    if (this.#server.isDown) {
      this.cut();
      return;
    }
    if (!this.isOpen) return;
    this.#socket.onopen?.();
    if (this.#handshake !== undefined) this.#say(await this.#handshake.hello());
  }

  #say(data: string): void {
    if (this.isOpen && !this.isHalfOpen) this.#socket.onmessage?.({ data });
  }

  #received(data: string): void {
    this.texts.push(data);
    if (this.proof === undefined && this.texts.length === 1) void this.#prove(data);
    else if (this.#reader === undefined) this.#early.push(data, false);
    else this.#reader.receive(data);
  }

  async #prove(text: string): Promise<void> {
    const handshake = this.#handshake!;
    this.proof = await handshake.receive(text, (keyID) => this.#server.sessions.get(keyID));
    this.#answer = () => this.#decide();
    if (this.#server.answers) await this.#decide();
  }

  async #decide(): Promise<void> {
    const { proof } = this;
    const handshake = this.#handshake!;
    if (proof === undefined) return;
    if (proof.kind === 'refused') {
      this.#say(this.#server.tamper(await handshake.deny(proof.code)));
      // At once, as servers do: the client has not verified the denial yet.
      this.cut(4401, 'denied');
      return;
    }
    const { sessionID } = this.#server.create(proof.keyID, proof.publicKey);
    const { answer, keys } = await handshake.accept({
      sessionID,
      serverTimeMs: 1_700_000_000_000,
      expiresInMs: null,
      maxLinkMs: this.#server.maxLinkMs,
      generation: this.#server.connections.length,
      otherServerKey: this.#server.otherKey,
    });
    this.#say(this.#server.tamper(answer));
    const writer = new FrameWriter({
      key: keys.send,
      sender: 'server',
      codec: jsonCodec,
      maxFrameBytes: DEFAULT_LIMITS.maxFrameBytes,
      output: (frame) => {
        this.#say(frame as string);
        if (this.isLastFrame) this.cut(1000);
      },
      failed: (error) => {
        throw error;
      },
    });
    this.#batcher = new TickBatcher({
      writer,
      schedule: (flush) => queueMicrotask(flush),
      tickFrameBytes: 32_768,
    });
    this.#reader = new FrameReader<UpEnvelope>({
      crypto: webCrypto,
      key: keys.receive,
      sender: 'client',
      codec: jsonCodec,
      maxFrameBytes: DEFAULT_LIMITS.maxFrameBytes,
      parse: parseUp,
      deliver: (envelopes) => {
        for (const envelope of envelopes) {
          this.ups.push(envelope);
          this.#server.onUp(envelope, this);
          if (envelope.kind === 'ping' && this.pongs) this.send({ kind: 'pong', n: envelope.n });
        }
      },
      failed: (error) => {
        this.cut(4402, String(error));
      },
    });
    this.#early.drain(this.#reader);
  }
}

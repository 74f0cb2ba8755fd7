import {
  CLOSE,
  closeCodeOf,
  CONFIRM_BYTES,
  EarlyFrames,
  encodeJson,
  FrameReader,
  FrameWriter,
  fromUtf8,
  hasCode,
  jsonCodec,
  KIND,
  parseHandshakeFrame,
  parseProofBody,
  parseUp,
  ServerHandshake,
  SIGNATURE_BYTES,
  TickBatcher,
  unreachable,
  utf8Length,
  WebgramError,
  type Crypto,
  type DenialCode,
  type DownEnvelope,
  type Limits,
  type LinkKeys,
  type PayloadCodec,
  type Position,
  type Proof,
  type SigningKey,
  type UpEnvelope,
  type Views,
} from 'webgram';
import type { AddressLimits } from './address-limits.ts';
import { endOfLife, type Lifetime } from './lifetime.ts';
import type { LiveSession } from './live-session.ts';
import type { Logger } from './log.ts';
import type { SessionLink } from './session-link.ts';
import type { Sessions } from './sessions.ts';
import type { KeyRow, Store } from './store/store.ts';

/** What a link needs of a WebSocket. Nothing in it throws. */
export interface LinkSocket {
  send(data: string | Uint8Array): void;
  /** Begins the closing handshake; what was sent before goes out first. */
  close(code: number, reason: string): void;
  /** Ends the socket at once. */
  terminate(): void;
  pause(): void;
  resume(): void;
}

/** What all links of a server share. */
export interface LinkContext {
  crypto: Crypto;
  serverKey: SigningKey;
  store: Store;
  sessions: Pick<Sessions, 'open' | 'expire'>;
  limits: Limits;
  lifetime: Lifetime;
  addresses: AddressLimits;
  /** Server time in ms since 1970. */
  clock: () => number;
  log: Logger;
  /** A client names a session that this store has not made yet: the store is older than the client. */
  storeIsBehind: (sessionID: number) => void;
}

export interface LinkOptions {
  socket: LinkSocket;
  address: readonly [ip: string, port: number];
  /** The client has proved itself. Called at most once. */
  proved: () => void;
}

/**
 * - `new`: not started.
 * - `greeted`: the hello is out or on its way; the proof is awaited, for a limited time.
 * - `proving`: the proof is being checked; what comes meanwhile is kept.
 * - `active`: both ends are proved; frames go to and come from the session.
 * - `closed` (final).
 */
type State =
  | { name: 'new' }
  | { name: 'greeted'; handshake: ServerHandshake; deadline: NodeJS.Timeout }
  | { name: 'proving'; early: EarlyFrames; deadline: NodeJS.Timeout }
  | Active
  | { name: 'closed' };

interface Active {
  name: 'active';
  session: LiveSession;
  reader: FrameReader<UpEnvelope>;
  writer: FrameWriter;
  batcher: TickBatcher;
}

/** How long a peer that was cut off for a fault may take to close, in ms. */
const LINGER_MS = 1_000;
/** A `[`: no frame begins with it, every handshake frame does. */
const OPENING_BRACKET = 0x5b;

/**
 * The server's end of one authenticated channel, over one WebSocket.
 *
 * It speaks first, holds what comes early until both proofs are good, and carries envelopes between the socket
 * and the session. Whatever goes wrong on it closes this one socket, with a code. PROTOCOL.md, "Handshake".
 */
export class Link implements SessionLink {
  readonly address: readonly [ip: string, port: number];
  readonly #context: LinkContext;
  readonly #socket: LinkSocket;
  readonly #codec: PayloadCodec = jsonCodec;
  readonly #proved: () => void;
  #state: State = { name: 'new' };
  #generation = 0;
  #isFirst = false;
  #isPaused = false;
  #heardMs = performance.now();

  constructor(context: LinkContext, { socket, address, proved }: LinkOptions) {
    this.#context = context;
    this.#socket = socket;
    this.address = address;
    this.#proved = proved;
  }

  get generation(): number {
    return this.#generation;
  }

  get isFirst(): boolean {
    return this.#isFirst;
  }

  /** Whether the client has not proved itself yet. */
  get isUnproved(): boolean {
    return this.#state.name !== 'active' && this.#state.name !== 'closed';
  }

  /** Says hello. Call it once, when the upgrade is done. */
  start(views: Views): void {
    const { crypto, serverKey, store, limits } = this.#context;
    this.#guard(async () => {
      const handshake = new ServerHandshake({ crypto, serverKey, storeID: store.storeID, limits, views });
      const deadline = setTimeout(() => {
        this.fail(
          new WebgramError('WEBGRAM_TIMEOUT', `no proof came within ${limits.handshakeTimeoutMs} ms`),
        );
      }, limits.handshakeTimeoutMs);
      this.#state = { name: 'greeted', handshake, deadline };
      const hello = await handshake.hello();
      if (this.#state.name === 'greeted') this.#socket.send(hello);
    });
  }

  /** Takes one WebSocket message, as it has arrived. Never throws. */
  receive(data: Uint8Array, isBinary: boolean): void {
    const state = this.#state;
    switch (state.name) {
      case 'new':
      case 'closed':
        return;
      case 'greeted': {
        const { handshake, deadline } = state;
        const early = new EarlyFrames(this.#context.limits.maxEarlyBytes);
        this.#state = { name: 'proving', early, deadline };
        this.#guard(() => this.#prove(handshake, parseText(data, isBinary)));
        return;
      }
      case 'proving':
        this.#guard(() => {
          refuseHandshakeFrame(data, isBinary);
          state.early.push(data, isBinary);
        });
        return;
      case 'active':
        this.#heardMs = performance.now();
        this.#guard(() => {
          refuseHandshakeFrame(data, isBinary);
          state.reader.receive(data, isBinary);
        });
        return;
      default:
        unreachable(state);
    }
  }

  /** Closes the link when its client has been silent for too long. */
  checkIdle(): void {
    if (this.#state.name !== 'active' || this.#isPaused) return;
    const { idleTimeoutMs } = this.#context.limits;
    if (performance.now() - this.#heardMs > idleTimeoutMs) {
      this.fail(new WebgramError('WEBGRAM_TIMEOUT', `nothing came for ${idleTimeoutMs} ms`));
    }
  }

  /** Closes the link for a fault, the peer's or ours, with the code that belongs to it. Idempotent. */
  fail(error: unknown): void {
    if (this.#state.name === 'closed') return;
    const { log } = this.#context;
    const code = error instanceof TooOften ? CLOSE.rate : closeCodeOf(error);
    if (code === CLOSE.tryLater && !isPassing(error))
      log.error({ error }, 'a link was closed for a fault of ours');
    else log.debug({ address: this.address[0], code, error }, 'a link was closed');
    this.#close(code, reasonOf(error));
    setTimeout(() => this.#socket.terminate(), LINGER_MS).unref();
  }

  /** The socket has closed, with or without a word. */
  socketClosed(): void {
    this.#leave();
  }

  // ---- what the session calls

  send(envelope: DownEnvelope): void {
    const state = this.#state;
    if (state.name === 'active') this.#guard(() => state.batcher.send(envelope));
  }

  sendMessage(
    kind: 'send' | 'ask' | 'answer',
    tab: number,
    { life, n }: Position,
    ack: number,
    asked: number | undefined,
    body: string,
  ): void {
    const state = this.#state;
    if (state.name !== 'active') return;
    const head = asked === undefined ? `${ack}` : `${ack},${asked}`;
    // The body is a list in brackets; its elements follow ours.
    const data = `[${KIND[kind]},${tab},[${life},${n}],${head},${body.slice(1)}`;
    this.#guard(() => state.batcher.sendEncoded({ data, bytes: utf8Length(data) + 1 }));
  }

  end(reason: string, code: number, ...args: unknown[]): void {
    const state = this.#state;
    if (state.name === 'closed') return;
    if (state.name === 'active') {
      this.#guard(() => {
        state.batcher.send({ kind: 'bye', reason, args });
        state.batcher.flush();
      });
    }
    this.#close(code, reason);
  }

  pause(): void {
    this.#isPaused = true;
    this.#socket.pause();
  }

  resume(): void {
    this.#isPaused = false;
    this.#heardMs = performance.now();
    this.#socket.resume();
  }

  // ---- the proof

  async #prove(handshake: ServerHandshake, text: string): Promise<void> {
    const { store, clock, addresses, limits } = this.#context;
    const found: { row?: KeyRow | undefined; keyID?: string | undefined } = {};
    const proof = await handshake.receive(text, async (keyID) => {
      const row = (found.row = await this.#findKey(keyID));
      found.keyID = row && keyID;
      // Before anything that costs time. New sessions have a limit of their own.
      const isOver = addresses.hasFailedTooOften(this.address[0], found.keyID);
      if (isOver && resumedIn(text, limits) !== undefined) throw new TooOften();
      return row && { publicKey: row.publicKey, ended: row.ended?.reason };
    });
    if (proof.kind === 'refused') {
      await this.#refuse(handshake, proof.code, text, found.keyID);
      return;
    }
    const sessionID = found.row?.sessionID ?? (await this.#create(handshake, proof));
    if (sessionID === undefined || this.#state.name !== 'proving') return;
    let generation: number;
    try {
      generation = await store.claim(sessionID, clock());
    } catch (error) {
      if (!hasCode(error, 'WEBGRAM_SESSION_ENDED')) throw error;
      // It has ended since we looked.
      await this.#deny(handshake, (await store.findKey(proof.keyID))?.ended?.reason ?? 'unknown');
      return;
    }
    const expiresAtMs = endOfLife(this.#context.lifetime, found.row?.createdMs ?? clock(), clock());
    await this.#accept(handshake, sessionID, generation, expiresAtMs, proof.kind === 'create');
  }

  /** Finds a key; one whose lifetime is over becomes a tombstone at that. */
  async #findKey(keyID: string): Promise<KeyRow | undefined> {
    const { store, sessions, clock, lifetime } = this.#context;
    const row = await store.findKey(keyID);
    if (row?.createdMs === undefined) return row;
    const { sessionID, createdMs, expiresAtMs = Infinity } = row;
    // It may have been made when the options were others.
    const lastMs = createdMs + lifetime.absoluteLifetimeMs;
    if (Math.min(expiresAtMs, lastMs) > clock()) return row;
    if (lastMs < expiresAtMs) await store.extend(sessionID, lastMs);
    return (await sessions.expire(sessionID)) ? store.findKey(keyID) : row;
  }

  /** @returns `undefined` when it was denied. */
  async #create(handshake: ServerHandshake, proof: Proof): Promise<number | undefined> {
    const { store, clock, addresses } = this.#context;
    if (proof.kind !== 'create') throw new TypeError('a resume must have a row');
    if (!addresses.takeCreate(this.address[0])) {
      this.#close(CLOSE.rate, 'too many new sessions');
      return undefined;
    }
    const { keyID, publicKey, fromClient } = proof;
    const encoded = fromClient === null ? undefined : encodeJson(fromClient);
    const nowMs = clock();
    const expiresAtMs = endOfLife(this.#context.lifetime, nowMs, nowMs);
    const created = await store.create({ keyID, publicKey, nowMs, expiresAtMs, fromClient: encoded });
    if ('sessionID' in created) return created.sessionID;
    await this.#deny(handshake, created.ended);
    return undefined;
  }

  async #accept(
    handshake: ServerHandshake,
    sessionID: number,
    generation: number,
    expiresAtMs: number | undefined,
    isFirst: boolean,
  ): Promise<void> {
    const { sessions, limits, clock } = this.#context;
    const { answer, keys } = await handshake.accept({
      sessionID,
      serverTimeMs: clock(),
      expiresInMs: expiresAtMs === undefined ? null : Math.max(0, expiresAtMs - clock()),
      // Spread, so that links that began together do not end together.
      maxLinkMs: Math.ceil(limits.maxLinkMs * (0.9 + 0.2 * Math.random())),
      generation,
      otherServerKey: null,
    });
    const session = await sessions.open(sessionID);
    const state = this.#state;
    if (state.name !== 'proving') return;
    if (!session.isLive) throw new WebgramError('WEBGRAM_CLOSED', 'the session ended while it was opened');

    // All at once from here on, so that nothing overtakes the answer and no frame the early ones.
    clearTimeout(state.deadline);
    this.#generation = generation;
    this.#isFirst = isFirst;
    this.#heardMs = performance.now();
    const active = this.#activate(session, keys);
    this.#socket.send(answer);
    this.#proved();
    session.attachLink(this);
    state.early.drain(active.reader);
  }

  #activate(session: LiveSession, keys: LinkKeys): Active {
    const { crypto, limits } = this.#context;
    const { maxFrameBytes, tickFrameBytes } = limits;
    const codec = this.#codec;
    const failed = (error: unknown): void => {
      this.fail(error);
    };
    const writer = new FrameWriter({
      key: keys.send,
      sender: 'server',
      codec,
      maxFrameBytes,
      output: (frame) => {
        this.#socket.send(frame);
      },
      failed,
    });
    const reader = new FrameReader<UpEnvelope>({
      crypto,
      key: keys.receive,
      sender: 'client',
      codec,
      maxFrameBytes,
      parse: parseUp,
      deliver: (envelopes) => {
        for (const envelope of envelopes) this.#deliver(envelope);
      },
      failed,
    });
    const batcher = new TickBatcher({
      writer,
      tickFrameBytes,
      schedule: (flush) => {
        process.nextTick(() => {
          this.#guard(flush);
        });
      },
    });
    const active: Active = { name: 'active', session, reader, writer, batcher };
    this.#state = active;
    return active;
  }

  /** @param knownKeyID Of the proof, when the store knows it. */
  async #refuse(
    handshake: ServerHandshake,
    code: DenialCode,
    text: string,
    knownKeyID: string | undefined,
  ): Promise<void> {
    const { store, storeIsBehind, addresses, limits } = this.#context;
    if (code === 'unknown') {
      const sessionID = resumedIn(text, limits);
      if (sessionID !== undefined && sessionID >= (await store.nextSessionID())) {
        // A denial would make the client put its identity aside, for a mistake of the operator.
        storeIsBehind(sessionID);
        this.#close(CLOSE.tryLater, 'try later');
        return;
      }
      addresses.countFailure(this.address[0], knownKeyID);
    }
    await this.#deny(handshake, code);
  }

  async #deny(handshake: ServerHandshake, code: DenialCode): Promise<void> {
    const denial = await handshake.deny(code);
    if (this.#state.name !== 'proving') return;
    this.#socket.send(denial);
    this.#close(code === 'unknown' ? CLOSE.handshake : CLOSE.revoked, 'denied');
  }

  // ---- frames

  #deliver(envelope: UpEnvelope): void {
    const state = this.#state;
    if (state.name !== 'active') return;
    switch (envelope.kind) {
      case 'ping':
        this.send({ kind: 'pong', n: envelope.n });
        return;
      case 'pong':
        return;
      case 'bye':
        this.#close(CLOSE.normal, '');
        return;
      case 'identity':
        // No renewal is open, and without one nobody may bring another key.
        throw new WebgramError('WEBGRAM_BAD_FRAME', 'an identity envelope was not expected', {
          received: true,
        });
      case 'attach':
      case 'send':
      case 'ask':
      case 'answer':
      case 'cancel':
      case 'volatile':
      case 'ack':
      case 'detach':
        state.session.receive(this, envelope);
        return;
      default:
        unreachable(envelope);
    }
  }

  #close(code: number, reason: string): void {
    this.#leave();
    this.#socket.close(code, reason);
    // The peer's answer to the close has to be read.
    if (this.#isPaused) this.#socket.resume();
  }

  /** Goes to `closed`, and lets the session know. */
  #leave(): void {
    const state = this.#state;
    this.#state = { name: 'closed' };
    if (state.name === 'greeted' || state.name === 'proving') clearTimeout(state.deadline);
    if (state.name !== 'active') return;
    state.reader.stop();
    state.writer.stop();
    // Later, because it may be the session that is in the middle of something with us.
    process.nextTick(() => {
      state.session.linkDown(this);
    });
  }

  /** Runs a step; whatever it throws, now or later, closes this link and goes no further. */
  #guard(step: () => unknown): void {
    try {
      const result = step();
      if (result instanceof Promise) {
        result.catch((error: unknown) => {
          this.fail(error);
        });
      }
    } catch (error) {
      this.fail(error);
    }
  }
}

function parseText(data: Uint8Array, isBinary: boolean): string {
  if (isBinary)
    throw new WebgramError('WEBGRAM_BAD_FRAME', 'a proof must be a text message', { received: true });
  return fromUtf8(data);
}

function refuseHandshakeFrame(data: Uint8Array, isBinary: boolean): void {
  if (isBinary || data[0] !== OPENING_BRACKET) return;
  throw new WebgramError('WEBGRAM_BAD_FRAME', 'a second handshake frame must not come', { received: true });
}

/** The sessionID that a refused proof has claimed; `undefined` when it did not resume. */
function resumedIn(text: string, limits: Limits): number | undefined {
  const lengths = [SIGNATURE_BYTES, CONFIRM_BYTES];
  const shapes = { 'session-create': lengths, 'session-resume': lengths };
  const { type, body } = parseHandshakeFrame(text, limits.maxHandshakeBytes, shapes);
  const proof = parseProofBody(type, body, limits.maxFromClientBytes);
  return proof.type === 'session-resume' ? proof.sessionID : undefined;
}

/** Proofs from there have failed too often. */
class TooOften extends Error {}

/** The session or the server was just ending: nothing is wrong, and the client comes again. */
function isPassing(error: unknown): boolean {
  // A store that is away has told the log itself.
  if (error instanceof WebgramError && error.code.startsWith('WEBGRAM_STORE_') && error.retryable)
    return true;
  return hasCode(error, 'WEBGRAM_CLOSED') || hasCode(error, 'WEBGRAM_SESSION_ENDED');
}

/** A stranger learns the code and nothing more. */
function reasonOf(error: unknown): string {
  if (error instanceof TooOften) return 'too many failed proofs';
  return error instanceof WebgramError && closeCodeOf(error) !== CLOSE.tryLater ? error.code : 'try later';
}

import {
  CLOSE,
  closeCodeOf,
  codecFor,
  EarlyFrames,
  fromUtf8,
  hasCode,
  isEnd,
  isSealed,
  jsonCodec,
  ServerHandshake,
  unreachable,
  WebgramError,
  type Bytes,
  type Crypto,
  type Device,
  type DenialCode,
  type DownEnvelope,
  type EncodedBody,
  type IdentityEnvelope,
  type LinkKeys,
  type BodyCodec,
  type Position,
  type SigningKey,
  type UpEnvelope,
  type Views,
} from 'webgram';
import { TooOften } from './address-limits.ts';
import { Admission, type AdmissionContext, type Verdict } from './admission.ts';
import { LinkChannel } from './link-channel.ts';
import { LinkRenewal, type LinkIdentity, type WriteKey } from './link-renewal.ts';
import type { LiveSession } from './live-session.ts';
import type { Logger } from './log.ts';
import type { SessionLink } from './session-link.ts';
import type { Sessions } from './sessions.ts';

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
export interface LinkContext extends AdmissionContext {
  crypto: Crypto;
  serverKey: SigningKey;
  /** Announced to clients while the server changes keys, 65 bytes. */
  otherServerKey: Bytes | null;
  sessions: Pick<Sessions, 'open' | 'claim' | 'expire' | 'revoke'>;
  log: Logger;
}

export interface LinkOptions {
  socket: LinkSocket;
  address: readonly [ip: string, port: number];
  /** What the upgrade has told of the browser. Default: nothing. */
  device?: Device;
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
  identity: LinkIdentity;
  renewal: LinkRenewal | undefined;
  /** The client has ended its session; resolves when that is durable. */
  ending: Promise<boolean> | undefined;
  /** Ends the link when no other has taken over in time. */
  age: NodeJS.Timeout;
  channel: LinkChannel;
}

/** How long a peer that was cut off may take to close, in ms. */
const LINGER_MS = 900;
const EVICTED_LINGER_MS = 50;
/** A longer timer of Node fires at once. */
const MAX_TIMEOUT_MS = 2 ** 31 - 1;
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
  readonly #device: Device;
  #codec: BodyCodec = jsonCodec;
  #maxEarlyBytes = 0;
  readonly #proved: () => void;
  #state: State = { name: 'new' };
  #generation = 0;
  #isFirst = false;
  #supersededBy: number | undefined;
  #hasAnswered = false;
  #isPaused = false;
  #heardMs = performance.now();
  readonly #openedMs = this.#heardMs;

  constructor(context: LinkContext, { socket, address, device = {}, proved }: LinkOptions) {
    this.#context = context;
    this.#device = device;
    this.#socket = socket;
    this.address = address;
    this.#proved = proved;
  }

  get generation(): number {
    return this.#generation;
  }

  get codec(): BodyCodec {
    return this.#codec;
  }

  get isFirst(): boolean {
    return this.#isFirst;
  }

  get supersededBy(): number | undefined {
    return this.#supersededBy;
  }

  get hasAnswered(): boolean {
    return this.#hasAnswered;
  }

  /** Whether the client has not proved itself yet. */
  get isUnproved(): boolean {
    return this.#state.name !== 'active' && this.#state.name !== 'closed';
  }

  /** Says hello. Call it once, when the upgrade is done. */
  start(views: Views): void {
    const { crypto, serverKey, store, limits } = this.#context;
    this.#guard(async () => {
      const codec = codecFor(views.chosen);
      if (codec === undefined) throw new TypeError(`no codec speaks '${views.chosen}'`);
      this.#codec = codec;
      this.#maxEarlyBytes = isSealed(views.chosen) ? 0 : limits.maxEarlyBytes;
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
        const early = new EarlyFrames(this.#maxEarlyBytes);
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
          state.channel.receive(data, isBinary);
        });
        return;
      default:
        unreachable(state);
    }
  }

  /** Gives the place of a socket that has not sent its proof to another. @returns Whether it did. */
  evict(): boolean {
    if (this.#state.name !== 'greeted') return false;
    this.fail(new TooOften('too many sockets that have not proved themselves'));
    // There are many of its kind.
    this.#terminateSoon(EVICTED_LINGER_MS);
    return true;
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
    this.#terminateSoon();
  }

  /** What was said goes out first, unless the peer does not take it. */
  #terminateSoon(lingerMs = LINGER_MS): void {
    setTimeout(() => this.#socket.terminate(), lingerMs).unref();
  }

  /** The socket has closed, with or without a word. */
  socketClosed(): void {
    this.#leave();
  }

  // ---- what the session calls

  send(envelope: DownEnvelope): void {
    const state = this.#state;
    if (state.name === 'active') this.#guard(() => state.channel.send(envelope));
  }

  sendMessage(
    kind: 'send' | 'ask' | 'answer',
    tab: number,
    seq: Position,
    ack: number,
    asked: number | undefined,
    body: EncodedBody,
  ): boolean {
    const state = this.#state;
    if (state.name !== 'active') return true;
    try {
      state.channel.sendMessage(kind, tab, seq, ack, asked, body);
      return true;
    } catch (error) {
      if (hasCode(error, 'WEBGRAM_MESSAGE_TOO_LARGE')) return false;
      this.fail(error);
      return true;
    }
  }

  end(reason: string, code: number, ...args: unknown[]): void {
    const state = this.#state;
    if (state.name === 'closed') return;
    if (state.name === 'active') {
      this.#guard(() => {
        state.channel.send({ kind: 'bye', reason, args });
        state.channel.flush();
      });
    }
    this.#close(code, reason);
    if (code === CLOSE.revoked) this.#terminateSoon();
  }

  get isRenewing(): boolean {
    return this.#state.name === 'active' && this.#state.renewal?.isOver === false;
  }

  async renew(write: WriteKey): Promise<void> {
    const state = this.#state;
    if (state.name !== 'active') throw gone();
    if (this.isRenewing) {
      throw new WebgramError('WEBGRAM_LOGIN_PENDING', 'the session is logging in or out already');
    }
    const { crypto, limits } = this.#context;
    state.renewal = new LinkRenewal({
      crypto,
      identity: state.identity,
      timeoutMs: limits.renewTimeoutMs,
      send: (envelope) => {
        this.send(envelope);
      },
      write,
    });
    await state.renewal.done;
  }

  probe(): void {
    this.send({ kind: 'ping', n: this.#generation });
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

  /**
   * The client still waits for the answer. It goes by the clock: a process that was stopped has its timers late, and an
   * old proof would take the session over from the link that the client has opened since.
   */
  get #isAwaited(): boolean {
    const { handshakeTimeoutMs } = this.#context.limits;
    return this.#state.name === 'proving' && performance.now() - this.#openedMs <= handshakeTimeoutMs;
  }

  async #prove(handshake: ServerHandshake, text: string): Promise<void> {
    const admission = new Admission(this.#context, this.address[0], this.#device, () => this.#isAwaited);
    const verdict = await admission.decide(handshake, text);
    switch (verdict.name) {
      case 'accepted':
        return this.#accept(handshake, verdict);
      case 'denied':
        return this.#deny(handshake, verdict.code);
      case 'closed':
        this.#close(verdict.code, verdict.reason);
        return;
      case 'gone':
        return;
      default:
        unreachable(verdict);
    }
  }

  async #accept(
    handshake: ServerHandshake,
    { proof, sessionID, generation, expiresAtMs }: Verdict & { name: 'accepted' },
  ): Promise<void> {
    const { sessions, limits, clock, otherServerKey } = this.#context;
    // Spread, so that links that began together do not end together.
    const maxLinkMs = Math.ceil(limits.maxLinkMs * (0.9 + 0.2 * Math.random()));
    const { answer, keys } = await handshake.accept({
      sessionID,
      serverTimeMs: clock(),
      expiresInMs: expiresAtMs === undefined ? null : Math.max(0, expiresAtMs - clock()),
      maxLinkMs,
      generation,
      otherServerKey,
    });
    const session = await sessions.open(sessionID);
    const state = this.#state;
    if (state.name !== 'proving' || !this.#isAwaited) return;
    if (!session.isLive) throw new WebgramError('WEBGRAM_CLOSED', 'the session ended while it was opened');

    // All at once from here on, so that nothing overtakes the answer and no frame the early ones.
    clearTimeout(state.deadline);
    this.#generation = generation;
    this.#isFirst = proof.kind === 'create';
    this.#supersededBy = supersededIn(proof.caps);
    this.#heardMs = performance.now();
    const channel = this.#activate(session, keys, proof, maxLinkMs);
    this.#socket.send(answer);
    this.#proved();
    session.attachLink(this);
    state.early.drain(channel);
  }

  #activate(
    session: LiveSession,
    keys: LinkKeys,
    { keyID, publicKey }: Pick<LinkIdentity, 'keyID' | 'publicKey'>,
    maxLinkMs: number,
  ): LinkChannel {
    const { crypto, limits } = this.#context;
    const channel = new LinkChannel({
      crypto,
      keys,
      codec: this.#codec,
      limits,
      output: (frame) => {
        this.#socket.send(frame);
      },
      deliver: (envelopes) => {
        for (const envelope of envelopes) this.#deliver(envelope);
      },
      failed: (error) => {
        this.fail(error);
      },
    });
    const identity = { keyID, publicKey, exporter: keys.exporter };
    const age = setTimeout(
      () => {
        this.end('age', CLOSE.deadline);
      },
      Math.min(maxLinkMs + limits.linkGraceMs, MAX_TIMEOUT_MS),
    );
    age.unref();
    this.#state = { name: 'active', session, identity, renewal: undefined, ending: undefined, age, channel };
    return channel;
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
        if (envelope.n === this.#generation) this.#hasAnswered = true;
        return;
      case 'bye':
        this.#close(CLOSE.normal, '');
        return;
      case 'identity':
        this.#guard(() =>
          isEnd(envelope) ? this.#endSession(state) : this.#renewed(state.renewal, envelope),
        );
        return;
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

  /** Without an open renewal nobody may bring another key: who resumes a session once would own it for good. */
  async #renewed(renewal: LinkRenewal | undefined, envelope: IdentityEnvelope): Promise<void> {
    if (renewal === undefined) {
      throw new WebgramError('WEBGRAM_BAD_FRAME', 'an identity envelope was not expected', {
        received: true,
      });
    }
    await renewal.receive(envelope);
    this.end('renewed', CLOSE.normal);
  }

  /** Who owns the key ends its session, also when the link goes meanwhile. The session says `bye`. */
  async #endSession(state: Active): Promise<void> {
    state.ending ??= this.#context.sessions.revoke(state.session.sessionID);
    await state.ending;
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
    state.channel.stop();
    state.renewal?.stop(gone());
    clearTimeout(state.age);
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

/** PROTOCOL.md, "Proof": which link the client was superseded by, if it says so. */
function supersededIn(caps: readonly string[]): number | undefined {
  for (const cap of caps) {
    const [, generation] = /^superseded (\d{1,16})$/.exec(cap) ?? [];
    if (generation !== undefined) return Number(generation);
  }
  return undefined;
}

function gone(): WebgramError {
  return new WebgramError('WEBGRAM_CLOSED', 'the link has gone; nothing has changed', { retryable: true });
}

/** The session or the server was just ending: nothing is wrong, and the client comes again. */
function isPassing(error: unknown): boolean {
  // A store that is away has told the log itself.
  if (error instanceof WebgramError && error.code.startsWith('WEBGRAM_STORE_') && error.retryable)
    return true;
  return hasCode(error, 'WEBGRAM_CLOSED') || hasCode(error, 'WEBGRAM_SESSION_ENDED');
}

/** A stranger learns the code and nothing more. */
function reasonOf(error: unknown): string {
  if (error instanceof TooOften) return error.message;
  return error instanceof WebgramError && closeCodeOf(error) !== CLOSE.tryLater ? error.code : 'try later';
}

import type { Bytes, Crypto, EphemeralKey, SigningKey } from '../crypto.ts';
import { WebgramError } from '../errors.ts';
import { DEFAULT_LIMITS, type Limits } from '../limits.ts';
import { concat, utf8Length } from '../wire/bytes.ts';
import { isSealed } from '../wire/sealed.ts';
import { describePath, encodeJson, type PathKey } from '../wire/json.ts';
import {
  CONFIRM_BYTES,
  encodeHandshakeFrame,
  encodeProofBody,
  parseDeniedBody,
  parseHandshakeFrame,
  parseHelloBody,
  parseOkBody,
  SIGNATURE_BYTES,
  type DenialCode,
  type HelloBody,
  type OkBody,
  type ProofBody,
} from './messages.ts';
import {
  checkViews,
  clientSignatureInput,
  hashAnswer,
  hashHello,
  hashProof,
  keyIDOf,
  KeySchedule,
  linkKeys,
  serverSignatureInput,
  type AnswerParts,
  type LinkKeys,
  type Views,
} from './transcript.ts';

/** What a hello claims. It proves nothing yet and may be a replay. */
export interface Hello {
  /** S, 65 bytes: to be compared with the pins of this address before anything is sent. */
  serverKey: Bytes;
  /** 16 bytes: an identity belongs to (server address, storeID). */
  storeID: Bytes;
  maxFrameBytes: number;
  pingMs: number;
  maxEarlyBytes: number;
}

/** What the client asks for. */
export type Intent =
  { kind: 'create'; fromClient: Record<string, unknown> | null } | { kind: 'resume'; sessionID: number };

/** What the server has answered; all of it is verified. */
export type Answer = ({ kind: 'ok' } & OkBody) | { kind: 'denied'; code: DenialCode };

export interface ClientHandshakeOptions {
  crypto: Crypto;
  views: Views;
  /** Default: the protocol's. */
  limits?: Pick<Limits, 'maxHandshakeBytes' | 'maxFromClientBytes'>;
}

interface Asked {
  th1: Bytes;
  serverKey: Bytes;
  parts: Pick<AnswerParts, 'type' | 'body' | 'clientSignature' | 'clientTag'>;
  schedule: KeySchedule;
}

/**
 * - `new`: the hello is awaited.
 * - `greeted`: it has come; the caller decides about its key, then `prove` follows.
 * - `busy`: a step is under way.
 * - `asked`: the proof was made; the answer is awaited.
 * - `done` (final): answered, or failed on the way.
 */
type State =
  | { name: 'new' }
  | { name: 'greeted'; hello: HelloBody; body: string }
  | { name: 'busy' }
  | ({ name: 'asked' } & Asked)
  | { name: 'done' };

/**
 * The client's steps of one handshake: `receiveHello`, `prove`, `receiveAnswer`, each once.
 *
 * It does no I/O. Whatever does not verify throws `WEBGRAM_BAD_HANDSHAKE`, which says nothing about the
 * session: the identity is kept and the connection tried again.
 */
export class ClientHandshake {
  readonly #crypto: Crypto;
  readonly #views: Views;
  readonly #limits: Pick<Limits, 'maxHandshakeBytes' | 'maxFromClientBytes'>;
  #state: State = { name: 'new' };

  /** @throws {WebgramError} `WEBGRAM_BAD_HANDSHAKE` when the chosen subprotocol was not offered. */
  constructor({ crypto, views, limits = DEFAULT_LIMITS }: ClientHandshakeOptions) {
    checkViews(views);
    this.#crypto = crypto;
    this.#views = views;
    this.#limits = limits;
  }

  /**
   * Takes the first text of the connection.
   *
   * @throws {WebgramError} `WEBGRAM_BAD_HANDSHAKE` for any other text and for a second one.
   */
  receiveHello(text: string): Hello {
    if (this.#state.name !== 'new') throw refused('a hello must come first and once');
    this.#state = { name: 'done' };
    return refusing('the hello', () => {
      const { body } = parseHandshakeFrame(text, this.#limits.maxHandshakeBytes, { hello: [] });
      const hello = parseHelloBody(body);
      this.#state = { name: 'greeted', hello, body };
      const { serverKey, storeID, maxFrameBytes, pingMs } = hello;
      // Frames that are sealed wait for the answer, whatever the hello says.
      const maxEarlyBytes = isSealed(this.#views.chosen) ? 0 : hello.maxEarlyBytes;
      return { serverKey, storeID, maxFrameBytes, pingMs, maxEarlyBytes };
    });
  }

  /**
   * Makes the proof for the key of the hello. Frames sealed with `keys.send` may follow it at once, at most
   * `maxEarlyBytes` together.
   *
   * @param identity c and C.
   * @param caps What this client can besides; servers ignore what they do not know.
   * @throws {WebgramError} `WEBGRAM_BAD_HANDSHAKE` when the hello has no valid ephemeral key,
   * `WEBGRAM_NOT_ENCODABLE` or `WEBGRAM_MESSAGE_TOO_LARGE` for `fromClient`.
   */
  async prove(
    identity: SigningKey,
    intent: Intent,
    caps: readonly string[] = [],
  ): Promise<{ proof: string; keys: LinkKeys }> {
    const state = this.#state;
    if (state.name !== 'greeted') throw new TypeError('prove() must follow the hello, once');
    this.#state = { name: 'busy' };
    try {
      return await this.#prove(state, identity, intent, [...caps]);
    } catch (error) {
      this.#state = { name: 'done' };
      throw error;
    }
  }

  async #prove(
    { hello, body: helloBody }: { hello: HelloBody; body: string },
    identity: SigningKey,
    intent: Intent,
    caps: string[],
  ) {
    const crypto = this.#crypto;
    const ephemeral = await crypto.generateEphemeral();
    const body = encodeProofBody(await this.#body(identity, intent, ephemeral.publicKey, caps));
    const type = intent.kind === 'create' ? 'session-create' : 'session-resume';
    const secret = await derive(ephemeral, hello.ephemeral);
    const th1 = await hashHello(crypto, this.#views, helloBody);
    const th2 = await hashProof(crypto, th1, { type, body }, identity.publicKey);
    const schedule = await KeySchedule.from(crypto, secret, th2);
    const clientSignature = await identity.sign(clientSignatureInput(th2));
    const confirm = await schedule.macKey('c confirm');
    const clientTag = await confirm.mac(concat(th2, clientSignature));
    const proof = encodeHandshakeFrame(type, body, clientSignature, clientTag);
    if (utf8Length(proof) > this.#limits.maxHandshakeBytes) throw tooLarge(this.#limits.maxHandshakeBytes);
    const keys = await linkKeys(schedule, 'client', this.#views.chosen);
    const parts = { type, body, clientSignature, clientTag } as const;
    this.#state = { name: 'asked', th1, serverKey: hello.serverKey, parts, schedule };
    return { proof, keys };
  }

  async #body(identity: SigningKey, intent: Intent, ephemeral: Bytes, caps: string[]): Promise<ProofBody> {
    const { publicKey } = identity;
    if (intent.kind === 'resume') {
      const keyID = await keyIDOf(this.#crypto, publicKey);
      return { type: 'session-resume', keyID, ephemeral, sessionID: intent.sessionID, caps };
    }
    const { fromClient } = intent;
    const { maxFromClientBytes } = this.#limits;
    const described = { describe: (path: readonly PathKey[]) => describePath('fromClient', path) };
    if (utf8Length(encodeJson(fromClient, described)) > maxFromClientBytes)
      throw tooLarge(maxFromClientBytes);
    return { type: 'session-create', publicKey, ephemeral, fromClient, caps };
  }

  /**
   * Takes the server's answer. Returns only what verifies with the key of the hello, over every byte that
   * this end has sent.
   *
   * @throws {WebgramError} `WEBGRAM_BAD_HANDSHAKE` for anything else and for a second answer.
   */
  async receiveAnswer(text: string): Promise<Answer> {
    const state = this.#state;
    if (state.name !== 'asked') throw refused('one answer must follow the proof');
    this.#state = { name: 'done' };
    const { type, body, fields } = refusing('the answer', () =>
      parseHandshakeFrame(text, this.#limits.maxHandshakeBytes, {
        'session-ok': [SIGNATURE_BYTES, CONFIRM_BYTES],
        'session-denied': [SIGNATURE_BYTES],
      }),
    );
    const verified = await this.#verify(state, type, body, fields).catch((cause: unknown) => {
      throw refused('the answer cannot be verified', cause);
    });
    if (!verified) throw refused('the answer does not verify');
    return refusing('the answer', () =>
      type === 'session-ok'
        ? { kind: 'ok', ...parseOkBody(body) }
        : { kind: 'denied', code: parseDeniedBody(body) },
    );
  }

  async #verify(
    { th1, serverKey, parts, schedule }: Asked,
    answerType: AnswerParts['answerType'],
    answerBody: string,
    [signature, tag]: readonly Bytes[],
  ): Promise<boolean> {
    const crypto = this.#crypto;
    if (signature === undefined) return false;
    const th3 = await hashAnswer(crypto, th1, { ...parts, answerType, answerBody });
    if (!(await crypto.verify(serverKey, signature, serverSignatureInput(th3)))) return false;
    if (answerType === 'session-denied') return true;
    if (tag === undefined) return false;
    const confirm = await schedule.macKey('s confirm');
    return crypto.equal(await confirm.mac(concat(th3, signature)), tag);
  }
}

function refused(message: string, cause?: unknown): WebgramError {
  return new WebgramError('WEBGRAM_BAD_HANDSHAKE', message, { cause, received: true, retryable: true });
}

/** Whatever is wrong with what came is one and the same to the client. */
function refusing<T>(what: string, parse: () => T): T {
  try {
    return parse();
  } catch (cause) {
    throw refused(`${what} has another shape`, cause);
  }
}

async function derive(ephemeral: EphemeralKey, peer: Bytes): Promise<Bytes> {
  try {
    return await ephemeral.deriveSecret(peer);
  } catch (cause) {
    throw refused('E_s must be a point of P-256', cause);
  }
}

function tooLarge(bytes: number): WebgramError {
  return new WebgramError('WEBGRAM_MESSAGE_TOO_LARGE', `'fromClient' must fit into ${bytes} bytes`);
}

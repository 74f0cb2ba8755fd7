import type { Bytes, Crypto, EphemeralKey, SigningKey } from '../crypto.ts';
import { WebgramError } from '../errors.ts';
import type { Limits } from '../limits.ts';
import type { MaybePromise } from '../maybe-promise.ts';
import { concat } from '../wire/bytes.ts';
import { toBase64url } from '../wire/base64url.ts';
import { isSealed } from '../wire/sealed.ts';
import {
  CHALLENGE_BYTES,
  CONFIRM_BYTES,
  encodeDeniedBody,
  encodeHandshakeFrame,
  encodeHelloBody,
  encodeOkBody,
  parseHandshakeFrame,
  parseProofBody,
  SIGNATURE_BYTES,
  type DenialCode,
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

/** What the store knows of a key. */
export interface KnownKey {
  /** 65 bytes. */
  publicKey: Uint8Array;
  /** Present on a tombstone. */
  ended?: Exclude<DenialCode, 'unknown'> | undefined;
}

/**
 * Looks a key up.
 *
 * @param keyID 22 characters base64url.
 */
export type FindKey = (keyID: string) => MaybePromise<KnownKey | undefined>;

/** What a client has proved. `keyID` is 22 characters base64url, `publicKey` 65 bytes. */
export type Proof =
  | {
      kind: 'create';
      keyID: string;
      publicKey: Bytes;
      fromClient: Record<string, unknown> | null;
      caps: readonly string[];
    }
  | {
      kind: 'resume';
      keyID: string;
      publicKey: Bytes;
      /** As the client said and signed it; the session is the one that the key finds. */
      sessionID: number;
      caps: readonly string[];
    }
  /** Nothing, or that it holds a key which has ended: `deny(code)` is all that may follow. */
  | { kind: 'refused'; code: DenialCode };

export interface ServerHandshakeOptions {
  crypto: Crypto;
  /** s and S. */
  serverKey: SigningKey;
  /** 16 bytes. */
  storeID: Uint8Array;
  limits: Pick<
    Limits,
    'maxHandshakeBytes' | 'maxFrameBytes' | 'pingMs' | 'maxEarlyBytes' | 'maxFromClientBytes'
  >;
  views: Views;
}

interface Greeted {
  ephemeral: EphemeralKey;
  th1: Bytes;
}

interface Heard {
  th1: Bytes;
  type: ProofBody['type'];
  body: string;
  clientSignature: Bytes;
  clientTag: Bytes;
}

/**
 * - `new`: nothing was said.
 * - `greeted`: the hello was made; the proof is awaited.
 * - `busy`: a step is under way.
 * - `proved`: both proofs are good; `accept` or `deny` follows.
 * - `refused`: they are not, or the key has ended; `deny` with exactly that code follows.
 * - `done` (final): answered, or failed on the way.
 */
type State =
  | { name: 'new' }
  | ({ name: 'greeted' } & Greeted)
  | { name: 'busy' }
  | { name: 'proved'; heard: Heard; schedule: KeySchedule }
  | { name: 'refused'; heard: Heard; code: DenialCode }
  | { name: 'done' };

/**
 * The server's steps of one handshake: `hello`, `receive`, then `accept` or `deny`, each once.
 *
 * It does no I/O: texts go in and out, the store is asked through a callback, time limits are its caller's.
 */
export class ServerHandshake {
  readonly #options: ServerHandshakeOptions;
  #state: State = { name: 'new' };

  /** @throws {WebgramError} `WEBGRAM_BAD_HANDSHAKE` for views that no handshake can hold. */
  constructor(options: ServerHandshakeOptions) {
    checkViews(options.views);
    this.#options = options;
  }

  /** Returns the hello, the first text that goes to the client. */
  async hello(): Promise<string> {
    if (this.#state.name !== 'new') throw new TypeError('hello() must be called once');
    this.#state = { name: 'busy' };
    const { crypto, serverKey, storeID, limits, views } = this.#options;
    const ephemeral = await crypto.generateEphemeral();
    const body = encodeHelloBody({
      ephemeral: ephemeral.publicKey,
      serverKey: serverKey.publicKey,
      challenge: crypto.randomBytes(CHALLENGE_BYTES),
      storeID: concat(storeID),
      maxFrameBytes: limits.maxFrameBytes,
      pingMs: limits.pingMs,
      maxEarlyBytes: isSealed(views.chosen) ? 0 : limits.maxEarlyBytes,
    });
    this.#state = { name: 'greeted', ephemeral, th1: await hashHello(crypto, views, body) };
    return encodeHandshakeFrame('hello', body);
  }

  /**
   * Takes the client's proof.
   *
   * A proof that fails and a key that is not known are both `refused` as `unknown`, after the same work.
   *
   * @throws {WebgramError} `WEBGRAM_BAD_FRAME` for any other text and for a second one,
   * `WEBGRAM_FRAME_TOO_LARGE`, and `WEBGRAM_BAD_HANDSHAKE` for a point that is not on the curve. The
   * connection ends then, without an answer.
   */
  async receive(text: string, findKey: FindKey): Promise<Proof> {
    const state = this.#state;
    if (state.name !== 'greeted') {
      throw new WebgramError('WEBGRAM_BAD_FRAME', 'one proof must follow the hello', { received: true });
    }
    this.#state = { name: 'busy' };
    try {
      return await this.#check(state, text, findKey);
    } catch (error) {
      this.#state = { name: 'done' };
      throw error;
    }
  }

  async #check({ ephemeral, th1 }: Greeted, text: string, findKey: FindKey): Promise<Proof> {
    const { crypto, serverKey, limits } = this.#options;
    const lengths = [SIGNATURE_BYTES, CONFIRM_BYTES];
    const shapes = { 'session-create': lengths, 'session-resume': lengths };
    const frame = parseHandshakeFrame(text, limits.maxHandshakeBytes, shapes);
    const { type, body } = frame;
    const [clientSignature, clientTag] = frame.fields as [Bytes, Bytes];
    const proof = parseProofBody(type, body, limits.maxFromClientBytes);

    const known = await findPublicKey(crypto, proof, findKey);
    // Any valid key will do: whatever verifies with it is refused below.
    const publicKey = known === undefined ? serverKey.publicKey : concat(known.publicKey);

    const secret = await deriveSecret(ephemeral, proof.ephemeral);
    const th2 = await hashProof(crypto, th1, frame, publicKey);
    const schedule = await KeySchedule.from(crypto, secret, th2);
    const heard = { th1, type, body, clientSignature, clientTag };

    const confirm = await schedule.macKey('c confirm');
    const tag = await confirm.mac(concat(th2, clientSignature));
    const verified =
      crypto.equal(tag, clientTag) &&
      (await crypto.verify(publicKey, clientSignature, clientSignatureInput(th2)));
    if (!verified || known === undefined) return this.#refuse(heard, 'unknown');
    if (known.ended !== undefined) return this.#refuse(heard, known.ended);

    this.#state = { name: 'proved', heard, schedule };
    const { caps } = proof;
    if (proof.type === 'session-create') {
      const keyID = toBase64url(await keyIDOf(crypto, publicKey));
      return { kind: 'create', keyID, publicKey, fromClient: proof.fromClient, caps };
    }
    return { kind: 'resume', keyID: toBase64url(proof.keyID), publicKey, sessionID: proof.sessionID, caps };
  }

  #refuse(heard: Heard, code: DenialCode): Proof {
    this.#state = { name: 'refused', heard, code };
    return { kind: 'refused', code };
  }

  /**
   * Accepts the proof. What must be durable has been written before.
   *
   * @returns The last text of the handshake, and the keys of the frames.
   */
  async accept(ok: OkBody): Promise<{ answer: string; keys: LinkKeys }> {
    const state = this.#state;
    if (state.name !== 'proved') throw new TypeError('accept() must follow a proof that was good');
    this.#state = { name: 'done' };
    const { heard, schedule } = state;
    const body = encodeOkBody(ok);
    const { th3, signature } = await this.#sign(heard, 'session-ok', body);
    const confirm = await schedule.macKey('s confirm');
    const tag = await confirm.mac(concat(th3, signature));
    return {
      answer: encodeHandshakeFrame('session-ok', body, signature, tag),
      keys: await linkKeys(schedule, 'server', this.#options.views.chosen),
    };
  }

  /**
   * Denies: what `receive` has refused with exactly that code, or a proved client for a reason that was found
   * later (a create whose key has ended meanwhile).
   *
   * @returns The last text of the handshake.
   */
  async deny(code: DenialCode): Promise<string> {
    const state = this.#state;
    const allowed = state.name === 'proved' || (state.name === 'refused' && state.code === code);
    if (!allowed) throw new TypeError('deny() must follow a proof, with the code it was refused with');
    this.#state = { name: 'done' };
    const body = encodeDeniedBody(code);
    const { signature } = await this.#sign(state.heard, 'session-denied', body);
    return encodeHandshakeFrame('session-denied', body, signature);
  }

  async #sign(heard: Heard, answerType: AnswerParts['answerType'], answerBody: string) {
    const { crypto, serverKey } = this.#options;
    const { th1, ...parts } = heard;
    const th3 = await hashAnswer(crypto, th1, { ...parts, answerType, answerBody });
    return { th3, signature: await serverKey.sign(serverSignatureInput(th3)) };
  }
}

async function findPublicKey(
  crypto: Crypto,
  proof: ProofBody,
  findKey: FindKey,
): Promise<KnownKey | undefined> {
  if (proof.type === 'session-resume') return findKey(toBase64url(proof.keyID));
  const known = await findKey(toBase64url(await keyIDOf(crypto, proof.publicKey)));
  return { publicKey: proof.publicKey, ended: known?.ended };
}

async function deriveSecret(ephemeral: EphemeralKey, peer: Bytes): Promise<Bytes> {
  try {
    return await ephemeral.deriveSecret(peer);
  } catch (cause) {
    throw new WebgramError('WEBGRAM_BAD_HANDSHAKE', 'E_c must be a point of P-256', {
      cause,
      received: true,
    });
  }
}

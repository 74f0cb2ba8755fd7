import {
  ServerRenewal,
  WebgramError,
  type Crypto,
  type Bytes,
  type IdentityEnvelope,
  type RenewedKey,
} from 'webgram';

/** What is known of the key that a link was opened with. */
export interface LinkIdentity {
  /** 22 characters base64url. */
  keyID: string;
  /** C, 65 bytes. */
  publicKey: Bytes;
  /** Binds a renewal to this connection, 32 bytes. */
  exporter: Bytes;
}

/**
 * Makes a renewal last, before the client is told of it.
 *
 * @param replaced KeyID of the key that the link was opened with.
 * @throws whatever the renewal is to fail with; nothing has changed then.
 */
export type WriteKey = (key: RenewedKey, replaced: string) => Promise<void>;

export interface LinkRenewalOptions {
  crypto: Crypto;
  identity: LinkIdentity;
  /** How long the client may take, in ms. */
  timeoutMs: number;
  send: (envelope: IdentityEnvelope) => void;
  write: WriteKey;
}

/**
 * - `open`: the client was asked and has time to answer.
 * - `checking`: its key has come.
 * - `writing`: the key is good. What happens to the link changes nothing any more.
 * - `over` (final).
 */
type State = 'open' | 'checking' | 'writing' | 'over';

/** One renewal on one link, from `renew` to `renew-ok`. PROTOCOL.md, "Renewal". */
export class LinkRenewal {
  /** Resolves when the new key is durable; rejects when nothing has changed, or when nobody knows. */
  readonly done: Promise<void>;
  readonly #options: LinkRenewalOptions;
  readonly #steps: ServerRenewal;
  readonly #deadline: NodeJS.Timeout;
  #state: State = 'open';
  #settle!: { resolve: () => void; reject: (error: unknown) => void };

  /** Asks the client for another key. */
  constructor(options: LinkRenewalOptions) {
    const { crypto, identity, timeoutMs, send } = options;
    this.#options = options;
    this.#steps = new ServerRenewal({ crypto, ...identity });
    this.done = new Promise((resolve, reject) => {
      this.#settle = { resolve, reject };
    });
    this.#deadline = setTimeout(() => {
      this.stop(
        new WebgramError('WEBGRAM_TIMEOUT', `the client brought no other key within ${timeoutMs} ms`, {
          retryable: true,
        }),
      );
    }, timeoutMs);
    send(this.#steps.open());
  }

  get isOver(): boolean {
    return this.#state === 'over';
  }

  /**
   * Takes the client's key, checks it, and has it written.
   *
   * @throws when the link must be closed for it.
   */
  async receive(envelope: IdentityEnvelope): Promise<void> {
    // The steps refuse a second key while they check the first, and both are void then.
    if (this.#state === 'writing' || this.#state === 'over') throw unexpected();
    this.#state = 'checking';
    try {
      const key = await this.#steps.receive(envelope);
      // The link has gone or the time was out while we looked.
      if (this.isOver) throw unexpected();
      clearTimeout(this.#deadline);
      this.#state = 'writing';
      await this.#options.write(key, this.#options.identity.keyID);
    } catch (error) {
      this.#end();
      this.#settle.reject(error);
      throw error;
    }
    this.#end();
    this.#options.send(this.#steps.ok());
    this.#settle.resolve();
  }

  /** Gives up, with that error, unless the key is being written already. */
  stop(error: Error): void {
    if (this.#state === 'writing' || this.#state === 'over') return;
    this.#end();
    this.#settle.reject(error);
  }

  #end(): void {
    clearTimeout(this.#deadline);
    this.#state = 'over';
  }
}

function unexpected(): WebgramError {
  return new WebgramError('WEBGRAM_BAD_FRAME', 'no renewal is open', { received: true });
}

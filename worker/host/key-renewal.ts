import { ClientRenewal } from 'webgram';
import type { Bytes, IdentityEnvelope, SigningKey } from 'webgram';

export interface KeyRenewalOptions {
  /** Of the link on which it happens, 32 bytes. */
  exporter: Bytes;
  /** The key that this link was opened with, 65 bytes. */
  publicKey: Bytes;
  /** Makes the next key, and keeps it durably. */
  prepareNext: () => Promise<SigningKey>;
  send: (envelope: IdentityEnvelope) => void;
}

/** One renewal on one link, from the server's `renew` to its `renew-ok`. PROTOCOL.md, "Renewal". */
export class KeyRenewal {
  readonly #options: KeyRenewalOptions;
  readonly #steps: ClientRenewal;
  #isDone = false;

  /** @throws {WebgramError} `WEBGRAM_BAD_FRAME` unless the envelope is a `renew`. */
  constructor(envelope: IdentityEnvelope, options: KeyRenewalOptions) {
    this.#steps = new ClientRenewal(envelope, options);
    this.#options = options;
  }

  /** The server has said that the next key stands in the place of the old one. */
  get isDone(): boolean {
    return this.#isDone;
  }

  /** Makes the next key, keeps it, and only then sends it. @throws when it cannot be kept. */
  async answer(): Promise<void> {
    const { prepareNext, send } = this.#options;
    send(await this.#steps.answer(await prepareNext()));
  }

  /** @throws {WebgramError} `WEBGRAM_BAD_FRAME` unless it is the `renew-ok` that was awaited. */
  receiveOk(envelope: IdentityEnvelope): void {
    this.#steps.receiveOk(envelope);
    this.#isDone = true;
  }
}

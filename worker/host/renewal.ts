import { ClientRenewal } from 'webgram';
import type { IdentityEnvelope, SigningKey } from 'webgram';
import type { Identity } from './identity.ts';
import { identityKey, nextKeyOf, ownIdentityRecord } from './identity-records.ts';
import { provenKey } from './key-proof.ts';
import type { Keyring } from './keyring.ts';
import type { Link } from './link.ts';
import type { HostPlatform } from './platform.ts';

export interface RenewalOptions {
  /** Normalised. */
  address: string;
  platform: Pick<HostPlatform, 'crypto' | 'keys'>;
  keyring: Keyring;
  /** The link on which it happens. */
  link: Pick<Link, 'send' | 'exporter'>;
  identity: Identity;
  /** The key that the link was opened with. */
  key?: SigningKey;
}

/** What a link needs of the renewal of its key; see `Renewal`. */
export interface KeyRenewal {
  /** Takes what the server says of it. @throws when the link is of no use any more. */
  receive(envelope: IdentityEnvelope): Promise<void>;
}

/** What is loaded with the queue. */
export interface RenewalModule {
  /**
   * @throws {WebgramError} `WEBGRAM_BAD_FRAME` unless the envelope is a `renew`.
   * @throws {TypeError} when the link is no more.
   */
  Renewal: new (envelope: IdentityEnvelope, options: RenewalOptions) => KeyRenewal;
}

/** Gives an identity another key, as a login wants it. PROTOCOL.md, "Renewal". */
export class Renewal implements KeyRenewal {
  readonly #options: RenewalOptions;
  readonly #steps: ClientRenewal;

  constructor(envelope: IdentityEnvelope, options: RenewalOptions) {
    const { key, link } = options;
    const { exporter } = link;
    if (key === undefined || exporter === undefined) throw new TypeError('the link must be active');
    this.#options = options;
    this.#steps = new ClientRenewal(envelope, { exporter, publicKey: key.publicKey });
  }

  async receive(envelope: IdentityEnvelope): Promise<void> {
    const { keyring, link, identity } = this.#options;
    if (envelope.what === 'renew') {
      const next = await this.#prepareNext().catch(() => {
        throw new Error('this browser cannot keep a key here');
      });
      link.send(await this.#steps.answer(next));
    } else {
      this.#steps.receiveOk(envelope);
      // The old key is answered with a denial only.
      if (identity.next !== undefined) await keyring.confirmed(identity, identity.next, identity.sessionID!);
    }
  }

  /**
   * Makes a key that may soon be the identity's, and keeps it durably beside the present one.
   *
   * @throws when it cannot be kept: a key that the server takes and this browser loses would lock the user out.
   */
  async #prepareNext(): Promise<SigningKey> {
    const { address, platform, keyring, identity } = this.#options;
    const { keys, crypto } = platform;
    const next = await keys.generate();
    let key: SigningKey | undefined = keys.signingKey(next.publicKey, next.privateKey);
    if (identity.isStored) {
      const name = identityKey(address, identity.storeID, identity.localID);
      let isGone = false;
      await keyring.update((now) => {
        isGone = !now.has(name);
        const record = ownIdentityRecord(now.get(name));
        if (record === undefined || !crypto.equal(record.publicKey, identity.key.publicKey)) return [];
        // The next key can only resume, so the session must be known wherever it is.
        return [[name, { ...record, sessionID: identity.sessionID, next }]];
      });
      if (isGone) keyring.hasLostRecord(identity);
      else {
        const record = ownIdentityRecord((await keyring.records()).get(name));
        const kept = record && nextKeyOf(record);
        key = kept && (await provenKey(platform, kept));
        // Not kept, or not as it was; or another host has changed this identity.
        if (key === undefined || !crypto.equal(key.publicKey, next.publicKey)) throw new Error();
      }
    }
    identity.next = key;
    identity.refusals = 0;
    return key;
  }
}

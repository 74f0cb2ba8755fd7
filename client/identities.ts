import { WebgramError } from 'webgram';
import type { WalletEntry } from '../worker/host/wallet/identity-wallet.ts';
import type { Asking } from './devices.ts';

/** One identity of this browser at the client's server address. */
export type IdentityEntry = WalletEntry;

/** What `Identities` does, for whoever stands in for it. */
export type IdentitiesOf = Pick<Identities, keyof Identities>;

/** What of a `Client` is used here. */
export interface Wallet extends Asking {
  readonly pinned: string | undefined;
  readonly state: { name: string };
  pin(identity?: string): void;
  on(event: '$identities' | '$switched' | '$state', listener: () => unknown): () => void;
}

/**
 * The identities of this browser at the address of a client: one for each account that was logged in here, and each with
 * a session of its own. Changes reach every tab.
 *
 * One of them is active: every tab follows it that is not pinned to another one.
 */
export class Identities {
  readonly #client: Wallet;
  readonly #ask: (what: string, ...args: unknown[]) => Promise<unknown>;

  /** @param client A `Client` of any application. */
  constructor(client: Wallet) {
    this.#client = client;
    // It goes to the host, not to the server.
    const loose: { ask(type: string, ...args: unknown[]): Promise<unknown> } = client;
    this.#ask = (...args) => loose.ask('$identities', ...args);
  }

  /** Lists them all, the oldest first; without those that were signed out, or that the server does not know. */
  list(): Promise<IdentityEntry[]> {
    return this.#ask('list') as Promise<IdentityEntry[]>;
  }

  /**
   * Makes an identity without an account the active one, to log in with: one that is there and was not used, or a new one.
   * This tab is pinned no more.
   *
   * @returns It, when the server has given it a session.
   */
  async add(): Promise<IdentityEntry> {
    const added = (await this.#ask('add')) as IdentityEntry;
    await this.#pin(undefined);
    return { ...added, isCurrent: true };
  }

  /**
   * Makes it the active one: all tabs go over to it that are not pinned. This one is pinned no more.
   *
   * @throws {WebgramError} `WEBGRAM_UNKNOWN_IDENTITY`, or `WEBGRAM_STORAGE_FAILED` and then nobody knows.
   */
  async switchTo(id: string): Promise<void> {
    await this.#ask('switch', id);
    await this.#pin(undefined);
  }

  /** What this tab is pinned to: an id, user id or name. */
  get pinned(): string | undefined {
    return this.#client.pinned;
  }

  /**
   * Pins this tab: it keeps that identity, whichever is active, also when the page is loaded again.
   *
   * @param id `undefined`: it follows the active one again.
   * @throws {WebgramError} `WEBGRAM_UNKNOWN_IDENTITY`
   */
  async pin(id: string | undefined): Promise<void> {
    const all = id === undefined ? [] : await this.list();
    if (id !== undefined && !all.some((entry) => entry.id === id)) {
      throw new WebgramError('WEBGRAM_UNKNOWN_IDENTITY', 'no such identity');
    }
    await this.#pin(id);
  }

  /**
   * Gives it a name in this browser.
   *
   * @param name At most 64 characters; "" takes it away.
   * @throws {WebgramError} `WEBGRAM_BAD_REQUEST` when the name is too long, `WEBGRAM_UNKNOWN_IDENTITY`.
   */
  async rename(id: string, name: string): Promise<void> {
    await this.#ask('rename', id, name);
  }

  /**
   * Ends its session at the server for good, once what was sent in it is handled. It is no more in use here at once; a
   * server that cannot be reached is told as soon as it can be. If it was the active one, one without an account follows;
   * tabs that are pinned to it are `denied`.
   *
   * @throws {WebgramError} `WEBGRAM_UNKNOWN_IDENTITY`, or `WEBGRAM_STORAGE_FAILED` and then nobody knows.
   */
  async signOut(id: string): Promise<void> {
    await this.#ask('sign-out', id);
  }

  /** Signs all out that have an account. @throws {WebgramError} as `signOut` does, after which the rest is as it was. */
  async signOutAll(): Promise<void> {
    const all = await this.list();
    // That of this tab last: when it is pinned, its client ends.
    const others = all.filter(({ account }) => account !== undefined);
    others.sort((a, b) => Number(a.isCurrent) - Number(b.isCurrent));
    for (const { id } of others) await this.signOut(id);
  }

  /**
   * Removes it from this browser, which can never use it again. Its session lives on at the server until it expires.
   *
   * @throws {WebgramError} as `signOut` does.
   */
  async forget(id: string): Promise<void> {
    await this.#ask('forget', id);
  }

  /** @returns When the tab has gone over. */
  async #pin(id: string | undefined): Promise<void> {
    if (id === this.#client.pinned) return;
    this.#client.pin(id);
    // The host answers in the order in which it was asked.
    await this.list();
  }

  /**
   * Calls with the list whenever it has changed, in all tabs, and when this tab has gone over to another identity.
   *
   * @returns The function that takes the listener away.
   */
  onChange(listener: (entries: IdentityEntry[]) => void): () => void {
    const client = this.#client;
    let changes = 0;
    const look = (): void => {
      const change = ++changes;
      this.list().then(
        (entries) => {
          // A later change has its own list.
          if (change === changes) listener(entries);
        },
        () => {
          // The client has ended, as its state says, or it goes over and the list follows.
        },
      );
    };
    let isGoingOver = false;
    const offs = [
      client.on('$identities', look),
      client.on('$switched', () => (isGoingOver = true)),
      client.on('$state', () => {
        // Only behind that does the host know which one is current.
        if (!isGoingOver || client.state.name === 'connecting') return;
        isGoingOver = false;
        look();
      }),
    ];
    return () => {
      for (const off of offs) off();
    };
  }
}

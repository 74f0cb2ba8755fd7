import type { HostAddress } from './port-protocol.ts';
import { hold } from './web-locks.ts';

/** Web Lock of the host that serves the identities of this origin. */
const SERVING = 'webgram-serving';
/** What the names of those Web Locks begin with that tell where a host is. */
const AT = 'webgram-at ';

/**
 * The right to serve the identities of this origin, which one host at a time has. The host that has started last has
 * it: after a deploy that is the newest build. Each host takes it once, so that no two ever fight for it.
 */
export class StorageLock {
  readonly #name: string;
  readonly #lost: (to: HostAddress) => void;
  #losing: Promise<void> | undefined;
  /** Let go what is held. */
  readonly #releases: (() => void)[] = [];

  /**
   * @param incarnation Of this host.
   * @param lost Called once another host has it, with where that is.
   */
  constructor(incarnation: string, own: HostAddress, lost: (to: HostAddress) => void) {
    this.#name = AT + JSON.stringify([incarnation, own]);
    this.#lost = lost;
  }

  /** Takes it from whoever has it. Resolves when it is taken. */
  async take(): Promise<void> {
    this.#releases.push(await hold(this.#name, {}));
    await this.#takeOver();
  }

  /** Lets it go: this host has ended, and what runs it lives on. */
  release(): void {
    for (const release of this.#releases) release();
  }

  /**
   * Settles when it is known whether another host has it, and `lost` was called if so.
   *
   * @returns Whether no other host lives.
   */
  async isAlone(): Promise<boolean> {
    // What the browser knows of a theft it has said before it answers this.
    const others = await this.#others();
    await this.#losing;
    return others.length === 0;
  }

  /** Other hosts, in the order in which they have begun. */
  async #others(): Promise<string[]> {
    const { held = [] } = await navigator.locks.query();
    const names = held.map(({ name = '' }) => name);
    return names.filter((name) => name.startsWith(AT) && name !== this.#name);
  }

  async #takeOver(): Promise<void> {
    const release = await hold(SERVING, { steal: true }, () => {
      this.#losing = this.#giveUp();
    });
    this.#releases.push(release);
  }

  async #giveUp(): Promise<void> {
    // One that has lost it before may still be at its last words.
    const other = (await this.#others()).at(-1);
    // Who took it has died already.
    if (other === undefined) await this.#takeOver();
    else this.#lost((JSON.parse(other.slice(AT.length)) as [string, HostAddress])[1]);
  }
}

import { DEFAULT_LIMITS, toBase64url } from 'webgram';
import type { Limits } from 'webgram';
import { IdentityLink } from './identity-link.ts';
import { Keyring } from './keyring.ts';
import type { HostPlatform } from './platform.ts';
import { PORT_PROTOCOL } from './port-protocol.ts';
import type { TabToHost } from './port-protocol.ts';
import { TabPort } from './tab-port.ts';
import type { PortLike } from './tab-port.ts';

/**
 * The host: holds the identities of one browser profile and one link for each that is in use, and lets every tab speak
 * through them.
 *
 * It has no globals, so it runs the same in a SharedWorker, in a leader tab and in Node.
 */
export class Hub {
  /** Names this run of the host: another one means that its memory is gone. */
  readonly incarnation: string;
  readonly #platform: HostPlatform;
  readonly #limits: Limits;
  readonly #ready: Promise<boolean>;
  readonly #identityLinks = new Set<IdentityLink>();
  /** The one that new tabs get, by server address. */
  readonly #activeAt = new Map<string, IdentityLink>();
  readonly #keyrings = new Map<string, Keyring>();
  readonly #linkOf = new Map<TabPort, IdentityLink>();
  #links = 0;

  /**
   * @param ready Whether this place can serve. Links wait for it; when it is `false`, tabs are told to find another
   * host. Default: it can.
   */
  constructor(platform: HostPlatform, ready: Promise<boolean> = Promise.resolve(true)) {
    this.#platform = platform;
    this.#limits = { ...DEFAULT_LIMITS, ...platform.limits };
    // Also the name of a Web Lock, which must not begin with "-" as one in 64 of the random texts does.
    this.incarnation = `webgram-host-${toBase64url(platform.crypto.randomBytes(16))}`;
    this.#ready = ready;
  }

  /** Takes a tab's port. The tab gets `welcome`, says hello, and is served until it has gone. */
  connect(port: PortLike): void {
    const { build, kind, clock, schedule } = this.#platform;
    let served: IdentityLink | undefined;
    const tab: TabPort = new TabPort({
      port,
      incarnation: this.incarnation,
      watchLock: (lock, gone) => this.#platform.watchLock(lock, gone),
      // A host that was busy for that long has its timers before the messages that have come meanwhile.
      after: (delayMs, callback) =>
        clock.after(delayMs, () => {
          schedule(callback);
        }),
      hello: (hello) => {
        served = this.#hello(tab, hello);
      },
      up: (link, up) => {
        served?.up(tab, link, up);
      },
      wake: () => {
        served?.wake();
      },
      gone: () => {
        this.#linkOf.delete(tab);
        served?.depart(tab);
      },
    });
    tab.post({ kind: 'welcome', protocol: PORT_PROTOCOL, build, host: { kind } });
  }

  /** Says goodbye to every server and closes. */
  close(): void {
    for (const identityLink of this.#identityLinks) identityLink.close();
    this.#identityLinks.clear();
    this.#activeAt.clear();
  }

  #hello(tab: TabPort, hello: TabToHost & { kind: 'hello' }): IdentityLink | undefined {
    if (hello.protocol !== PORT_PROTOCOL) {
      this.#refuse(tab, `this host speaks port protocol ${PORT_PROTOCOL}, the page ${hello.protocol}`);
      return undefined;
    }
    const older = [...this.#linkOf].find(([{ lock }]) => lock === tab.lock);
    if (older === undefined && this.#linkOf.size >= this.#limits.maxTabs) {
      this.#refuse(tab, `this host serves at most ${this.#limits.maxTabs} tabs`);
      return undefined;
    }
    const identityLink = this.#identityLink(hello);
    if (older !== undefined) this.#replace(...older, tab, identityLink);
    this.#linkOf.set(tab, identityLink);
    identityLink.add(tab);
    void this.#ready.then((canServe) => {
      if (!canServe) this.#refuse(tab, 'this browser cannot keep a key here');
    });
    return identityLink;
  }

  /** A tab that came back from the back-forward cache speaks over a new port, under the same lock. */
  #replace(older: TabPort, served: IdentityLink, newer: TabPort, by: IdentityLink): void {
    if (served === by) served.replace(older, newer);
    else served.depart(older);
    this.#linkOf.delete(older);
    older.close();
  }

  #identityLink({ address, fresh, fromClient }: TabToHost & { kind: 'hello' }): IdentityLink {
    const active = this.#activeAt.get(address);
    if (active !== undefined && !fresh) return active;
    const identityLink: IdentityLink = new IdentityLink({
      address,
      keyring: this.#keyring(address),
      fresh,
      fromClient,
      platform: this.#platform,
      limits: this.#limits,
      nextLink: () => ++this.#links,
      ready: this.#ready,
      idle: () => {
        this.#identityLinks.delete(identityLink);
        if (this.#activeAt.get(address) === identityLink) this.#activeAt.delete(address);
      },
    });
    this.#identityLinks.add(identityLink);
    // From now on it is the browser's identity there; tabs that are with another stay with it.
    this.#activeAt.set(address, identityLink);
    return identityLink;
  }

  #keyring(address: string): Keyring {
    const { keyStore, keys, crypto, clock } = this.#platform;
    let keyring = this.#keyrings.get(address);
    if (keyring === undefined) {
      keyring = new Keyring({ address, store: keyStore, keys, crypto, nowMs: () => clock.nowMs() });
      this.#keyrings.set(address, keyring);
    }
    return keyring;
  }

  #refuse(tab: TabPort, message: string): void {
    this.#linkOf.get(tab)?.drop(tab);
    this.#linkOf.delete(tab);
    tab.post({ kind: 'refused', code: 'WEBGRAM_NO_HOST', message });
    tab.close();
  }
}

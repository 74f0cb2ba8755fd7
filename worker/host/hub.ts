import { DEFAULT_LIMITS, toBase64url } from 'webgram';
import type { ErrorCode, Limits } from 'webgram';
import { IdentityLink, NOT_LOADED } from './identity-link.ts';
import type { LinkHost, Standing } from './identity-link.ts';
import { Keyring } from './keyring.ts';
import type { LaterModule } from './later.ts';
import type { HostPlatform } from './platform.ts';
import { PORT_PROTOCOL } from './port-protocol.ts';
import type { HostAddress, TabToHost } from './port-protocol.ts';
import { StreamCopy } from './stream-copy.ts';
import { TabPort } from './tab-port.ts';
import type { PortLike } from './tab-port.ts';
import type { Unfinished } from './unfinished.ts';
import type { IdentityWallet, WalletCall, WalletHost } from './wallet/identity-wallet.ts';

/** The platform, with the code that is not needed at first. */
export interface HubPlatform extends HostPlatform {
  /** Loads what few hosts need at once. Default: this host keeps no durable messages, and its identities cannot be listed. */
  loadLater?: () => Promise<LaterModule>;
}

/** Which identity a tab wants. */
type Wish = Pick<TabToHost & { kind: 'hello' }, 'address' | 'fresh' | 'fromClient' | 'demands' | 'identity'>;

/**
 * The host: holds the identities of one browser profile and one link for each that is in use, and lets every tab speak
 * through them.
 *
 * It has no globals, so it runs the same in a SharedWorker, in a leader tab and in Node.
 */
export class Hub implements LinkHost, WalletHost {
  /** Names this run of the host: another one means that its memory is gone. */
  readonly incarnation: string;
  readonly platform: HubPlatform;
  readonly limits: Limits;
  readonly canServe: Promise<boolean>;
  protected readonly identityLinks = new Set<IdentityLink>();
  /** The one that new tabs get, by server address. */
  protected readonly activeLinks = new Map<string, IdentityLink>();
  readonly #keyrings = new Map<string, Keyring>();
  protected readonly linkOf = new Map<TabPort, IdentityLink>();
  /** The host that serves this storage now, and what to do when nothing is left to be finished here. */
  #successor: { address: HostAddress; finished: () => void } | undefined;
  #links = 0;
  /** Lists and changes the identities. Loaded with the queue. */
  #wallet: IdentityWallet | undefined;

  /**
   * @param ready Whether this place can serve. Links wait for it; when it is `false`, tabs are told to find another
   * host. Default: it can.
   */
  constructor(platform: HubPlatform, ready: Promise<boolean> = Promise.resolve(true)) {
    this.platform = platform;
    this.limits = { ...DEFAULT_LIMITS, ...platform.limits };
    // Also the name of a Web Lock, which must not begin with "-" as one in 64 of the random texts does.
    this.incarnation = `webgram-host-${toBase64url(platform.crypto.randomBytes(16))}`;
    this.canServe = ready;
  }

  /** Takes a tab's port. The tab gets `welcome`, says hello, and is served until it has gone. */
  connect(port: PortLike): void {
    const { build, kind, clock, schedule } = this.platform;
    let first: IdentityLink | undefined;
    const served = (): IdentityLink | undefined => first?.heir;
    const tab: TabPort = new TabPort({
      port,
      incarnation: this.incarnation,
      watchLock: (lock, gone) => this.platform.watchLock(lock, gone),
      // A host that was busy for that long has its timers before the messages that have come meanwhile.
      after: (delayMs, callback) =>
        clock.after(delayMs, () => {
          schedule(callback);
        }),
      hello: (hello) => {
        first = this.#hello(tab, hello);
      },
      up: (link, up) => {
        served()?.tabs.up(tab, link, up);
      },
      wants: (what) => {
        if (what === 'wake') served()?.wake();
        else served()?.acceptServerKey();
      },
      call: (call) => {
        if (call.kind === 'queue') served()?.queue(tab, call);
        else void this.#callWallet(tab, call, served());
      },
      gone: () => {
        this.linkOf.delete(tab);
        served()?.depart(tab);
      },
    });
    tab.post({ kind: 'welcome', protocol: PORT_PROTOCOL, build, host: { kind } });
  }

  /** Finishes what a host before this one has left. */
  adopt({ lock, address, demands, localID, attach, ups }: Unfinished): void {
    const copy = StreamCopy.of(attach, lock, ups, localID);
    // Also one that finishes what it has.
    const link =
      this.linksAt(address).find((one) => one.isOf(localID)) ??
      this.#identityLink({ address, demands, identity: localID, fresh: false });
    link.adopt(copy);
  }

  /**
   * Another host serves this storage now: its tabs are sent there, and so is who still comes. What departed tabs have
   * left is finished here, unless the other one takes the session over before.
   */
  standDown(address: HostAddress, finished: () => void): void {
    this.#successor = { address, finished };
    for (const identityLink of this.identityLinks) identityLink.standDown(address);
    if (this.identityLinks.size === 0) finished();
  }

  #hello(tab: TabPort, hello: TabToHost & { kind: 'hello' }): IdentityLink | undefined {
    if (hello.protocol !== PORT_PROTOCOL) {
      this.#refuse(tab, 'WEBGRAM_VERSION_SKEW', `the page must speak port protocol ${PORT_PROTOCOL}`);
      return undefined;
    }
    if (this.#successor !== undefined) {
      this.#sendAway(tab, this.#successor.address);
      return undefined;
    }
    const before = this.linkOf.get(tab);
    if (before !== undefined) {
      // What it has sent so far belongs to the identity that it had.
      before.heir.depart(tab);
      this.linkOf.delete(tab);
      tab.copy = undefined;
      tab.hasLostSession = false;
    }
    const older = [...this.linkOf].find(([{ lock }]) => lock === tab.lock);
    if (older === undefined && this.linkOf.size >= this.limits.maxTabs) {
      this.#refuse(tab, 'WEBGRAM_TOO_MANY_TABS', `this host serves at most ${this.limits.maxTabs} tabs`);
      return undefined;
    }
    const identityLink = this.#identityLink(hello);
    if (older !== undefined) this.#replace(...older, tab, identityLink);
    this.linkOf.set(tab, identityLink);
    identityLink.add(tab);
    void this.canServe.then((canServe) => {
      if (!canServe) this.#sendAway(tab, { script: '', build: '', why: 'the worker cannot keep a key here' });
    });
    return identityLink;
  }

  /** A tab that came back from the back-forward cache speaks over a new port, under the same lock. */
  #replace(older: TabPort, served: IdentityLink, newer: TabPort, by: IdentityLink): void {
    if (served.heir === by) by.tabs.replace(older, newer);
    else served.heir.depart(older);
    this.linkOf.delete(older);
    older.close();
  }

  #identityLink(wish: Wish): IdentityLink {
    const { address, demands, fresh, identity } = wish;
    const present =
      identity === undefined
        ? this.activeAt(address)
        : this.linksAt(address).find((identityLink) => identityLink.isNamed(identity));
    if (present !== undefined && !fresh) {
      present.demand(demands);
      return present;
    }
    const identityLink = this.open(wish);
    // From now on it is the browser's identity there; tabs that are with another stay with it.
    if (identity === undefined) this.setActive(identityLink);
    return identityLink;
  }

  linksAt(address: string): IdentityLink[] {
    return [...this.identityLinks].filter((identityLink) => identityLink.address === address);
  }

  open(wish: Wish): IdentityLink {
    const identityLink = new IdentityLink(this, { ...wish, keyring: this.keyring(wish.address) });
    this.identityLinks.add(identityLink);
    return identityLink;
  }

  /** A link knows its identity: where another one has the same, that takes its tabs over. */
  claim(claiming: IdentityLink, isActive: boolean): boolean {
    const { address, identity } = claiming;
    const active = this.activeAt(address);
    let other = this.linksAt(address).find(
      (link) => link !== claiming && link.identity?.localID === identity?.localID,
    );
    // One that is about to find out that it is the same.
    if (isActive && active?.isOpen) other ??= active;
    const taken = other ?? claiming;
    if (active === claiming || (isActive && active === undefined)) this.setActive(taken);
    if (taken !== claiming) claiming.mergeInto(taken);
    return taken === claiming;
  }

  async #callWallet(tab: TabPort, call: WalletCall, served: IdentityLink | undefined): Promise<void> {
    try {
      await this.loadLater();
    } catch {
      tab.post({ kind: 'answer', call: call.call, error: NOT_LOADED });
      return;
    }
    if (served !== undefined) this.#wallet?.call(tab, call, served);
  }

  nextLink(): number {
    return ++this.#links;
  }

  async standing(): Promise<Standing> {
    const isAlone = (await this.platform.isAlone?.()) ?? true;
    return this.#successor === undefined ? (isAlone ? 'alone' : 'among others') : 'lost';
  }

  linked(identityLink: IdentityLink): void {
    this.#wallet?.linked(identityLink);
  }

  idle(identityLink: IdentityLink): void {
    this.identityLinks.delete(identityLink);
    if (this.activeAt(identityLink.address) === identityLink) this.activeLinks.delete(identityLink.address);
    if (this.identityLinks.size === 0) this.#successor?.finished();
  }

  activeAt(address: string): IdentityLink | undefined {
    return this.activeLinks.get(address);
  }

  setActive(identityLink: IdentityLink): void {
    this.activeLinks.set(identityLink.address, identityLink);
  }

  async loadLater(): Promise<LaterModule> {
    const later = await this.platform.loadLater!();
    this.#wallet ??= new later.Wallet(this);
    return later;
  }

  keyring(address: string): Keyring {
    let keyring = this.#keyrings.get(address);
    if (keyring === undefined) {
      const changed = (): void => {
        for (const link of this.linksAt(address)) link.tabs.tell({ kind: 'identities' });
        this.#wallet?.changed(address);
      };
      keyring = new Keyring({ ...this.platform, address, changed });
      this.#keyrings.set(address, keyring);
    }
    return keyring;
  }

  #refuse(tab: TabPort, code: ErrorCode, message: string): void {
    tab.post({ kind: 'refused', code, message });
    tab.close();
  }

  #sendAway(tab: TabPort, to: HostAddress): void {
    this.linkOf.get(tab)?.heir.drop(tab);
    this.linkOf.delete(tab);
    tab.post({ kind: 'moved', ...to });
    tab.close();
  }
}

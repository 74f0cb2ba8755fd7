import { endEnvelope, toBase64url, unreachable } from 'webgram';
import type {
  Bytes,
  ByeEnvelope,
  DenialCode,
  DownEnvelope,
  Hello,
  IdentityEnvelope,
  Limits,
  OkBody,
  OutcomeReason,
  SigningKey,
} from 'webgram';
import { judge, keyToTry } from './identity.ts';
import type { Identity, NewReason } from './identity.ts';
import { SIGNED_OUT, type Keyring } from './keyring.ts';
import { Link, reasonOf } from './link.ts';
import type { LinkEnd, LinkOptions } from './link.ts';
import type { HostPlatform } from './platform.ts';
import type { Demands, HostAddress, IdentityInfo, LinkState } from './port-protocol.ts';
import { readProfile } from './profile.ts';
import type { KeyRenewal, RenewalModule } from './renewal.ts';
import { FIRST_INQUIRY } from './queue/durable-queue.ts';
import type { DurableQueue, QueueCall, QueueModule } from './queue/durable-queue.ts';
import { next } from './reconnect.ts';
import type { ReconnectEvent, ReconnectState } from './reconnect.ts';
import { standInFor } from './stand-in.ts';
import type { StreamCopy } from './stream-copy.ts';
import type { TabPort } from './tab-port.ts';
import { Tabs } from './tabs.ts';
import type { Unfinished } from './unfinished.ts';

/** How long the socket stays open behind the last tab, in ms: the next page is often only a navigation away. */
export const LINGER_MS = 30_000;
/** How long to wait, in ms, before a server whose key has changed is tried again. */
export const KEY_CHANGED_RETRY_MS = 60_000;
/** First wait, in ms, after a copy of the identity has taken the session over; it doubles. */
export const FORKED_RETRY_MS = 5_000;
/** Longest such wait, in ms. A link that lived longer begins anew. */
const FORKED_MAX_MS = 600_000;
/** How long to wait, in ms, before the next link is tried again while an old one still lives. */
const SUCCESSOR_RETRY_MS = 5_000;
/** How long, in ms, tabs may take to leave an identity that is signed out. */
const END_LIMIT_MS = 5_000;
/** Longest wait, in ms, that a server can ask for. */
const MAX_HINT_MS = 60_000;

/** Number of the durable queue among the tabs of a link. */
const QUEUE = 0;

/** The code that is not needed at once cannot be had now. */
export const NOT_LOADED = { code: 'WEBGRAM_STORAGE_FAILED', message: 'it cannot be loaded' };

/** What a host is to its storage: the only one, the one that serves it while another lives, or one that has lost it. */
export type Standing = 'alone' | 'among others' | 'lost';

/** What the identities of a host need of it. */
export interface LinkHost {
  readonly platform: HostPlatform;
  readonly limits: Limits;
  /** Whether the host can serve; no link is opened before that is known. */
  readonly canServe: Promise<boolean>;
  /** Numbers the links of this host. */
  nextLink(): number;
  /** Whether this host still is the one that serves this storage. */
  standing(): Promise<Standing>;
  /** The one that tabs get which keep to no identity. */
  activeAt(address: string): IdentityLink | undefined;
  /**
   * It knows its identity.
   *
   * @param isActive That is the active one.
   * @returns False when there is another link of it, which has taken the tabs over.
   */
  claim(identityLink: IdentityLink, isActive: boolean): boolean;
  /** Finishes what a tab of another identity has left. */
  adopt(unfinished: Unfinished): void;
  /** Loads the code that is not needed at first. */
  loadLater(): Promise<QueueModule & RenewalModule>;
  /** A link is up, and that code is here. */
  linked(identityLink: IdentityLink): void;
  /** Nobody needs it any more, or it has ended: who comes is to be given another one. */
  idle(identityLink: IdentityLink): void;
}

export interface IdentityLinkOptions {
  /** Normalised. */
  address: string;
  demands: Demands;
  keyring: Keyring;
  /** Begin with a new identity, although there is one. */
  fresh: boolean;
  /** Which identity it is, by id, user id or name. `null`: the one that is active. */
  identity?: string | undefined;
  /** Told to the server when a session is created. */
  fromClient?: Record<string, unknown> | null | undefined;
}

type Untimed<Event> = Event extends unknown ? Omit<Event, 'nowMs'> : never;

/** One link, and who it says that it is. */
interface Attempt {
  link: Link;
  /** Both are there once the proof is made. */
  identity?: Identity;
  key?: SigningKey;
  renewal?: Promise<KeyRenewal>;
  /** The server has answered the proof. */
  wasUp?: true;
}

/**
 * One identity in use: its tabs, the departures of those that have gone, and the one link that carries them all.
 *
 * A link is followed by another one without a gap where that was to be expected: before it is too old, and when it
 * has renewed the key. Otherwise `reconnect.ts` decides. It is a cache: whatever it holds can be rebuilt from the
 * tabs, the keyring and the server.
 */
export class IdentityLink {
  readonly address: string;
  readonly #host: LinkHost;
  readonly #options: IdentityLinkOptions;
  readonly tabs: Tabs;
  #demands: Demands;
  /** Why the next identity is to be a new one, although there is one. */
  #freshBecause: NewReason | undefined;
  #identity: Identity | undefined;
  /** The identity that is still to be found. */
  #name: string | undefined;
  /** Has taken everything over. */
  #heir: IdentityLink | undefined;
  /** The user has signed out, and the server is to know it. */
  #isEnding = false;
  /** The user wants it no more: it finishes what it has. */
  #isDismissed = false;
  /** One that was set aside and is tried again before the other. */
  #trial: Identity | undefined;
  #state: ReconnectState = { name: 'idle' };
  #current: Attempt | undefined;
  /** Takes over from the current one when it is up. */
  #successor: Attempt | undefined;
  /** The server's key that was not accepted at the last try. */
  #refusedKey: Bytes | undefined;
  /** A key that was accepted although it is another one, until a `session-ok` makes it the pin. */
  #acceptedKey: Bytes | undefined;
  /** What this link tells of the session in the place of the server's reason. */
  #linkReason: OutcomeReason | undefined;
  /** How often a stranger has taken the session over lately: a copy of the identity, or a host that has died. */
  #forks = 0;
  /** Told to the server with the next proof. */
  #supersededBy: number | undefined;
  /** Until when a proof that was not answered may still reach the server, and take the session over there. */
  #ghostUntilMs = 0;
  #lingerMs = LINGER_MS;
  /** Keeps durable messages. Loaded with the first link, so that it is there when the network is not. */
  #queue: Promise<DurableQueue | undefined> | undefined;
  #cancelRetry: () => void = () => undefined;
  #cancelSuccession: () => void = () => undefined;
  #cancelLinger: () => void = () => undefined;

  constructor(host: LinkHost, options: IdentityLinkOptions) {
    this.#host = host;
    this.#options = options;
    this.address = options.address;
    this.#demands = options.demands;
    this.#freshBecause = options.fresh ? 'new' : undefined;
    this.#name = options.identity;
    this.tabs = new Tabs(
      () => {
        this.#restIfUnused();
      },
      (copy) => {
        host.adopt(this.unfinished(copy));
      },
    );
  }

  /** The one that has taken over from this one; mostly itself. */
  get heir(): IdentityLink {
    return this.#heir?.heir ?? this;
  }

  /** The identity, once it is known. */
  get identity(): Identity | undefined {
    return this.#isDismissed ? undefined : this.#identity;
  }

  /** What was said of tabs that share it. */
  get wish(): Pick<IdentityLinkOptions, 'address' | 'fromClient'> & { demands: Demands } {
    return { ...this.#options, demands: this.#demands };
  }

  /** Whether it is of an identity that goes by that id, user id or name. */
  isNamed(name: string): boolean {
    const { identity } = this;
    if (identity === undefined) return !this.#isDismissed && name === this.#name;
    return name === identity.localID || name === identity.profile.account || name === identity.name;
  }

  /** It is of that identity, whether or not that is still wanted. */
  isOf(localID: string | undefined): boolean {
    return localID !== undefined && (this.#identity?.localID ?? this.#name) === localID;
  }

  get #isActive(): boolean {
    return this.#host.activeAt(this.address) === this;
  }

  /** It will be of the active identity, whichever that is. */
  get isOpen(): boolean {
    return this.#identity === undefined && this.#name === undefined && this.#freshBecause === undefined;
  }

  /** It is to be of an identity that is still to be made. */
  get isFresh(): boolean {
    return this.#identity === undefined && this.#freshBecause !== undefined;
  }

  /** Keeps to that identity from now on, if it does not know yet which one it is. */
  bind(name: string): void {
    if (this.#identity === undefined) this.#name ??= name;
  }

  /** Another link is of the same identity: it takes over whoever is here. */
  mergeInto(heir: IdentityLink): void {
    this.#heir = heir;
    heir.demand(this.#demands);
    this.tabs.moveTo(heir);
    this.#withQueue((queue) => queue.end(heir.#loadQueue()));
    this.close();
    this.#host.idle(this);
  }

  /** The user wants it no more: tabs that keep to it are told, and what is under way is finished. */
  dismiss(reason: string): void {
    this.#isDismissed = true;
    // Nothing is written for it again.
    if (this.#identity !== undefined) this.#identity.isStored = false;
    this.tabs.denyPinned(reason);
    this.#restIfUnused();
  }

  /** Ends the session at the server, behind what is under way and queued for it. */
  end(): void {
    this.#isEnding = true;
    this.#host.platform.clock.after(END_LIMIT_MS, () => {
      this.#sayEnd();
    });
    this.visit();
  }

  /** Opens a link for a while, although no tab is here. */
  visit(): void {
    this.#start();
    this.#restIfUnused();
  }

  /** Another page has demands as well: links that were opened without them are not for it. */
  demand({ pins, sealed }: Demands): void {
    const before = this.#demands;
    this.#demands = { pins: pins ?? before.pins, sealed: sealed || before.sealed };
    if (JSON.stringify(this.#demands) === JSON.stringify(before)) return;
    this.#dropSuccessor();
    this.#current?.link.bye('closed');
    this.#unlink();
    this.#apply({ name: this.#state.name === 'waiting' ? 'retry' : 'resume' });
    this.#openIfWanted();
  }

  /** A tab says hello: it learns at once how things stand. */
  add(tab: TabPort): void {
    this.#start();
    this.tabs.sendElsewhere(tab);
    tab.post(this.#stateMessage());
    this.tabs.add(tab);
    this.#withQueue((queue) => {
      queue.greet(tab);
    });
  }

  /** The tab has to look for another host. */
  drop(tab: TabPort): void {
    this.tabs.drop(tab);
    this.#restIfUnused();
  }

  /** The tab has gone: what it had handed over is finished for it. */
  depart(tab: TabPort): void {
    this.tabs.depart(tab);
    this.#restIfUnused();
  }

  /** Returns what is still to be finished for a tab, as another host or identity takes it over. */
  unfinished({ lock, attach, oldest, ups, localID }: StreamCopy): Unfinished {
    const { address } = this;
    // No later host knows an identity that ends with this one.
    const known = this.#identity?.isStored ? this.#identity.localID : undefined;
    return {
      ...{ lock, address, demands: this.#demands, ups },
      localID: localID ?? known,
      attach: { ...attach, oldest },
    };
  }

  /** Finishes what a host before this one has left. */
  adopt(copy: StreamCopy): void {
    this.#start();
    this.tabs.adopt(copy);
    this.#restIfUnused();
  }

  /** A tab calls the durable queue. */
  queue(tab: TabPort, call: QueueCall): void {
    // It has to know whose messages these are.
    const load = (): Promise<DurableQueue | undefined> => this.#loadQueue();
    void this.#isReady()
      .then(load, load)
      .then((queue) => {
        if (this.#heir) this.#heir.queue(tab, call);
        else if (queue) queue.call(tab, call);
        else tab.post({ kind: 'answer', call: call.call, error: NOT_LOADED });
      });
  }

  /** @returns `undefined` when it cannot be had now. */
  #loadQueue(): Promise<DurableQueue | undefined> {
    const { address } = this;
    const { platform } = this.#host;
    return (this.#queue ??= this.#host
      .loadLater()
      .then(
        ({ Queue }) =>
          new Queue({
            ...{ address, platform },
            isActive: () => this.#isActive,
            owner: () => this.#identity?.localID,
            isHere: (tabID) => this.tabs.speaksFor(tabID),
            tell: (message) => {
              this.tabs.tell(message);
            },
          }),
      )
      .catch(() => {
        this.#queue = undefined;
        return undefined;
      }));
  }

  #withQueue(use: (queue: DurableQueue) => unknown): void {
    void this.#queue?.then((queue) => queue && use(queue));
  }

  /** A page was focused, or the network came back. */
  wake(): void {
    this.#apply({ name: 'wake' });
    this.#current?.link.probe();
  }

  /** The application accepts the server's key that was refused at the last try. */
  acceptServerKey(): void {
    // The application has said itself which keys there are.
    if (this.#refusedKey === undefined || this.#demands.pins !== undefined) return;
    this.#acceptedKey = this.#refusedKey;
    this.#refusedKey = undefined;
    this.#apply({ name: 'retry' });
  }

  /** Another host serves this storage now: tabs go there, and what departed tabs have left is finished here. */
  standDown(to: HostAddress): void {
    this.#lingerMs = 0;
    this.tabs.tell({ kind: 'moved', ...to });
    this.tabs.dropAll();
    this.#restIfUnused();
  }

  /** Ends it at once. */
  close(): void {
    this.#cancelLinger();
    this.#dropSuccessor();
    this.#current?.link.bye('closed');
    this.#unlink();
    this.#apply({ name: 'stop' });
  }

  // ---- links

  #open(): void {
    try {
      this.#current = this.#attempt();
    } catch (error) {
      // Such as a page over https with an address that begins with ws:.
      this.#wait(reasonOf(error));
    }
  }

  /** Opens the link that is to follow the current one, which lives on until the other is up. */
  #openSuccessor(): void {
    this.#cancelSuccession();
    const current = this.#current;
    // A newer link would end the renewal. The server ends this one in a while, and then the next follows.
    if (current !== undefined && current.renewal === undefined) this.#successor = this.#attempt();
  }

  #dropSuccessor(): void {
    this.#cancelSuccession();
    this.#successor?.link.abandon();
    this.#successor = undefined;
  }

  #attempt(): Attempt {
    const { platform, limits } = this.#host;
    const link = new Link({
      number: this.#host.nextLink(),
      address: this.address,
      fromPlatform: platform,
      sealed: this.#demands.sealed === true,
      limits,
      identify: (hello) => this.#identify(attempt, hello),
      opened: () => {
        if (attempt === this.#current) this.#linkTabs(attempt);
      },
      aged: () => {
        if (attempt === this.#current) this.#openSuccessor();
      },
      up: (ok, hello) => {
        this.#up(attempt, ok, hello);
      },
      receive: (envelopes) => {
        for (const envelope of envelopes) this.#receive(attempt, envelope);
      },
      dropped: (envelope, error) => {
        if (!('tab' in envelope)) return;
        if (envelope.tab === QUEUE) this.#withQueue((queue) => queue.dropped(envelope, error));
        else {
          this.tabs.dropped(envelope.tab, error.code, error.message);
          if ('seq' in envelope) link.send(standInFor(envelope, error));
        }
      },
      down: (end) => {
        this.#down(attempt, end);
      },
    });
    const attempt: Attempt = { link };
    return attempt;
  }

  #linkTabs({ link, identity }: Attempt): void {
    if (identity !== undefined) this.tabs.linked(link, identity);
  }

  #unlink(): void {
    this.#current = undefined;
    this.tabs.unlinked();
    this.#withQueue((queue) => {
      queue.unlinked();
    });
  }

  // ---- who we are

  /** @returns Whether a link can be opened: no other one has the identity. */
  async #isReady(): Promise<boolean> {
    if (!(await this.#host.canServe)) return false;
    const name = this.#name;
    if (name === undefined) return true;
    const found = await this.#options.keyring.find(name, this.#isEnding ? SIGNED_OUT : undefined);
    if (found === undefined) this.#deny('no such identity');
    if (found === undefined || !this.#take(...found)) return false;
    this.#tell();
    return true;
  }

  /** @returns Whether it is of that identity now. */
  #take(identity: Identity, isActive: boolean): boolean {
    this.#name = undefined;
    this.#identity = identity;
    if (!this.#host.claim(this, isActive)) return false;
    this.tabs.identify(identity.localID);
    this.tabs.sendStrangers((name) => this.isNamed(name));
    return true;
  }

  #deny(reason: string): void {
    this.#apply({ name: 'denied', reason });
    this.#host.idle(this);
  }

  /** Behind what is queued, which would be lost. */
  #sayEnd(): void {
    const attempt = this.#current;
    if (!attempt?.wasUp) return;
    void this.#loadQueue()
      .then((queue) => queue?.drained())
      .then(() => {
        if (attempt === this.#current) attempt.link.send(endEnvelope());
      });
  }

  async #identify(attempt: Attempt, hello: Hello): ReturnType<LinkOptions['identify']> {
    const { fromClient = null } = this.#options;
    if (!(await this.#accepts(hello.serverKey))) {
      this.#refusedKey = hello.serverKey;
      throw new Error('server-key-changed');
    }
    const identity = await this.#choose(toBase64url(hello.storeID), attempt === this.#successor);
    const key = keyToTry(identity);
    attempt.identity = identity;
    attempt.key = key;
    const { sessionID } = identity;
    const intent =
      sessionID === null
        ? ({ kind: 'create', fromClient } as const)
        : ({ kind: 'resume', sessionID } as const);
    const by = this.#supersededBy;
    return { key, intent, caps: by === undefined ? [] : [`superseded ${by}`] };
  }

  async #choose(storeID: string, isSuccessor: boolean): Promise<Identity> {
    const { keyring, fresh } = this.#options;
    const because = this.#freshBecause;
    let identity = this.#identity;
    if (identity?.storeID !== storeID || because !== undefined) {
      // Nobody who keeps to an identity becomes another one.
      if (identity !== undefined && !this.#isActive) throw new Error('store-lost');
      identity = await keyring.identity(storeID, because);
      this.#freshBecause = undefined;
      if (!this.#take(identity, true)) throw new Error('moved');
    }
    // Nor is the session changed while a link is up.
    if (fresh || because !== undefined || isSuccessor || !this.#isActive) return identity;
    if (this.#trial?.storeID !== storeID) this.#trial = await keyring.setAsideToTry(storeID);
    return this.#trial ?? identity;
  }

  async #accepts(serverKey: Bytes): Promise<boolean> {
    const { keyring } = this.#options;
    const isServerKey = (key: Bytes): boolean => this.#host.platform.crypto.equal(key, serverKey);
    this.#refusedKey = undefined;
    const demanded = this.#demands.pins;
    if (demanded !== undefined) return demanded.includes(toBase64url(serverKey));
    const pins = await keyring.pins();
    if (pins.length === 0 || pins.some(isServerKey)) return true;
    if (this.#acceptedKey !== undefined && isServerKey(this.#acceptedKey)) return true;
    if (!isLoopback(this.address)) return false;
    this.#tellOfKey('accepted on this machine, with a new identity');
    this.#acceptedKey = serverKey;
    this.#freshBecause = 'server-key-changed';
    return true;
  }

  #tellOfKey(what: string): void {
    const message = `The server at ${this.address} has another key than before: ${what}.`;
    this.tabs.tell({ kind: 'notice', code: 'WEBGRAM_SERVER_KEY_CHANGED', message });
  }

  #up(attempt: Attempt, ok: OkBody, hello: Hello): void {
    const { identity, key } = attempt;
    if (!identity || !key) return;
    const isSuccessor = attempt === this.#successor;
    if (isSuccessor) {
      this.#current?.link.bye('age');
      this.#current = attempt;
      this.#successor = undefined;
    }
    attempt.wasUp = true;
    this.#identity = identity;
    this.#trial = undefined;
    this.#linkReason = this.#acceptedKey === undefined ? undefined : 'server-key-changed';
    this.#acceptedKey = this.#supersededBy = undefined;
    const pins = ok.otherServerKey === null ? [hello.serverKey] : [hello.serverKey, ok.otherServerKey];
    const { storage } = identity;
    void this.#options.keyring.confirmed(identity, key, ok.sessionID, pins).then(() => {
      if (identity.storage !== storage) this.#tell();
    });
    if (isSuccessor) this.#linkTabs(attempt);
    this.tabs.heard(ok.serverTimeMs);
    void this.#loadQueue();
    this.#withQueue((queue) => {
      void queue.linked(attempt.link, identity);
      this.#host.linked(this);
    });
    this.#apply({ name: 'up' });
    this.#restIfUnused();
  }

  // ---- what comes

  #receive(attempt: Attempt, envelope: DownEnvelope): void {
    if (attempt !== this.#current) return;
    if ('tab' in envelope) {
      if (envelope.tab === QUEUE || envelope.tab >= FIRST_INQUIRY)
        this.#withQueue((queue) => {
          queue.receive(envelope);
        });
      else this.tabs.down(envelope, this.#identity?.madeBecause, this.#linkReason);
    } else if (envelope.kind === 'identity') {
      this.#takeIdentityWord(attempt, envelope);
    }
  }

  #takeIdentityWord(attempt: Attempt, envelope: IdentityEnvelope): void {
    const { identity } = attempt;
    if (identity === undefined) return;
    switch (envelope.what) {
      case 'renew':
      case 'renew-ok':
        this.#renew(attempt, envelope, identity);
        break;
      case 'profile':
        // Told at once, whatever the disk does.
        void this.#options.keyring.note(identity, readProfile(envelope));
        this.#tell();
        break;
      case 'forked':
        if (this.#forks === 1) this.#tellOfFork();
        break;
      default:
      // Of a later version, or nothing that concerns us.
    }
  }

  #renew(attempt: Attempt, envelope: IdentityEnvelope, identity: Identity): void {
    const { platform } = this.#host;
    if (envelope.what === 'renew') {
      // A newer link would end the renewal.
      this.#dropSuccessor();
      attempt.renewal = this.#host
        .loadLater()
        .then(({ Renewal }) => new Renewal(envelope, { ...this.#options, ...attempt, platform, identity }));
    }
    // A renew-ok that nobody waits for changes nothing.
    attempt.renewal
      ?.then((renewal) => renewal.receive(envelope))
      .catch((error: unknown) => {
        if (attempt !== this.#current) return;
        // The link is of no use, and the server is to know it at once.
        attempt.link.bye('closed');
        this.#unlink();
        this.#wait(reasonOf(error));
      });
  }

  // ---- how links end

  #down(attempt: Attempt, end: LinkEnd): void {
    if (attempt.key && !attempt.wasUp) {
      this.#ghostUntilMs = this.#nowMs() + this.#host.limits.handshakeTimeoutMs;
    }
    if (attempt === this.#successor) {
      this.#successorDown(attempt, end);
      return;
    }
    if (attempt !== this.#current) return;
    this.#unlink();
    if (end.name === 'denied') void this.#denied(attempt, end.code);
    else if (end.name === 'bye') this.#saidBye(attempt, end.bye);
    else {
      this.#goOn(end.reason, this.#refusedKey && KEY_CHANGED_RETRY_MS);
      // It can be accepted from here on.
      if (this.#refusedKey !== undefined) this.#tellOfKey('nothing was sent to it');
    }
  }

  #saidBye({ identity }: Attempt, { reason, args }: ByeEnvelope): void {
    if (identity === undefined) return;
    switch (reason) {
      case 'revoked':
        this.#dropSuccessor();
        void this.#ended(identity, reason);
        break;
      // Without the renew-ok it is open which key is good, and both are tried.
      case 'renewed':
      case 'age':
        this.#resume();
        break;
      case 'superseded':
        // Mostly by our own successor.
        if (!this.#adoptSuccessor()) void this.#superseded(args[0]);
        break;
      default: {
        const hintMs = typeof args[0] === 'number' ? Math.min(Math.max(args[0], 0), MAX_HINT_MS) : 0;
        this.#goOn(reason, hintMs);
      }
    }
  }

  #goOn(reason: string, minimumMs?: number): void {
    if (!this.#adoptSuccessor()) this.#wait(reason, minimumMs);
  }

  /** The current link has gone and the next is under way already. */
  #adoptSuccessor(): boolean {
    const successor = this.#successor;
    if (successor === undefined) return false;
    this.#successor = undefined;
    this.#current = successor;
    if (successor.link.isOpen) this.#linkTabs(successor);
    this.#resume();
    return true;
  }

  #successorDown({ identity }: Attempt, end: LinkEnd): void {
    this.#successor = undefined;
    const isOtherTry =
      end.name === 'denied' && identity !== undefined && judge(identity, end.code) === 'other-key';
    // Whatever else the server says it says again to the link that follows the current one.
    const delayMs = isOtherTry ? 0 : SUCCESSOR_RETRY_MS;
    this.#cancelSuccession = this.#host.platform.clock.after(delayMs, () => {
      this.#openSuccessor();
    });
  }

  async #denied({ identity }: Attempt, code: DenialCode): Promise<void> {
    // There is no denial without one.
    if (identity === undefined) return;
    if (judge(identity, code) === 'other-key') this.#openIfWanted();
    else await this.#ended(identity, code);
  }

  /** The server has ended the identity, or does not know it: another one is used. */
  async #ended(identity: Identity, code: DenialCode): Promise<void> {
    const { keyring } = this.#options;
    const state = this.#state;
    if (this.#identity === identity) this.#identity = undefined;
    this.#trial = undefined;
    await keyring.denied(identity, this.#isEnding ? 'revoked' : code);
    if (this.#state !== state) return;
    if (identity.isAside) {
      this.#openIfWanted();
    } else if (identity.profile.account === undefined && this.#isActive) {
      this.tabs.denyPinned(code);
      this.#wait(code);
    } else {
      // Nobody is to become a stranger unnoticed: the application decides.
      this.#deny(code);
    }
  }

  /** @param by Generation of the link that has taken the session over. */
  async #superseded(by: unknown): Promise<void> {
    const state = this.#state;
    const standing = await this.#host.standing();
    if (this.#state !== state) return;
    if (standing === 'lost') {
      // Nobody is here, and what departed tabs have left cannot be finished any more.
      this.close();
      this.#host.idle(this);
      return;
    }
    if (standing === 'among others' || this.#nowMs() < this.#ghostUntilMs) {
      // Most likely by a host before this one, which has not yet heard that it is over, or by a link before this one.
      this.#wait('superseded');
      return;
    }
    const wasLong = state.name === 'active' && this.#nowMs() - state.sinceMs > FORKED_MAX_MS;
    this.#forks = wasLong ? 1 : this.#forks + 1;
    if (typeof by === 'number') this.#supersededBy = by;
    // The first time it may be the last proof of a host that has died: the server knows whether the other one lives.
    const isCertain = this.#forks > 1;
    if (isCertain) this.#tellOfFork();
    const waitMs = Math.min(FORKED_RETRY_MS * 2 ** (this.#forks - 1), FORKED_MAX_MS);
    this.#wait(isCertain ? 'forked' : 'superseded', waitMs);
  }

  #tellOfFork(): void {
    const message = 'a copy of this identity is in use';
    this.tabs.tell({ kind: 'notice', code: 'WEBGRAM_FORKED', message });
  }

  // ---- states

  #wait(reason: string, minimumMs = 0): void {
    const random = this.#host.platform.random();
    this.#apply({ name: 'down', random, reason, minimumMs });
  }

  #resume(): void {
    this.#apply({ name: 'resume' });
  }

  #start(): void {
    this.#cancelLinger();
    this.#apply({ name: 'start' });
  }

  #apply(event: Untimed<ReconnectEvent>): void {
    const before = this.#state;
    this.#state = next(before, { ...event, nowMs: this.#nowMs() } as ReconnectEvent);
    if (this.#state === before) return;
    this.#cancelRetry();
    this.#tell();
    if (this.#state.name === 'waiting') {
      const delayMs = Math.max(0, this.#state.retryAtMs - this.#nowMs());
      this.#cancelRetry = this.#host.platform.clock.after(delayMs, () => {
        this.#apply({ name: 'retry' });
      });
    } else {
      this.#openIfWanted();
    }
  }

  #openIfWanted(): void {
    const state = this.#state;
    const isWanted = state.name === 'connecting' || state.name === 'resuming';
    if (!isWanted || this.#current !== undefined) return;
    void this.#isReady().then(
      (isReady) => {
        if (isReady && this.#state === state && this.#current === undefined) this.#open();
      },
      (error: unknown) => {
        if (this.#state === state) this.#wait(reasonOf(error));
      },
    );
  }

  #restIfUnused(): void {
    this.#cancelLinger();
    if (!this.tabs.isEmpty) return;
    if (this.#isEnding) this.#sayEnd();
    this.#cancelLinger = this.#host.platform.clock.after(this.#lingerMs, () => {
      this.close();
      this.#host.idle(this);
    });
  }

  #tell(): void {
    this.tabs.tell(this.#stateMessage());
  }

  #stateMessage(): { kind: 'state'; state: LinkState; identity: IdentityInfo | undefined } {
    return { kind: 'state', state: linkState(this.#state), identity: identityInfo(this.#identity) };
  }

  #nowMs(): number {
    return this.#host.platform.clock.nowMs();
  }
}

function linkState(state: ReconnectState): LinkState {
  switch (state.name) {
    case 'idle':
      return { name: 'connecting', attempt: 0 };
    case 'connecting':
      return { name: 'connecting', attempt: state.attempt };
    case 'active':
    case 'resuming':
      return { name: 'active' };
    case 'waiting':
      return { name: 'waiting', retryAtMs: state.retryAtMs, reason: state.reason };
    case 'denied':
      return state;
    default:
      return unreachable(state);
  }
}

function identityInfo(identity: Identity | undefined): IdentityInfo | undefined {
  if (identity === undefined || identity.sessionID === null) return undefined;
  const { localID: id, sessionID, profile, storage } = identity;
  return { id, sessionID, ...profile, storage };
}

/** Whether an address is on this machine, where a developer may have deleted the server's folder. */
export function isLoopback(address: string): boolean {
  const { hostname } = new URL(address);
  return /^(localhost|.+\.localhost|127(\.\d+){3}|\[::1\])$/.test(hostname);
}

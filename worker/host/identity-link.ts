import { toBase64url, unreachable } from 'webgram';
import type { Bytes, DownEnvelope, Hello, Limits, OkBody, TabUp } from 'webgram';
import type { Identity, Keyring, NewReason } from './keyring.ts';
import { Link } from './link.ts';
import type { LinkEnd } from './link.ts';
import type { HostPlatform } from './platform.ts';
import type { IdentityInfo, LinkState } from './port-protocol.ts';
import { next } from './reconnect.ts';
import type { ReconnectEvent, ReconnectState } from './reconnect.ts';
import { StreamCopy } from './stream-copy.ts';
import type { TabPort } from './tab-port.ts';
import { Tabs } from './tabs.ts';
import { unfinishedOf } from './unfinished.ts';
import type { Unfinished } from './unfinished.ts';

/** How long the socket stays open behind the last tab, in ms: the next page is often only a navigation away. */
export const LINGER_MS = 30_000;
/** How long to wait, in ms, before a server whose key has changed is tried again. */
export const KEY_CHANGED_RETRY_MS = 60_000;
/** First wait, in ms, after another host has taken the session over; it doubles. */
const SUPERSEDED_RETRY_MS = 5_000;
/** Longest wait, in ms, that a server can ask for. */
const MAX_HINT_MS = 60_000;

export interface IdentityLinkOptions {
  /** Normalised. */
  address: string;
  keyring: Keyring;
  /** Begin with a new identity, although there is one. */
  fresh: boolean;
  /** Told to the server when a session is created. */
  fromClient: Record<string, unknown> | null;
  platform: HostPlatform;
  limits: Limits;
  /** Numbers the links of this host. */
  nextLink: () => number;
  /** Whether the host can serve; no link is opened before that is known. */
  ready: Promise<boolean>;
  /** Nobody needs it any more. */
  idle: (identityLink: IdentityLink) => void;
}

/**
 * One identity in use: its tabs, the departures of those that have gone, and the one link that carries them all.
 *
 * It is a cache: whatever it holds can be rebuilt from the tabs, the keyring and the server.
 */
export class IdentityLink {
  readonly address: string;
  readonly #options: IdentityLinkOptions;
  readonly #tabs: Tabs;
  /** Why the next identity is to be a new one, although there is one. */
  #freshBecause: NewReason | undefined;
  #identity: Identity | undefined;
  #state: ReconnectState = { name: 'idle' };
  #link: Link | undefined;
  /** The server's key is not the one that was seen before: the next try takes its time. */
  #keyHasChanged = false;
  /** A key that was accepted although it is another one, until a `session-ok` makes it the pin. */
  #acceptedKey: Bytes | undefined;
  /** Left by a host before this one, and not yet taken over. */
  #inherited: Unfinished[] = [];
  #cancelRetry: () => void = () => undefined;
  #cancelLinger: () => void = () => undefined;

  constructor(options: IdentityLinkOptions) {
    this.#options = options;
    this.address = options.address;
    this.#freshBecause = options.fresh ? 'new' : undefined;
    this.#tabs = new Tabs(() => {
      this.#restIfUnused();
    });
  }

  /** A tab says hello: it learns at once how things stand. */
  add(tab: TabPort): void {
    this.#cancelLinger();
    this.#apply({ name: 'start', nowMs: this.#nowMs() });
    tab.post(this.#stateMessage());
    this.#tabs.add(tab);
  }

  /** The tab has to look for another host. */
  drop(tab: TabPort): void {
    this.#tabs.drop(tab);
    this.#restIfUnused();
  }

  /** The tab speaks over another port from now on, which is to be added. */
  replace(older: TabPort, newer: TabPort): void {
    this.#tabs.replace(older, newer);
  }

  /** The tab has gone: what it had handed over is finished for it. */
  depart(tab: TabPort): void {
    this.#tabs.depart(tab);
    this.#restIfUnused();
  }

  /** What is still to be finished for tabs that have gone, and for some that are about to. */
  unfinished(going: readonly TabPort[]): Unfinished[] {
    const localID = this.#identity?.localID ?? null;
    return [
      ...this.#inherited,
      ...this.#tabs.departed(going).map((copy) => unfinishedOf(copy, this.address, localID)),
    ];
  }

  /** Finishes what a host before this one has left, if it was with the same identity. */
  adopt(unfinished: Unfinished): void {
    this.#cancelLinger();
    this.#apply({ name: 'start', nowMs: this.#nowMs() });
    this.#inherited.push(unfinished);
    this.#takeOver();
    this.#restIfUnused();
  }

  /** Takes what a tab sends, for the link that it knows of. */
  up(tab: TabPort, linkNumber: number, up: TabUp): void {
    this.#tabs.up(tab, linkNumber, up);
  }

  /** A page was focused, or the network came back. */
  wake(): void {
    this.#apply({ name: 'wake', nowMs: this.#nowMs() });
    this.#link?.probe();
  }

  /** Ends it at once. */
  close(): void {
    this.#cancelLinger();
    this.#link?.bye('closed');
    this.#unlink();
    this.#apply({ name: 'stop' });
  }

  #takeOver(): void {
    const localID = this.#identity?.localID;
    if (localID === undefined) return;
    for (const { localID: whose, attach, ups } of this.#inherited) {
      // Streams of another identity are none of this one's business.
      if (whose === null || whose === localID) this.#tabs.adopt(StreamCopy.of(attach, ups));
    }
    this.#inherited = [];
  }

  #receive(envelopes: readonly DownEnvelope[]): void {
    for (const envelope of envelopes) if ('tab' in envelope) this.#tabs.down(this.#withReason(envelope));
  }

  /** Only this browser knows why the session of an attach is a new one. */
  #withReason<Down extends DownEnvelope>(down: Down): Down {
    const reason = this.#identity?.madeBecause;
    if (down.kind !== 'attached' || typeof down.outcome === 'string') return down;
    if (down.outcome.reason !== 'new' || reason === undefined) return down;
    return { ...down, outcome: { ...down.outcome, reason } };
  }

  #open(): void {
    const { address, platform, limits, nextLink } = this.#options;
    this.#keyHasChanged = false;
    try {
      const link: Link = new Link({
        number: nextLink(),
        address,
        fromPlatform: platform,
        limits,
        identify: (hello) => this.#identify(hello),
        opened: () => {
          this.#takeOver();
          this.#tabs.linked(link);
        },
        up: (ok, hello) => {
          this.#up(ok, hello);
        },
        receive: (envelopes) => {
          this.#receive(envelopes);
        },
        dropped: (envelope, error) => {
          if ('tab' in envelope) this.#tabs.dropped(envelope.tab, error.code, error.message);
        },
        down: (end) => {
          this.#down(end);
        },
      });
      this.#link = link;
    } catch (error) {
      // Such as a page over https with an address that begins with ws:.
      this.#down({
        name: 'failed',
        reason: error instanceof Error ? error.message : 'the address was refused',
      });
    }
  }

  async #identify(hello: Hello): ReturnType<ConstructorParameters<typeof Link>[0]['identify']> {
    const { keyring, fromClient } = this.#options;
    const storeID = toBase64url(hello.storeID);
    if (!(await this.#accepts(hello.serverKey))) {
      this.#keyHasChanged = true;
      throw new Error('the server has another key than before');
    }
    if (this.#identity?.storeID !== storeID || this.#freshBecause !== undefined) {
      this.#identity = await keyring.identity(storeID, this.#freshBecause);
      this.#freshBecause = undefined;
    }
    const { key, sessionID } = this.#identity;
    const intent =
      sessionID === null
        ? ({ kind: 'create', fromClient } as const)
        : ({ kind: 'resume', sessionID } as const);
    return { key, intent };
  }

  async #accepts(serverKey: Bytes): Promise<boolean> {
    const { keyring, platform } = this.#options;
    const isServerKey = (key: Bytes): boolean => platform.crypto.equal(key, serverKey);
    const pins = await keyring.pins();
    if (pins.length === 0 || pins.some(isServerKey)) return true;
    if (this.#acceptedKey !== undefined && isServerKey(this.#acceptedKey)) return true;
    const message = `The server at ${this.address} has another key than the one that this browser has seen there.`;
    const isLocal = isLoopback(this.address);
    this.#tabs.tell({
      kind: 'notice',
      code: 'WEBGRAM_SERVER_KEY_CHANGED',
      message: isLocal
        ? `${message} On this machine it is accepted, with a new identity.`
        : `${message} Nothing was sent to it.`,
    });
    if (!isLocal) return false;
    this.#acceptedKey = serverKey;
    this.#freshBecause = 'server-key-changed';
    return true;
  }

  #up(ok: OkBody, hello: Hello): void {
    const identity = this.#identity;
    if (identity === undefined) return;
    identity.sessionID = ok.sessionID;
    this.#tabs.heard(ok.serverTimeMs);
    this.#apply({ name: 'up', nowMs: this.#nowMs() });
    const pins = ok.otherServerKey === null ? [hello.serverKey] : [hello.serverKey, ok.otherServerKey];
    const { storage } = identity;
    void this.#options.keyring.confirm(identity, ok.sessionID, pins).then(() => {
      if (identity.storage !== storage) this.#tabs.tell(this.#stateMessage());
    });
  }

  #down(end: LinkEnd): void {
    this.#unlink();
    if (end.name !== 'denied') {
      this.#apply(this.#downEvent(end));
      return;
    }
    const identity = this.#identity;
    this.#identity = undefined;
    if (identity?.account !== undefined) {
      this.#apply({ name: 'denied', reason: end.code });
      return;
    }
    const retry = (): void => {
      this.#apply(this.#downEvent({ name: 'failed', reason: end.code }));
    };
    if (identity === undefined) retry();
    else void this.#options.keyring.denied(identity, end.code).then(retry);
  }

  #downEvent(end: Exclude<LinkEnd, { name: 'denied' }>): ReconnectEvent {
    const { platform } = this.#options;
    const down = { name: 'down', nowMs: this.#nowMs(), random: platform.random() } as const;
    switch (end.name) {
      case 'failed':
        return {
          ...down,
          reason: end.reason,
          ...(this.#keyHasChanged && { minimumMs: KEY_CHANGED_RETRY_MS }),
        };
      case 'bye': {
        const { reason, args } = end.bye;
        const attempt = 'attempt' in this.#state ? this.#state.attempt : 0;
        const superseded = Math.min(SUPERSEDED_RETRY_MS * 2 ** attempt, KEY_CHANGED_RETRY_MS);
        const hint = typeof args[0] === 'number' ? Math.min(Math.max(args[0], 0), MAX_HINT_MS) : 0;
        return { ...down, reason, minimumMs: reason === 'superseded' ? superseded : hint };
      }
      default:
        return unreachable(end);
    }
  }

  #unlink(): void {
    this.#link = undefined;
    this.#tabs.unlinked();
  }

  #apply(event: ReconnectEvent): void {
    const before = this.#state;
    this.#state = next(before, event);
    if (this.#state === before) return;
    this.#cancelRetry();
    this.#tabs.tell(this.#stateMessage());
    if (this.#state.name === 'connecting' && this.#link === undefined) {
      const opening = this.#state;
      void this.#options.ready.then((canServe) => {
        if (canServe && this.#state === opening) this.#open();
      });
    } else if (this.#state.name === 'waiting') {
      const delayMs = Math.max(0, this.#state.retryAtMs - this.#nowMs());
      this.#cancelRetry = this.#options.platform.clock.after(delayMs, () => {
        this.#apply({ name: 'retry', nowMs: this.#nowMs() });
      });
    }
  }

  #restIfUnused(): void {
    this.#cancelLinger();
    if (!this.#tabs.isEmpty) return;
    this.#cancelLinger = this.#options.platform.clock.after(LINGER_MS, () => {
      this.close();
      this.#options.idle(this);
    });
  }

  #stateMessage(): { kind: 'state'; state: LinkState; identity: IdentityInfo | null } {
    return { kind: 'state', state: linkState(this.#state), identity: identityInfo(this.#identity) };
  }

  #nowMs(): number {
    return this.#options.platform.clock.nowMs();
  }
}

function linkState(state: ReconnectState): LinkState {
  switch (state.name) {
    case 'idle':
      return { name: 'connecting', attempt: 0 };
    case 'connecting':
      return { name: 'connecting', attempt: state.attempt };
    case 'active':
      return { name: 'active' };
    case 'waiting':
      return { name: 'waiting', retryAtMs: state.retryAtMs, reason: state.reason };
    case 'denied':
      return { name: 'denied', reason: state.reason };
    default:
      return unreachable(state);
  }
}

function identityInfo(identity: Identity | undefined): IdentityInfo | null {
  if (identity === undefined || identity.sessionID === null) return null;
  return { sessionID: identity.sessionID, storage: identity.storage };
}

/** Whether an address is on this machine, where a developer may have deleted the server's folder. */
export function isLoopback(address: string): boolean {
  const { hostname } = new URL(address);
  return /^(localhost|.+\.localhost|127(\.\d+){3}|\[::1\])$/.test(hostname);
}

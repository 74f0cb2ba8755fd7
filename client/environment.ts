import type { HostAddress, HostToTab, Leaving } from '../worker/host/port-protocol.ts';
import type { ClientHost } from './state.ts';

/** A host's port, with the first message that came over it. */
export interface FoundHost {
  port: HostPort;
  welcome: HostToTab & { kind: 'welcome' };
  /** Why it is this host. */
  why: string;
  /** Among tabs that lead themselves. */
  role?: ClientHost['role'];
}

/** What a tab uses of a `MessagePort`. */
export interface HostPort {
  // eslint-disable-next-line @typescript-eslint/no-explicit-any -- the event types of browsers and Node differ
  onmessage: ((event: any) => void) | null;
  postMessage(message: unknown): void;
  close(): void;
}

/** What a tab has around it: a browser's page, or what stands for it in Node and in tests. */
export interface TabEnvironment {
  /**
   * @param moved Where the last host has said that the next one is.
   * @throws with the reason in its message, when no host can serve this tab.
   */
  findHost: (moved?: HostAddress) => Promise<FoundHost>;
  /** Takes a Web Lock, which the host watches. @returns Releases it. */
  holdLock: (name: string) => Promise<() => void>;
  /** Calls `gone` once when nobody holds the lock. @returns Stops watching. */
  watchLock: (name: string, gone: () => void) => () => void;
  /** What the tab keeps to, across a reload. Default: that ends with the client. */
  pin?: { get(): string | undefined; set(identity: string | undefined): void };
  /** @returns Stops listening. */
  listen: (page: PageListener) => () => void;
  /** Notes for the next page what this one leaves. */
  leave?: (left: Leaving) => void;
  /**
   * Takes what pages before this one have left, if anything.
   *
   * @param ask Asks the host about it.
   * @returns How many messages are lost; `undefined` for none.
   */
  takeNotes?: (ask: AskAboutLeft) => Promise<number | undefined>;
}

/** @returns Of each how many messages are lost; `null` when it is too early to tell. */
export type AskAboutLeft = (...left: Leaving[]) => Promise<(number | null)[]>;

export interface PageListener {
  /** The page was focused or shown, or the network came back. */
  wake: () => void;
  /** The page goes into the back-forward cache, or away. */
  hide: () => void;
  /** The page came back from the back-forward cache. */
  show: () => void;
  /** The page can be seen now, or no longer. */
  seen: () => void;
}

import type { IdentityLink } from '../identity-link.ts';
import type { Keyring } from '../keyring.ts';
import type { HostPlatform } from '../platform.ts';
import type { HostToTab, TabToHost } from '../port-protocol.ts';

export type WalletCall = TabToHost & { kind: 'wallet' };

/** The tab that calls, as far as the wallet needs it. */
export interface CallingTab {
  post(message: Omit<HostToTab & { kind: 'answer' }, 'incarnation'>): void;
}

/** One identity, as tabs see it. */
export interface WalletEntry {
  /** Names it in this browser, never at the server. */
  id: string;
  /** Absent until the server has given it a session. */
  sessionID?: number;
  /** The user id that the session is bound to since the last login, and what the server says of the user. */
  account?: string;
  label?: string;
  picture?: string;
  /** What the user calls it in this browser. */
  name?: string;
  /** The one that every tab follows that keeps to none. */
  isActive: boolean;
  /** The one of the tab that asks. */
  isCurrent: boolean;
  /** `memory`: it ends with the host. */
  storage: 'persistent' | 'memory';
  createdAtMs: number;
}

/** What the wallet uses of its host. */
export interface WalletHost {
  readonly platform: Pick<HostPlatform, 'clock'>;
  keyring(address: string): Keyring;
  linksAt(address: string): IdentityLink[];
  /** The link that tabs get which keep to no identity. */
  activeAt(address: string): IdentityLink | undefined;
  setActive(identityLink: IdentityLink): void;
  /** Makes a link of an identity that has none. */
  open(wish: IdentityLink['wish'] & { identity: string | undefined; fresh: boolean }): IdentityLink;
}

/** What a host needs of its wallet; see `Wallet`. */
export interface IdentityWallet {
  /** Does what a tab wants, and answers. @param served The link that serves the tab. */
  call(tab: CallingTab, call: WalletCall, served: IdentityLink): void;
  /** A link is up: what was to be done at the server can be done now. */
  linked(identityLink: IdentityLink): void;
  /** Something is known of the identities at the address that was not. */
  changed(address: string): void;
}

/** What is loaded with the queue. */
export interface WalletModule {
  Wallet: new (host: WalletHost) => IdentityWallet;
}

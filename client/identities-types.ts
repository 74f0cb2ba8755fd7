/** One identity of this browser at the client's server address. */
export interface IdentityEntry {
  /** Names it in this browser only; the server never sees it. */
  id: string;
  /** `undefined` until the server has given it a session. */
  sessionID?: number;
  /** The user id that the session is bound to since the last login. */
  account?: string;
  /** What the server says of the user. */
  label?: string;
  picture?: string;
  /** What the user calls it in this browser. Shown as `name ?? label ?? account`. */
  name?: string;
  /** The one that every tab follows that is not pinned. */
  isActive: boolean;
  /** The one of this tab. */
  isCurrent: boolean;
  storage: 'persistent' | 'memory';
  createdAtMs: number;
}

/** The wallet: the identities that this browser has at one server address. */
export interface Identities {
  /** Oldest first; without those that were signed out. */
  list(): Promise<IdentityEntry[]>;
  /** Makes an identity without an account the active one (an unused one is taken up again), to log in with. */
  add(): Promise<IdentityEntry>;
  /** Makes it the active one in all tabs that are not pinned; this tab is pinned no more. */
  switchTo(id: string): Promise<void>;
  /** This tab keeps it, whatever is active, also across a reload; `undefined`: follows the active one again. */
  pin(id: string | undefined): Promise<void>;
  /** What this tab is pinned to. */
  readonly pinned: string | undefined;
  /** At most 64 characters; '' takes the name away. */
  rename(id: string, name: string): Promise<void>;
  /**
   * Ends the session at the server, now or, offline, as soon as it can be reached; gone from the list at once. If it was
   * active, an identity without an account follows.
   */
  signOut(id: string): Promise<void>;
  signOutAll(): Promise<void>;
  /** Removes it from this browser alone; its session lives on at the server until it expires. */
  forget(id: string): Promise<void>;
  /** Called with the list whenever it has changed, in all tabs. @returns The function that takes the listener away. */
  onChange(listener: (entries: IdentityEntry[]) => void): () => void;
}

import type { ErrorCode, TabDown, TabUp, WireError } from 'webgram';

/**
 * What tabs and their host say over a MessagePort. Tabs pass structured clones; only the host encodes.
 *
 * Version skew: both sides name their build; `PORT_PROTOCOL` grows when the other side would not understand. Then the
 * newer page starts a host of its own, and the older one ends: `kind`, `incarnation` and `protocol` of a welcome and
 * `kind`, `script` and `build` of a move stay as they are for ever.
 */
export const PORT_PROTOCOL = 4;

/** How far the host has come with the link of the tab's identity. Final: `denied`. */
export type LinkState =
  | { name: 'connecting'; attempt: number }
  | { name: 'active' }
  | { name: 'waiting'; retryAtMs: number; reason: string }
  | { name: 'denied'; reason: string };

/** The public half of an identity, as tabs see it. */
export interface IdentityInfo {
  /** Names it in this browser, never at the server. */
  id: string;
  sessionID: number;
  /** The user id that the session is bound to since the last login, and what to show of the user. */
  account?: string;
  label?: string;
  picture?: string;
  /** `memory`: the browser refused to keep the key; it ends with the host. */
  storage: 'persistent' | 'memory';
}

/** What a page demands of every link that carries its messages. It holds for all tabs that share the link. */
export interface Demands {
  /** The only public keys of the server that are spoken to, in base64url. Those that were given last hold. */
  pins?: readonly string[] | undefined;
  /** Frames are encrypted: from the first tab on that demands it. */
  sealed?: boolean | undefined;
}

/** What of the durable messages of the tab's identity is still to be handled. */
export interface QueueInfo {
  count: number;
  /** Bytes of their arguments as they are encoded. */
  bytes: number;
  /** When the oldest was stored, ms since 1970; `undefined` when there is none. */
  oldestMs: number | undefined;
}

/**
 * What a page had not seen acknowledged when it went, or when its client ended: the numbers from `oldest` to before
 * `next`, the counter of its last attach, and the session of its identity when it had one.
 */
export type Leaving = [
  tabID: string,
  counter: number,
  oldest: number,
  next: number,
  sessionID?: number | null | undefined,
];

export type TabToHost =
  /**
   * First on every port. `lock` names a Web Lock that the tab holds as long as it lives. Again, with the same lock, when
   * the tab goes over to another identity: what came before belongs to the one that it had, and is finished there.
   */
  | {
      kind: 'hello';
      protocol: number;
      build: string;
      lock: string;
      /** WebSocket address of the server. */
      address: string;
      /** Start with a new identity instead of the stored one (`skipResume` of the original package). */
      fresh: boolean;
      /** Passed to the server when a session is created. */
      fromClient?: Record<string, unknown> | null | undefined;
      demands: Demands;
      /** What the tab keeps to, whatever is active: an identity's id, user id or name. Absent: the one that is active. */
      identity?: string | undefined;
      /** The identity that the tab's stream is of, as far as it knows. */
      of?: string | undefined;
    }
  /**
   * One envelope of the tab's stream, for the link of that number; 0 while the tab knows of none. The host
   * keeps the last attach and what follows it, so that it can finish for a tab that has gone, and forwards
   * only what was meant for the link it has.
   */
  | { kind: 'up'; link: number; envelope: TabUp }
  /**
   * A call to the durable queue, which is answered. The numbers of a client's calls grow, and it repeats those that were
   * not answered to every new host. `left` asks what the server has not received of what pages have left, one `Leaving`
   * an argument: of each how many messages, or `null` when it is too early to tell.
   */
  | {
      kind: 'queue';
      call: number;
      what: 'send' | 'list' | 'clear' | 'left';
      /** Of a message that is to be kept. */
      type: string;
      args: unknown[];
      bytes: number;
    }
  /** A call to the wallet, which is answered; numbered and repeated as those to the queue. */
  | { kind: 'wallet'; call: number; what: string; args: unknown[] }
  /** The application accepts the server's key that was refused last. */
  | { kind: 'accept-key' }
  /** The page was focused, shown or came online: retry now, or probe the link. */
  | { kind: 'wake' }
  /** The tab keeps to another identity from now on: it is told to `switch`. */
  | { kind: 'pin'; identity?: string | undefined }
  /** The tab's client was closed: finish for it, as when the tab had gone. */
  | { kind: 'close' }
  /** Asks for a sign of life. */
  | { kind: 'ping' };

/** Every message names the incarnation; another one means that the host's memory is gone. */
export type HostToTab = { incarnation: string } & (
  | { kind: 'welcome'; protocol: number; build: string; host: HostInfo }
  /** The host does not serve this tab, and no other one would. */
  | { kind: 'refused'; code: ErrorCode; message: string }
  /** Another host serves this storage, or this one serves nobody: go there. */
  | ({ kind: 'moved' } & HostAddress)
  | { kind: 'state'; state: LinkState; identity?: IdentityInfo | undefined }
  /** A link is on its way: attach to it now, so that the attach travels in the first flight. */
  | { kind: 'link'; link: number }
  | { kind: 'down'; link: number; envelope: TabDown }
  /** `server-key-changed` and other news that is no state. */
  | { kind: 'notice'; code: string; message: string }
  /** What is queued has changed. */
  | { kind: 'queue'; info: QueueInfo }
  /** The answer to a call. */
  | { kind: 'answer'; call: number; error?: WireError; value?: unknown }
  /** The tab is to begin anew with another identity: with nothing that it has sent, and by another hello. Until then only answers follow. */
  | { kind: 'switch'; to?: IdentityInfo | undefined }
  /** The identities of the address have changed, or what is known of them. */
  | { kind: 'identities' }
  | { kind: 'pong' }
);

/** Where a host is to be found. */
export interface HostAddress {
  /** Address of the script of a SharedWorker; "" when one of the tabs is the host. */
  script: string;
  /** Also the name of the worker. */
  build: string;
  /** Why it is another host. */
  why: string;
}

export interface HostInfo {
  kind: 'shared-worker' | 'leader-tab' | 'in-process';
}

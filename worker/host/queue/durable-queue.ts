import type { Crypto, DownEnvelope, UpEnvelope, WireError } from 'webgram';
import type { Identity } from '../identity.ts';
import type { KeyStore } from '../key-store.ts';
import type { HostToTab, TabToHost } from '../port-protocol.ts';

/** Numbers from here on are those of streams that the queue asks about, among the tabs of a link. */
export const FIRST_INQUIRY = 1_000_000_000;

/** How much is kept at one address. */
export interface QueueLimits {
  /** Messages. Default 5,000. */
  maxCount: number;
  /** Bytes of arguments as they are encoded. Default 5 MiB. */
  maxBytes: number;
}

export type QueueCall = TabToHost & { kind: 'queue' };
export type QueueWord = Omit<HostToTab & { kind: 'queue' }, 'incarnation'>;
export type QueueAnswer = Omit<HostToTab & { kind: 'answer' }, 'incarnation'>;
export type QueueNotice = Omit<HostToTab & { kind: 'notice' }, 'incarnation'>;

/** The tab that calls, as far as the queue needs it. */
export interface CallingTab {
  /** Names the client, over hosts and ports. */
  readonly lock: string | undefined;
  post(message: QueueWord | QueueAnswer): void;
}

export interface QueueOptions {
  /** Normalised. */
  address: string;
  platform: {
    keyStore: KeyStore;
    crypto: Pick<Crypto, 'randomBytes'>;
    clock: { nowMs(): number; after(delayMs: number, callback: () => void): () => void };
    queueLimits?: QueueLimits;
  };
  /** `localID` of the identity, once it is known. */
  owner: () => string | undefined;
  /** Whether what was sent before there was an identity is meant for this one. */
  isActive: () => boolean;
  /** Whether the host still speaks for that tab. */
  isHere: (tabID: string) => boolean;
  /** Tells all tabs. */
  tell: (message: QueueWord | QueueNotice) => void;
}

/** What the queue uses of a link. */
export interface QueueLink {
  send(envelope: UpEnvelope): void;
}

/** What a host needs of the queue of an identity; see `Queue`. */
export interface DurableQueue {
  /** Tells a tab how much is queued. */
  greet(tab: CallingTab): void;
  /** Does what a tab wants, in its turn, and answers. */
  call(tab: CallingTab, call: QueueCall): void;
  /** A link of that identity is up. */
  linked(link: QueueLink, identity: Pick<Identity, 'localID' | 'isStored' | 'sessionID'>): Promise<void>;
  unlinked(): void;
  /** Takes what is kept for the identity of the last link, also by another queue. */
  lookAgain(): Promise<void>;
  /** No link follows: what waits for one is answered, and what is kept here the other one sends. */
  end(heir: Promise<DurableQueue | undefined>): Promise<void>;
  /** Resolves when nothing is queued for the identity of the present link. */
  drained(): Promise<void>;
  /** Takes what the server says to tab 0, and to those from `FIRST_INQUIRY` on. */
  receive(down: Extract<DownEnvelope, { tab: number }>): void;
  /** No frame of the link can hold that message: nothing behind it would ever arrive. */
  dropped(envelope: UpEnvelope, error: WireError): Promise<void>;
}

/** What is loaded when a host is to keep messages. */
export interface QueueModule {
  Queue: new (options: QueueOptions) => DurableQueue;
}

import type { Bytes, Crypto, Limits, PayloadCodec } from 'webgram';
import type { KeyStore } from './key-store.ts';
import type { KeyMaker } from './key-proof.ts';
import type { HostInfo } from './port-protocol.ts';
import type { QueueLimits } from './queue/durable-queue.ts';

/** What a host uses of a WebSocket. The browser's and that of `ws` have it. */
export interface Socket {
  binaryType: string;
  /** The subprotocol of the 101. */
  readonly protocol: string;
  onopen: (() => void) | null;
  onmessage: ((event: { data: unknown }) => void) | null;
  onclose: ((event: { code: number; reason: string }) => void) | null;
  onerror: (() => void) | null;
  send(data: string | Bytes): void;
  close(): void;
}

/** Time and timers, so that tests need not wait. */
export interface Clock {
  /** Wall clock, ms since 1970. */
  nowMs(): number;
  /** @returns Cancels; harmless afterwards. */
  after(delayMs: number, callback: () => void): () => void;
}

/** Everything that differs between the places where a host can run. */
export interface HostPlatform {
  kind: HostInfo['kind'];
  /** Names the build, so that tabs and hosts of different ones know it of each other. */
  build: string;
  /** `globalThis.origin`; "" in Node. */
  origin: string;
  openSocket(address: string, protocols: string[]): Socket;
  /**
   * Watches over a tab by the Web Lock that it holds.
   *
   * @param gone Called once, when the lock is free.
   * @returns Stops watching.
   */
  watchLock(lock: string, gone: () => void): () => void;
  /**
   * Settles when this host knows whether it has lost the storage to another one, and `Hub.standDown` was called if so.
   *
   * @returns Whether no other host of this storage lives, which may be one that does not yet know that it has lost it.
   * Default: there never is another one.
   */
  isAlone?(): Promise<boolean>;
  clock: Clock;
  /** In [0, 1). */
  random(): number;
  crypto: Crypto;
  keys: KeyMaker;
  keyStore: KeyStore;
  /** Runs a callback when what has already arrived is handled; envelopes up to then share a frame. */
  schedule: (flush: () => void) => void;
  /** How payloads are encoded, best first. Default: JSON, which is the smallest to carry along. */
  codecs?: readonly PayloadCodec[];
  /** How much it keeps. Default: 5,000 messages and 5 MiB at an address. */
  queueLimits?: QueueLimits;
  /** Default: those of the protocol. */
  limits?: Partial<Limits>;
}

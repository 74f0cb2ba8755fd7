import { Hub } from '../../../worker/host/hub.ts';
import type { KeyStore } from '../../../worker/host/key-store.ts';
import type { Socket } from '../../../worker/host/platform.ts';
import type { Actor, Step } from './actor.ts';
import type { FakeTime } from './fake-time.ts';
import type { Locks } from './locks.ts';
import { toyCrypto, toyKeys } from './toy-crypto.ts';

export interface HostOptions {
  time: FakeTime;
  /** In [0, 1). */
  random: () => number;
  /** Envelopes of a host leave in the step that made them, or in one of their own. */
  flushesAtOnce: boolean;
  /** Where frames of several envelopes are cut, in bytes. */
  frameBytes: number;
  openSocket: (host: Host) => Socket;
}

/** What the hosts of a browser share. */
export interface HostStorage {
  readonly locks: Locks;
  readonly keyStore: KeyStore;
  /** The host that has started last of those that live: it has the storage. */
  readonly host: Host | undefined;
  readonly hosts: readonly Host[];
  /** That host sends its tabs to another one. */
  lost: (host: Host) => void;
}

/** A host: the real `Hub`, on what its browser gives it. */
export class Host implements Actor {
  readonly name: string;
  isAlive = true;
  isFrozen = false;
  randoms = 0;
  readonly hub: Hub;
  /** Another host has the storage. */
  hasLost = false;
  readonly #browser: HostStorage;
  #flushes: (() => void)[] = [];

  /** To be made in a step of its own. */
  constructor(name: string, browser: HostStorage, options: HostOptions) {
    this.name = name;
    this.#browser = browser;
    const { time, random, flushesAtOnce, frameBytes, openSocket } = options;
    this.hub = new Hub({
      kind: 'shared-worker',
      build: name,
      origin: 'https://page.example',
      openSocket: () => openSocket(this),
      watchLock: (lock, gone) => browser.locks.watch(lock, this, gone),
      clock: {
        nowMs: () => time.nowMs,
        after: (delayMs, callback) => {
          const timer = time.set(callback, delayMs);
          return () => {
            time.clear(timer);
          };
        },
      },
      random,
      limits: { tickFrameBytes: frameBytes },
      crypto: toyCrypto(this),
      keys: toyKeys(this),
      keyStore: browser.keyStore,
      isAlone: async () => {
        this.#look();
        return this.#browser.hosts.every((host) => host === this || !host.isAlive);
      },
      schedule: (flush) => {
        if (flushesAtOnce) queueMicrotask(flush);
        else this.#flushes.push(flush);
      },
    });
    browser.locks.hold(this.hub.incarnation, this);
  }

  addSteps(steps: Step[]): void {
    if (!this.isAlive || this.isFrozen) return;
    const [flush] = this.#flushes;
    if (flush !== undefined) {
      const run = (): void => {
        this.#flushes.shift();
        flush();
      };
      steps.push({ actor: this, what: 'sends what it has', run });
    }
    if (this.#isOld) {
      const run = (): void => {
        this.#look();
      };
      steps.push({ actor: this, what: 'loses the storage', run });
    }
  }

  get #isOld(): boolean {
    return !this.hasLost && this.#browser.host !== this;
  }

  #look(): void {
    const { host } = this.#browser;
    if (!this.#isOld || host === undefined) return;
    this.hasLost = true;
    this.#browser.lost(this);
    this.hub.standDown({ script: host.name, build: host.name, why: 'it started last' }, () => undefined);
  }
}

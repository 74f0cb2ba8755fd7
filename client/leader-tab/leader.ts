import type { TabUp } from 'webgram';
import { EndableHub } from '../../worker/host/endable-hub.ts';
import { IdbKeyStore } from '../../worker/host/idb-key-store.ts';
import * as later from '../../worker/host/later.ts';
import type { TabToHost } from '../../worker/host/port-protocol.ts';
import { StorageLock } from '../../worker/host/storage-lock.ts';
import type { NumberedUp } from '../../worker/host/stream-copy.ts';
import type { Unfinished } from '../../worker/host/unfinished.ts';
import { hold, watchLock } from '../../worker/host/web-locks.ts';
import { webPlatform } from '../../worker/host/web-platform.ts';
import type { HostPort } from '../environment.ts';
import type { Word } from './assembly.ts';
import { Legacy } from './legacy.ts';
import { localPorts } from './local-port.ts';
import { openSocket } from './open-socket.ts';

/** Messages after which other tabs are told anew what is unfinished, so that they need not keep what is not. */
const RETELL = 200;

/** A client of the leader's own page. */
interface OwnClient {
  /** The host's end of its port. */
  readonly host: HostPort;
  lock: string;
  tabID: string;
  /** What it has sent, and other tabs were not told of. */
  untold: NumberedUp[];
}

export interface LeaderOptions {
  /** Names the build. */
  build: string;
  /** Another tab says that this one is dead, or another host serves the storage. */
  over: () => void;
  /** Tells all other tabs. */
  say: (word: Word) => void;
}

/**
 * The host in this tab, for itself and for all others. Not before its lock is held.
 *
 * It tells the other tabs at once what its own clients send: a page that crashes has no last words, and a Firefox that
 * closes a tab may let them get lost.
 */
export class Leader {
  readonly #hub: EndableHub;
  readonly #legacy: Legacy;
  readonly #options: LeaderOptions;
  readonly #resign: () => void;
  readonly #channels = new Set<BroadcastChannel>();
  readonly #own = new Set<OwnClient>();
  /** Another tab listens. */
  #isHeard = false;
  /** Told since everything was told. */
  #told = 0;
  #isTelling = false;

  private constructor(hub: EndableHub, legacy: Legacy, options: LeaderOptions, resign: () => void) {
    this.#hub = hub;
    this.#legacy = legacy;
    this.#options = options;
    this.#resign = resign;
  }

  static async start(options: LeaderOptions): Promise<Leader> {
    const { build, over } = options;
    const isAlone = (): Promise<boolean> => storage.isAlone();
    const legacy: Legacy = new Legacy((unfinished) => {
      hub.adopt(unfinished);
    });
    const hub: EndableHub = new EndableHub({
      ...webPlatform('leader-tab', build),
      openSocket,
      keyStore: new IdbKeyStore(),
      isAlone,
      loadLater: () => Promise.resolve(later),
      watchLock: (lock, gone) => {
        legacy.cameHere(lock);
        return watchLock(lock, gone);
      },
    });
    const own = { script: '', build, why: 'a tab of this browser is the host' };
    const storage = new StorageLock(hub.incarnation, own, (to) => {
      // Tabs that another leader has sent here would be sent back.
      if (to.script === '') over();
      else hub.standDown(to, over);
    });
    const release = await hold(hub.incarnation, {}, over);
    const resign = (): void => {
      storage.release();
      release();
    };
    try {
      await storage.take();
    } catch (error) {
      resign();
      throw error;
    }
    return new Leader(hub, legacy, options, resign);
  }

  get incarnation(): string {
    return this.#hub.incarnation;
  }

  /** Returns a port for a client of this page. Its `welcome` is on its way. */
  connect(): HostPort {
    const { tab, host } = localPorts((message) => {
      this.#arrived(client, message);
    });
    const client: OwnClient = { host, lock: '', tabID: '', untold: [] };
    this.#own.add(client);
    this.#hub.connect(host);
    return tab;
  }

  /** Serves another tab over the channel of that name. */
  serve(name: string): void {
    const channel = new BroadcastChannel(name);
    this.#channels.add(channel);
    this.#hub.connect(channel);
  }

  /** Tells that this tab leads, and what is left of its own clients should it die. */
  tell(): void {
    this.#isHeard = true;
    this.#told = 0;
    for (const client of this.#own) client.untold = [];
    const locks = new Set([...this.#own].map(({ lock }) => lock));
    const unfinished = this.#hub.unfinished(this.#ownPorts).filter(({ lock }) => locks.has(lock));
    this.#options.say({ kind: 'lead', incarnation: this.incarnation, unfinished });
  }

  /** Takes what leaders before this one have left. @param data Anything at all. */
  adopt(data: unknown): void {
    this.#legacy.add(data);
  }

  /**
   * Returns what is still to be finished for tabs that have gone.
   *
   * @param isGone The page goes away, and with it its own clients.
   */
  unfinished(isGone: boolean): Unfinished[] {
    return [...this.#legacy.waiting, ...this.#hub.unfinished(isGone ? this.#ownPorts : new Set())];
  }

  /** Ends it: every tab has to look for another leader. */
  end(): void {
    this.#legacy.end();
    this.#hub.close();
    for (const channel of this.#channels) channel.close();
    this.#resign();
  }

  get #ownPorts(): Set<HostPort> {
    return new Set([...this.#own].map(({ host }) => host));
  }

  #arrived(client: OwnClient, message: TabToHost): void {
    switch (message.kind) {
      case 'hello':
        client.lock = message.lock;
        return;
      case 'close':
        this.#own.delete(client);
        this.#told = RETELL;
        break;
      case 'up':
        this.#sent(client, message.envelope);
        break;
      default:
        return;
    }
    if (!this.#isHeard || this.#isTelling) return;
    // With the others of this task.
    this.#isTelling = true;
    queueMicrotask(() => {
      this.#isTelling = false;
      this.#tellMore();
    });
  }

  #sent(client: OwnClient, envelope: TabUp): void {
    if (envelope.kind === 'attach') {
      client.tabID = envelope.tabID;
      this.#told = RETELL;
    } else if ('seq' in envelope && this.#isHeard) client.untold.push(envelope);
  }

  #tellMore(): void {
    if (this.#told >= RETELL) {
      this.tell();
      return;
    }
    const { incarnation } = this;
    for (const client of this.#own) {
      const { tabID, untold: ups } = client;
      if (ups.length === 0) continue;
      client.untold = [];
      this.#told += ups.length;
      this.#options.say({ kind: 'more', incarnation, tabID, ups });
    }
  }
}

import { Hub } from '../../worker/host/hub.ts';
import { IdbKeyStore } from '../../worker/host/idb-key-store.ts';
import { parseUnfinished, type Unfinished } from '../../worker/host/unfinished.ts';
import { Queue } from '../../worker/host/queue/queue.ts';
import { hold, StorageLock } from '../../worker/host/storage-lock.ts';
import { webPlatform } from '../../worker/host/web-platform.ts';
import type { HostPort } from '../environment.ts';
import { localPorts } from './local-port.ts';

/** How long the name of a port is remembered, in ms: a tab may ask twice for the same one. */
const NAMES_MS = 60_000;

/** The host in this tab, for itself and for all others. Not before its lock is held. */
export class Leader {
  readonly #hub: Hub;
  readonly #resign: () => void;
  readonly #ports = new Map<string, BroadcastChannel>();
  /** Hosts' ends of the ports of this page's own clients. */
  readonly #own = new Set<HostPort>();

  private constructor(hub: Hub, resign: () => void) {
    this.#hub = hub;
    this.#resign = resign;
  }

  /**
   * @param build Names the build.
   * @param over Another tab says that this one is dead, or another host serves the storage.
   */
  static async start(build: string, over: () => void): Promise<Leader> {
    const isAlone = (): Promise<boolean> => storage.isAlone();
    const hub = new Hub({
      ...webPlatform('leader-tab', build),
      keyStore: new IdbKeyStore(),
      isAlone,
      loadQueue: () => Promise.resolve({ Queue }),
    });
    const own = { script: '', build, why: 'a tab of this browser is the host' };
    const storage = new StorageLock(hub.incarnation, own, (to) => {
      hub.standDown(to, over);
    });
    const resign = await hold(hub.incarnation, {}, over);
    await storage.take();
    return new Leader(hub, () => {
      storage.release();
      resign();
    });
  }

  /** Returns a port for a client of this page. Its `welcome` is on its way. */
  connect(): HostPort {
    const { tab, host } = localPorts();
    this.#own.add(host);
    this.#hub.connect(host);
    return tab;
  }

  /** Serves another tab over the channel of that name. */
  serve(name: string): void {
    if (this.#ports.has(name)) return;
    const channel = new BroadcastChannel(name);
    this.#ports.set(name, channel);
    setTimeout(() => this.#ports.delete(name), NAMES_MS);
    this.#hub.connect(channel);
  }

  /** Takes what a leader before this one has left. @param data Anything at all. */
  adopt(data: unknown): void {
    for (const unfinished of parseUnfinished(data)) this.#hub.adopt(unfinished);
  }

  /**
   * Returns what is still to be finished for tabs that have gone.
   *
   * @param isGone The page goes away, and with it its own clients.
   */
  unfinished(isGone: boolean): Unfinished[] {
    return this.#hub.unfinished(isGone ? this.#own : new Set());
  }

  /** Ends it: every tab has to look for another leader. */
  end(): void {
    this.#hub.close();
    for (const channel of this.#ports.values()) channel.close();
    this.#resign();
  }
}

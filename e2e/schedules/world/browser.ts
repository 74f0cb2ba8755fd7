import { MemoryKeyStore } from '../../../worker/host/key-store.ts';
import type { Actor, Step } from './actor.ts';
import { Host } from './host.ts';
import type { HostOptions, HostStorage } from './host.ts';
import { Locks } from './locks.ts';
import { Port } from './port.ts';
import type { Tab } from './tab.ts';

/** A search of a tab for its host, which the browser answers. */
interface Search {
  tab: Tab;
  found: (port: Port) => void;
}

/** One browser profile: its tabs, its hosts (more than one while an old build serves on), locks and stored keys. */
export class Browser implements HostStorage {
  readonly locks = new Locks();
  readonly keyStore = new MemoryKeyStore('persistent');
  readonly hosts: Host[] = [];
  readonly tabs: Tab[] = [];
  readonly #options: HostOptions;
  /** Ends at the hosts. */
  #ports: Port[] = [];
  #searches: Search[] = [];

  constructor(options: HostOptions) {
    this.#options = options;
  }

  get host(): Host | undefined {
    return this.hosts.findLast(({ isAlive, hasLost }) => isAlive && !hasLost);
  }

  lost(host: Host): void {
    for (const tab of this.tabs) tab.hostLost(host);
  }

  search(search: Search): void {
    this.#searches.push(search);
  }

  /** A page of another build has brought its own worker. */
  addHost(): Host {
    const host = new Host(`host${this.hosts.length + 1}`, this, this.#options);
    this.hosts.push(host);
    return host;
  }

  /** Its memory is gone: also what tabs that have died before had handed to it. */
  killHost(host: Host): void {
    host.isAlive = false;
    for (const tab of this.tabs) tab.hostDied(host);
  }

  /** Messages of tabs that have died, or are in the back-forward cache, are still on their way. */
  get hasLastMessages(): boolean {
    return this.#ports.some(
      ({ owner, queue, other }) =>
        queue.length > 0 &&
        owner.isAlive &&
        !owner.isFrozen &&
        (!other.owner.isAlive || other.owner.isFrozen),
    );
  }

  addSteps(steps: Step[]): void {
    this.locks.addSteps(steps);
    for (const search of this.#searches) {
      if (!search.tab.isAlive) continue;
      const { host } = this;
      if (host === undefined) {
        const actor = NEW_HOST;
        steps.push({ actor, what: 'starts', run: () => void this.addHost() });
        break;
      }
      if (host.isFrozen) continue;
      steps.push({
        actor: host,
        what: `is found by ${search.tab.name}`,
        run: () => {
          this.#found(host, search);
        },
      });
    }
    const isUsed = ({ owner, isOpen }: Port): boolean => owner.isAlive && isOpen;
    if (!this.#ports.every(isUsed)) this.#ports = this.#ports.filter(isUsed);
    const before: Actor[] = [];
    for (const port of this.#ports) {
      // What a tab has posted over an older port arrives first.
      if (port.queue.length === 0 || before.includes(port.other.owner)) continue;
      before.push(port.other.owner);
      const step = port.step();
      if (step !== undefined) steps.push(step);
    }
    for (const host of this.hosts) host.addSteps(steps);
    for (const tab of this.tabs) tab.addSteps(steps);
  }

  #found(host: Host, search: Search): void {
    this.#searches = this.#searches.filter((one) => one !== search);
    const [its, mine] = Port.pair(search.tab, host);
    this.#ports.push(mine);
    search.found(its);
    host.hub.connect(mine);
  }
}

/** Whose step it is when a host is made: it has no name before. */
const NEW_HOST: Actor = { name: 'browser', isAlive: true, isFrozen: false, randoms: 0 };

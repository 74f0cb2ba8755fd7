import type { HostToTab } from '../../worker/host/port-protocol.ts';
import type { Unfinished } from '../../worker/host/unfinished.ts';
import type { FoundHost, HostPort } from '../environment.ts';
import { Assembly, type Word } from './assembly.ts';
import { maySeize, seize, stand, type Candidate } from './election.ts';
import { FollowerPort } from './follower-port.ts';
import { Leader } from './leader.ts';
import { report } from '../report.ts';

/** How long a leader may take to answer a tab that looks for it, in ms. */
const SEEK_LIMIT_MS = 3_000;
/** How long what a leader has left waits for the next one, in ms. */
const LEGACY_MS = 60_000;

/** A tab that looks for its leader. */
interface Seeker {
  /** Another tab has just begun to lead. */
  again: () => void;
  /** This one has. */
  elected: () => void;
}

/** Of this page, whatever number of clients it has. */
let place: Place | undefined;

/**
 * Finds the tab that is the host of this browser, where no SharedWorker can be; it may become this one.
 *
 * @param why Why there is no SharedWorker.
 * @param build Names the build.
 */
export function findLeader(why: string, build: string): Promise<FoundHost> {
  place ??= new Place(build);
  return place.find(why);
}

/** What this page is among the tabs of the browser: the leader, one that follows, or one that looks for the leader. */
class Place {
  readonly #build: string;
  #assembly: Assembly | undefined;
  #leader: Leader | undefined;
  /** Gives the lead up, or no longer waits for it. */
  #resign: (() => void) | undefined;
  readonly #seekers = new Set<Seeker>();
  /** What leaders that have gone left behind. */
  #legacy: Unfinished[] = [];

  constructor(build: string) {
    this.#build = build;
    addEventListener('pagehide', () => {
      this.#leave(true);
      this.#assembly?.close();
      this.#assembly = undefined;
    });
    // A frozen tab would keep its locks, and the others would wait for it.
    document.addEventListener('freeze', () => {
      this.#leave(false);
    });
  }

  async find(why: string): Promise<FoundHost> {
    for (;;) {
      if (this.#leader !== undefined) {
        const port = this.#leader.connect();
        return { port, welcome: await welcomeOver(port), role: 'leader', why };
      }
      this.#resign ??= stand(this.#candidate);
      const found = await this.#seek();
      if (this.#leader !== undefined) found?.port.close();
      else if (found === undefined) await this.#seize(undefined);
      else {
        // Who waits for the lead might get it while it is frozen.
        if (this.#seekers.size === 0) this.#leave(false);
        return { ...found, role: 'follower', why };
      }
    }
  }

  /** @returns `undefined` when this tab leads, or no leader has answered. */
  #seek(): Promise<Pick<FoundHost, 'port' | 'welcome'> | undefined> {
    this.#assembly ??= new Assembly((word) => {
      this.#hear(word);
    });
    const assembly = this.#assembly;
    const name = `webgram-port-${crypto.randomUUID()}`;
    const port = new FollowerPort(name, (incarnation) => void this.#seize(incarnation));
    return new Promise((resolve) => {
      const settle = (welcome?: Welcome): void => {
        clearTimeout(timer);
        this.#seekers.delete(seeker);
        if (welcome === undefined) port.close();
        resolve(welcome && { port, welcome });
      };
      const seeker: Seeker = {
        again: () => {
          assembly.say({ kind: 'seek', port: name });
        },
        elected: settle,
      };
      const timer = setTimeout(settle, SEEK_LIMIT_MS);
      this.#seekers.add(seeker);
      void welcomeOver(port).then(settle);
      seeker.again();
    });
  }

  #hear(word: Word): void {
    switch (word.kind) {
      case 'seek':
        this.#leader?.serve(word.port);
        break;
      case 'lead':
        for (const seeker of this.#seekers) seeker.again();
        break;
      case 'unfinished':
        if (this.#leader !== undefined) this.#leader.adopt(word.unfinished);
        else this.#inherit(word.unfinished);
    }
  }

  /** Whoever leads next has it. */
  #inherit(unfinished: readonly Unfinished[]): void {
    this.#legacy.push(...unfinished);
    setTimeout(() => {
      this.#legacy.splice(0, unfinished.length);
    }, LEGACY_MS);
  }

  readonly #candidate: Candidate = {
    elected: () => {
      this.#lead().catch(report);
    },
    deposed: () => {
      this.#leave(false);
    },
  };

  async #lead(): Promise<void> {
    const resign = this.#resign;
    const leader = await Leader.start(this.#build, this.#candidate.deposed);
    if (resign !== this.#resign) {
      // Frozen or deposed meanwhile.
      leader.end();
      return;
    }
    this.#leader = leader;
    leader.adopt(this.#legacy);
    for (const seeker of [...this.#seekers]) seeker.elected();
    this.#assembly?.say({ kind: 'lead' });
  }

  /** @param incarnation Of the leader that does not answer, if it ever has. */
  async #seize(incarnation: string | undefined): Promise<void> {
    if (!(await maySeize())) return;
    this.#resign?.();
    this.#resign = seize(this.#candidate, incarnation);
  }

  /** No longer leads, nor waits for the lead. @param isGone The page goes away, and with it its clients. */
  #leave(isGone: boolean): void {
    const leader = this.#leader;
    this.#leader = undefined;
    if (leader !== undefined) {
      const unfinished = leader.unfinished(isGone);
      // Before the locks are free, so that the next one has it when it begins.
      if (unfinished.length > 0) this.#assembly?.say({ kind: 'unfinished', unfinished });
      leader.end();
    }
    this.#resign?.();
    this.#resign = undefined;
  }
}

type Welcome = FoundHost['welcome'];

function welcomeOver(port: HostPort): Promise<Welcome> {
  return new Promise((resolve) => {
    port.onmessage = ({ data }: { data: HostToTab }) => {
      if (data.kind === 'welcome') resolve(data);
    };
  });
}

import { PORT_PROTOCOL } from '../../worker/host/port-protocol.ts';
import type { HostToTab } from '../../worker/host/port-protocol.ts';
import type { FoundHost, HostPort } from '../environment.ts';
import { Assembly, type Word } from './assembly.ts';
import { maySeize, seize, stand, type Candidate } from './election.ts';
import { FollowerPort } from './follower-port.ts';
import { Leader } from './leader.ts';
import { LeftBehind } from './left-behind.ts';

/** How long a leader may take to answer a tab that looks for it, in ms. */
const SEEK_LIMIT_MS = 3_000;

type Found = Pick<FoundHost, 'port' | 'welcome'>;

/** A tab that looks for its leader. */
interface Seeker {
  /** Another tab leads. */
  heard: (incarnation: string) => void;
  /** This one does. */
  elected: () => void;
  /** This one was to lead, and cannot. */
  failed: (error: Error) => void;
}

/** A time in which this page stands for the lead or has it. What comes of one that is over changes nothing. */
interface Term {
  /** Once it leads. */
  leader?: Leader;
  /** Gives the lead up, or no longer waits for it. */
  resign: () => void;
}

/** What a page is among the tabs of the browser: the leader, one that follows, or one that looks for the leader. */
export class Place {
  readonly #build: string;
  #assembly: Assembly | undefined;
  #term: Term | undefined;
  readonly #seekers = new Set<Seeker>();
  readonly #leftBehind = new LeftBehind();

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

  /** @throws when this tab was to be the host and cannot. */
  async find(why: string): Promise<FoundHost> {
    for (;;) {
      const leader = this.#term?.leader;
      if (leader !== undefined) {
        const port = leader.connect();
        return { port, welcome: await welcomeOver(port), role: 'leader', why };
      }
      if (this.#term === undefined) this.#begin(stand);
      const found = await this.#seek();
      if (this.#term?.leader !== undefined) found?.port.close();
      else if (found === undefined) await this.#seize(undefined);
      else {
        // Who waits for the lead might get it while it is frozen.
        if (this.#seekers.size === 0) this.#leave(false);
        return { ...found, role: 'follower', why };
      }
    }
  }

  /** @returns `undefined` when this tab leads, or no leader has answered. */
  #seek(): Promise<Found | undefined> {
    this.#assembly ??= new Assembly((word) => {
      this.#hear(word);
    });
    const assembly = this.#assembly;
    const ports = new Map<string, FollowerPort>();
    return new Promise((resolve, reject) => {
      const end = (found?: FollowerPort): void => {
        clearTimeout(timer);
        this.#seekers.delete(seeker);
        for (const port of ports.values()) if (port !== found) port.close();
      };
      const seeker: Seeker = {
        heard: (incarnation) => {
          if (ports.has(incarnation)) return;
          // Of this leader alone: one that wakes up late must not speak there.
          const name = `webgram-port-${crypto.randomUUID()}`;
          const port = new FollowerPort(name, () => void this.#seize(incarnation));
          ports.set(incarnation, port);
          void welcomeOver(port).then((welcome) => {
            if (!this.#seekers.has(seeker)) return;
            if (welcome.protocol < PORT_PROTOCOL) {
              // A tab of an older build, which would not understand this one. It is asked again after the time limit.
              void this.#seize(undefined);
              return;
            }
            end(port);
            resolve({ port, welcome });
          });
          assembly.say({ kind: 'call', incarnation, port: name });
        },
        elected: () => {
          end();
          resolve(undefined);
        },
        failed: (error) => {
          end();
          reject(error);
        },
      };
      const timer = setTimeout(seeker.elected, SEEK_LIMIT_MS);
      this.#seekers.add(seeker);
      assembly.say({ kind: 'seek' });
    });
  }

  #hear(word: Word): void {
    const leader = this.#term?.leader;
    switch (word.kind) {
      case 'seek':
        leader?.tell();
        break;
      case 'lead':
        if (leader === undefined) {
          const left = this.#leftBehind.leads(word.incarnation, word.unfinished);
          if (left.length > 0) this.#assembly?.say({ kind: 'legacy', unfinished: left });
        } else leader.adopt(word.unfinished);
        for (const seeker of this.#seekers) seeker.heard(word.incarnation);
        break;
      case 'more':
        this.#leftBehind.more(word.incarnation, word.tabID, word.ups);
        break;
      case 'call':
        if (leader?.incarnation === word.incarnation) leader.serve(word.port);
        break;
      case 'unfinished':
        if (leader === undefined) this.#leftBehind.gone(word.incarnation, word.unfinished);
        else {
          leader.adopt(word.unfinished);
          // Others may have taken the one that has gone for their leader.
          leader.tell();
        }
        break;
      case 'legacy':
        leader?.adopt(word.unfinished);
    }
  }

  #begin(how: (candidate: Candidate) => () => void): void {
    const term: Term = { resign: () => undefined };
    this.#term = term;
    const over = (): void => {
      if (term === this.#term) this.#leave(false);
    };
    term.resign = how({
      elected: () => void this.#lead(term, over),
      deposed: over,
    });
  }

  /** @param over The term is. */
  async #lead(term: Term, over: () => void): Promise<void> {
    let leader: Leader;
    try {
      const say = (word: Word): void => this.#assembly?.say(word);
      leader = await Leader.start({ build: this.#build, over, say });
    } catch (error) {
      // Nobody could lead as long as this tab has the lock.
      over();
      for (const seeker of [...this.#seekers]) seeker.failed(error as Error);
      return;
    }
    if (term !== this.#term) {
      // Frozen or deposed meanwhile.
      leader.end();
      return;
    }
    term.leader = leader;
    leader.adopt(this.#leftBehind.takeAll());
    for (const seeker of [...this.#seekers]) seeker.elected();
    leader.tell();
  }

  /** @param incarnation Of the leader that does not answer, if it ever has. */
  async #seize(incarnation: string | undefined): Promise<void> {
    if (!(await maySeize()) || this.#term?.leader !== undefined) return;
    this.#term?.resign();
    this.#begin((candidate) => seize(candidate, incarnation));
  }

  /** No longer leads, nor waits for the lead. @param isGone The page goes away, and with it its clients. */
  #leave(isGone: boolean): void {
    const term = this.#term;
    this.#term = undefined;
    const leader = term?.leader;
    if (leader !== undefined) {
      const { incarnation } = leader;
      const unfinished = leader.unfinished(isGone);
      // Before the locks are free, so that the next one has it when it begins.
      this.#assembly?.say({ kind: 'unfinished', incarnation, unfinished });
      this.#leftBehind.add(unfinished);
      leader.end();
    }
    term?.resign();
  }
}

function welcomeOver(port: HostPort): Promise<FoundHost['welcome']> {
  return new Promise((resolve) => {
    port.onmessage = ({ data }: { data: HostToTab }) => {
      if (data.kind === 'welcome') resolve(data);
    };
  });
}

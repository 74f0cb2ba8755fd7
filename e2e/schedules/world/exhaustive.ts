import type { Step } from './actor.ts';
import type { Kind } from './messages.ts';
import type { Random } from './random.ts';
import { World } from './world.ts';

/** What every schedule of a search has in common. */
export interface Search {
  /** Messages that tabs send, in this order within a tab: `a save`. */
  sends: readonly (readonly [tab: 'a' | 'b', kind: Kind])[];
  /** What dies, in any order and at any moment; a node is started again at once. */
  deaths: readonly ('node' | 'host')[];
  /** The messages are sent before anything else happens; otherwise each at any moment. */
  isTogether: boolean;
}

export interface Found {
  /** Schedules that were run to their end. */
  schedules: number;
  /** States that were told apart. */
  states: number;
  /** Rules that were broken, with the steps that led there. */
  failures: { why: string; steps: readonly string[] }[];
}

/** Steps in which everything must come to its end. */
const MAX_HEALING_STEPS = 3_000;
const MAX_FAILURES = 3;

/** Where nothing is left to chance: no wait before a new try, and so no time that passes. */
const NO_CHANCE: Pick<Random, 'next'> = { next: () => 0 };

/**
 * Runs every schedule of two tabs that differ in what matters, by depth-first search.
 *
 * Each step belongs to one actor and takes one thing from a queue that only this actor takes from, so steps of different
 * actors can change places without anybody noticing. Two schedules in which every actor has done and learned the same
 * lead to the same state, and are followed once. What a tab and its host say to each other arrives at once; README.md
 * says what else is not told apart.
 */
export class ExhaustiveSearch {
  readonly #search: Search;
  readonly #seen = new Set<string>();
  readonly #found: Found = { schedules: 0, states: 0, failures: [] };
  /** Prefixes that are still to be followed. */
  readonly #open: (readonly string[])[] = [[]];
  #histories = new Map<string, number>();
  #world: World | undefined;
  /** Of the schedule under way. */
  #sent = 0;
  #dead = 0;

  constructor(search: Search) {
    this.#search = search;
  }

  async run(): Promise<Found> {
    for (let prefix = this.#open.pop(); prefix !== undefined; prefix = this.#open.pop()) {
      await this.#follow(prefix);
      if (this.#found.failures.length >= MAX_FAILURES) break;
    }
    this.#found.states = this.#seen.size;
    return this.#found;
  }

  /** Runs one schedule to its end, and notes where others leave it. */
  async #follow(prefix: readonly string[]): Promise<void> {
    const world = (this.#world = new World(
      NO_CHANCE as Random,
      { flushesAtOnce: false, frameBytes: 32_768 },
      false,
    ));
    const taken: string[] = [];
    this.#histories = new Map();
    this.#sent = this.#dead = 0;
    try {
      await this.#begin(world);
      for (const name of prefix) {
        const step = this.#choices(world).find((one) => nameOf(one) === name);
        if (step === undefined) throw new Error(`'${name}' cannot be repeated after ${taken.join('; ')}`);
        await this.#take(step, taken);
      }
      while (world.ledger.failure === undefined) {
        const fresh = this.#choices(world).filter((step) => this.#isFresh(step));
        const first = fresh.shift();
        if (first === undefined) break;
        for (const step of fresh) this.#open.push([...taken, nameOf(step)]);
        await this.#take(first, taken);
      }
      // Where nothing is new, another schedule has come to the end from here.
      if (this.#choices(world).length === 0) await this.#end(world);
      else if (world.ledger.failure === undefined) return;
      this.#found.schedules += 1;
      const { failure } = world.ledger;
      if (failure !== undefined) this.#found.failures.push({ why: failure, steps: taken });
    } finally {
      world.end();
    }
  }

  /** Two tabs in session, and nothing under way. */
  async #begin(world: World): Promise<void> {
    await world.start(1, 2);
    for (let steps = world.steps(); steps.length > 0; steps = world.steps()) await world.take(steps[0]!);
    if (!world.browser.tabs.every(({ isActive }) => isActive)) throw new Error('the tabs are not in session');
  }

  async #end(world: World): Promise<void> {
    for (let i = 0; world.ledger.failure === undefined; i++) {
      const step = world.steps()[0];
      if (step === undefined && world.unsettled() === undefined) break;
      const next = step ?? world.timeStep();
      if (i >= MAX_HEALING_STEPS || next === undefined) {
        world.ledger.failed(world.unsettled() ?? 'it does not come to rest');
        break;
      }
      await world.take(next);
    }
    world.check();
  }

  /** What can happen next; one alone when it need not be told apart from others. */
  #choices(world: World): Step[] {
    const steps = world.steps();
    const sends = this.#sends(world);
    if (this.#search.isTogether && sends.length > 0) return sends.slice(0, 1);
    const atOnce = steps.find(isAtOnce) ?? steps.find(({ what }) => what === 'sends what it has');
    if (atOnce !== undefined) return [atOnce];
    return [...steps, ...sends, ...this.#deaths(world)];
  }

  #sends(world: World): Step[] {
    const { sends } = this.#search;
    return ['a', 'b'].flatMap((name) => {
      const at = sends.findIndex(([tab], n) => tab === name && (this.#sent & (1 << n)) === 0);
      const tab = world.browser.tabs.find((one) => one.name === name);
      if (at < 0 || tab === undefined) return [];
      const run = (): void => {
        this.#sent |= 1 << at;
        tab.send(sends[at]![1], 0);
      };
      return [{ actor: tab, what: `sends number ${at + 1}`, run }];
    });
  }

  #deaths(world: World): Step[] {
    const { deaths } = this.#search;
    const open = deaths.map((_, n) => n).filter((n) => (this.#dead & (1 << n)) === 0);
    const firsts = open.filter((n) => open.find((other) => deaths[other] === deaths[n]) === n);
    return firsts.flatMap((n): Step[] => {
      if (deaths[n] === 'host') {
        const { host } = world.browser;
        if (host === undefined) return [];
        const run = (): void => {
          this.#dead |= 1 << n;
          world.killHost(host);
        };
        return [{ actor: host, what: 'dies', run }];
      }
      const node = world.nodes[0]!;
      const run = (): void => {
        this.#dead |= 1 << n;
        world.crash(
          node,
          () => true,
          () => true,
        );
      };
      return [{ actor: node, what: 'dies', run }];
    });
  }

  async #take(step: Step, taken: string[]): Promise<void> {
    const world = this.#world!;
    taken.push(nameOf(step));
    this.#histories.set(step.actor.name, this.#after(step));
    await world.take(step);
    if (world.nodes.every(({ isAlive }) => !isAlive)) await world.take(world.nodeStart(0));
  }

  /** What its actor has done and learned, with this step. */
  #after(step: Step): number {
    const before = this.#histories.get(step.actor.name) ?? 0;
    return hashOf(`${before} ${step.what} ${step.content?.() ?? ''}`);
  }

  #isFresh(step: Step): boolean {
    const after = new Map(this.#histories).set(step.actor.name, this.#after(step));
    const key = [...after]
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([name, history]) => `${name} ${history}`)
      .join();
    if (this.#seen.has(key)) return false;
    this.#seen.add(key);
    return true;
  }
}

/** What is not told apart: it happens as soon as it can, before anything else. */
function isAtOnce({ what, content }: Step): boolean {
  if (
    /^(hears of|is told|gets the lock|starts|is found|accepts|(does a|learns of its) (create|claim|load))/.test(
      what,
    )
  ) {
    return true;
  }
  if (!what.startsWith('gets a frame')) return false;
  // A socket that opens or closes, and the handshake.
  return !/^\{"data":"[^[]/.test(content?.() ?? '');
}

function nameOf({ actor, what }: Step): string {
  return `${actor.name} ${what}`;
}

/** 53 bits of a text (cyrb53). */
function hashOf(text: string): number {
  let [a, b] = [0xdeadbeef, 0x41c6ce57];
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    a = Math.imul(a ^ code, 2_654_435_761);
    b = Math.imul(b ^ code, 1_597_334_677);
  }
  a = Math.imul(a ^ (a >>> 16), 2_246_822_507) ^ Math.imul(b ^ (b >>> 13), 3_266_489_909);
  b = Math.imul(b ^ (b >>> 16), 2_246_822_507) ^ Math.imul(a ^ (a >>> 13), 3_266_489_909);
  return 4_294_967_296 * (2_097_151 & b) + (a >>> 0);
}

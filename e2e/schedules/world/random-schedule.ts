import type { Step } from './actor.ts';
import type { Host } from './host.ts';
import { drawProfile } from './profile.ts';
import type { Fault, Profile } from './profile.ts';
import { Random } from './random.ts';
import type { ServerNode } from './server-node.ts';
import { World } from './world.ts';

/** What came of a schedule. */
export interface Outcome {
  seed: number;
  /** The rule that was broken; `undefined` when all held. */
  failure: string | undefined;
  steps: number;
  /** How often what has happened. */
  counts: Record<string, number>;
  trace: readonly string[] | undefined;
}

/** After everything is healed, all must have come to its end within so many steps. */
const MAX_HEALING_STEPS = 6_000;
/** After that, within so many steps there must be nothing left to do until time passes. */
const MAX_LATE_STEPS = 600;

/** Runs the schedule of a seed: the same seed, profile and code give the same steps. */
export async function runRandom(seed: number, fixed: Partial<Profile>, traced: boolean): Promise<Outcome> {
  return new RandomSchedule(seed, fixed, traced).run();
}

/** The world whose step is being taken in this process, for errors that nobody has caught. */
let running: World | undefined;

/** An error that reached the process: no input, however late, may lead to one. */
export function uncaught(error: unknown): void {
  running?.ledger.failed(
    `uncaught: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`,
  );
}

class RandomSchedule {
  readonly #random: Random;
  readonly #profile: Profile;
  readonly #world: World;
  readonly #seed: number;
  readonly #counts: Record<string, number> = {};
  /** What is most interesting while a commit is under way. */
  readonly #writeFaults: readonly Fault[];
  #steps = 0;
  /** Nothing goes wrong any more, and for how many steps. */
  #isHealing = false;
  #healing = 0;
  /** Messages that each tab has still to send. */
  readonly #toSend: number[] = [];

  constructor(seed: number, fixed: Partial<Profile>, traced: boolean) {
    this.#seed = seed;
    this.#random = new Random(seed);
    this.#profile = drawProfile(this.#random, fixed);
    this.#world = new World(this.#random, this.#profile, traced);
    this.#world.print(JSON.stringify(this.#profile));
    this.#writeFaults = this.#profile.faults.filter((one) => one === 'crash node' || one === 'fail commit');
  }

  async run(): Promise<Outcome> {
    const world = (running = this.#world);
    const { ledger } = world;
    try {
      await world.start(this.#profile.nodes, this.#profile.tabs);
      for (let i = 0; i < this.#profile.steps && ledger.failure === undefined; i++) {
        const step = this.#disturbing();
        if (step !== undefined) await this.#take(step);
      }
      await this.#heal();
      do {
        await this.#settle();
        await this.#comeToRest();
        // Something late may have begun something new.
      } while (ledger.failure === undefined && world.unsettled() !== undefined);
      world.check();
    } finally {
      world.end();
      running = undefined;
    }
    const { failure } = ledger;
    return { seed: this.#seed, failure, steps: this.#steps, counts: this.#counts, trace: world.trace };
  }

  #take(step: Step): Promise<void> {
    this.#steps += 1;
    return this.#world.take(step);
  }

  #count(what: string): void {
    this.#counts[what] = (this.#counts[what] ?? 0) + 1;
  }

  /** A step while everything may go wrong. @returns `undefined` when nothing can happen now. */
  #disturbing(): Step | undefined {
    const { faultRate, timeRate, outsideRate } = this.#profile;
    const random = this.#random;
    const isWriting = this.#world.stores.writing.length > 0;
    return (
      (random.chance(faultRate) ? this.#fault(this.#profile.faults) : undefined) ??
      (isWriting && random.chance(faultRate) ? this.#fault(this.#writeFaults) : undefined) ??
      (random.chance(outsideRate) ? this.#outside() : undefined) ??
      (random.chance(0.15) ? this.#sending() : undefined) ??
      (random.chance(timeRate) ? this.#world.timeStep() : this.#goingOn())
    );
  }

  /** Something that waits happens; when nothing does, a tab sends, or time passes. */
  #goingOn(): Step | undefined {
    return this.#chosen(this.#world.steps()) ?? this.#sending() ?? this.#world.timeStep();
  }

  /** Store and handlers can be slower than all others, and than the clock. */
  #chosen(steps: readonly Step[]): Step | undefined {
    if (steps.length === 0) return undefined;
    const { storeDelay, handlerDelay } = this.#profile;
    const step = this.#random.pick(steps);
    const delayOf = ({ actor, what }: Step): number => {
      if (actor === this.#world.stores) return storeDelay;
      return what.startsWith('goes on') ? handlerDelay : 0;
    };
    if (this.#isHealing || !this.#random.chance(delayOf(step))) return step;
    const others = steps.filter((one) => delayOf(one) === 0);
    return others.length > 0 ? this.#random.pick(others) : (this.#world.timeStep() ?? step);
  }

  /** What is late comes too, and nothing turns round and round. */
  async #comeToRest(): Promise<void> {
    for (let i = 0; this.#world.ledger.failure === undefined; i++) {
      const steps = this.#world.steps();
      if (steps.length === 0) return;
      if (i >= MAX_LATE_STEPS) this.#world.ledger.failed('it does not come to rest');
      await this.#take(this.#random.pick(steps));
    }
  }

  #sending(): Step | undefined {
    const { kinds, waits, messages } = this.#profile;
    const { tabs } = this.#world.browser;
    const able = tabs.filter((tab, n) => tab.isAlive && !tab.isFrozen && (this.#toSend[n] ?? messages) > 0);
    if (able.length === 0) return undefined;
    const tab = this.#random.pick(able);
    const n = tabs.indexOf(tab);
    this.#toSend[n] = (this.#toSend[n] ?? messages) - 1;
    const kind = this.#random.pick(kinds);
    const times = this.#random.below(waits + 1);
    this.#count(kind);
    const run = (): void => {
      tab.send(kind, times);
    };
    return { actor: tab, what: `sends a ${kind} that waits ${times} times`, run };
  }

  /** The application does something outside of handlers. */
  #outside(): Step | undefined {
    const able = this.#world.nodes.filter(
      ({ isAlive, isFrozen, session }) => isAlive && !isFrozen && session,
    );
    if (able.length === 0) return undefined;
    const node = this.#random.pick(able);
    const session = node.session!;
    const what = this.#random.pick(['memo', 'memo', 'update', 'save'] as const);
    const conns = node.application.connsOf(session);
    if (what === 'memo' && conns.length === 0) return undefined;
    const chosen = what === 'memo' ? this.#random.pick(conns) : undefined;
    const waits = this.#random.below(this.#profile.waits + 1);
    this.#count(what);
    const run = (): void => {
      if (chosen !== undefined) node.application.memo(chosen);
      else if (what === 'update') node.application.update(session, waits);
      else node.application.save(session);
    };
    return { actor: node, what: `does a ${what} outside of handlers`, run };
  }

  /** @param among Those that may happen; the first that can does. */
  #fault(among: readonly Fault[]): Step | undefined {
    const faults = [...among];
    while (faults.length > 0) {
      const fault = faults.splice(this.#random.below(faults.length), 1)[0]!;
      const step = this.#stepOf(fault);
      if (step === undefined) continue;
      this.#count(fault);
      return step;
    }
    return undefined;
  }

  /** @returns `undefined` when it cannot happen now. */
  #stepOf(fault: Fault): Step | undefined {
    const world = this.#world;
    const random = this.#random;
    const pick = <T>(list: readonly T[]): T | undefined =>
      list.length === 0 ? undefined : random.pick(list);
    const step = <A extends Step['actor']>(
      actor: A | undefined,
      run: (actor: A) => void,
      what: string = fault,
    ): Step | undefined => (actor === undefined ? undefined : { actor, what, run: () => run(actor) });
    const tabs = world.browser.tabs.filter(({ isAlive }) => isAlive);
    const nodes = world.nodes.filter(({ isAlive }) => isAlive);
    switch (fault) {
      case 'cut':
      case 'half-open': {
        const wire = pick(world.wires.filter(({ isUp, node }) => isUp && node !== undefined));
        if (wire === undefined) return undefined;
        const [up, down] = wire.passing.map((count) => random.below(count + 1)) as [number, number];
        const run = (): void => {
          if (fault === 'cut') wire.cut(up, down);
          else wire.halfOpen();
        };
        return { actor: world.stores, what: `${fault}: link ${wire.n}`, run };
      }
      case 'kill host':
        return step(pick(world.browser.hosts.filter(({ isAlive }) => isAlive)), (host: Host) => {
          world.killHost(host);
        });
      case 'add host': {
        const alive = world.browser.hosts.filter(({ isAlive }) => isAlive);
        if (alive.length === 0 || alive.length > 1) return undefined;
        return step(world.stores, () => void world.browser.addHost());
      }
      case 'kill tab':
        return step(pick(tabs), (tab) => {
          tab.die();
        });
      case 'add tab':
        return world.browser.tabs.length < 5 ? world.tabStart() : undefined;
      case 'freeze tab':
        return step(pick(tabs.filter(({ isHidden }) => !isHidden)), (tab) => {
          tab.isFrozen = !tab.isFrozen;
        });
      case 'hide tab':
        return step(
          pick(tabs.filter(({ isHidden, isFrozen }) => isHidden || !isFrozen)),
          (tab) => {
            if (tab.isHidden) tab.show();
            else tab.hide();
          },
          'goes into the back-forward cache, or comes back',
        );
      case 'wake tab':
        return step(pick(tabs.filter(({ isFrozen }) => !isFrozen)), (tab) => {
          tab.wake();
        });
      case 'crash node': {
        const dead = world.nodes.findIndex(({ isAlive }) => !isAlive);
        if (dead >= 0 && (nodes.length === 0 || random.chance(0.5))) return world.nodeStart(dead);
        return step(pick(nodes), (node: ServerNode) => {
          if (world.stores.writing.includes(node)) this.#count('crash with a commit under way');
          world.crash(
            node,
            () => random.chance(0.6),
            () => random.chance(0.7),
          );
        });
      }
      case 'pause node':
        return step(pick(nodes), (node) => {
          node.isFrozen = !node.isFrozen;
        });
      case 'fail commit': {
        const commit = pick(world.stores.commits);
        if (commit === undefined) return undefined;
        const isMade = random.chance(0.5);
        return step(
          world.stores,
          () => void world.stores.fail(commit, isMade),
          `fails a commit of ${commit.node.name}, which was ${isMade ? '' : 'not '}made`,
        );
      }
      case 'sleep':
        if (world.browser.hasLastMessages) return undefined;
        world.ledger.sleeps(world.browser.tabs.map(({ name }) => name));
        return world.sleepStep(100_000 + random.below(1_500_000));
    }
  }

  /** Nothing goes wrong any more. */
  async #heal(): Promise<void> {
    const world = this.#world;
    this.#isHealing = true;
    world.print('--- from here on nothing goes wrong');
    for (const node of world.nodes) node.isFrozen = false;
    for (const tab of world.browser.tabs) {
      if (!tab.isAlive) continue;
      if (tab.isHidden) await this.#take({ actor: tab, what: 'comes back', run: () => tab.show() });
      tab.isFrozen = false;
    }
    if (world.nodes.every(({ isAlive }) => !isAlive)) await world.take(world.nodeStart(0));
  }

  async #settle(): Promise<void> {
    const { ledger } = this.#world;
    while (ledger.failure === undefined) {
      this.#healing += 1;
      const unsettled = this.#healing % 4 === 0 ? this.#world.unsettled() : 'not looked at';
      if (unsettled === undefined) return;
      if (this.#healing >= MAX_HEALING_STEPS) ledger.failed(this.#world.unsettled() ?? 'hang');
      const step = this.#goingOn();
      if (step !== undefined) await this.#take(step);
    }
  }
}

import { setTimeout as after } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { FaultProxy } from '../faults/proxy.ts';
import { randomFrom } from '../../server/testing/random.ts';
import { TestServer } from '../kit/test-server.ts';
import { FakeBrowser } from './browser.ts';
import type { FakeTab } from './browser.ts';
import { BROWSERS, planRound, TABS } from './plan.ts';
import type { Burst, Harm } from './plan.ts';
import { findFaults } from './tally.ts';

const SERVER = fileURLToPath(new URL('server.mjs', import.meta.url));

/** Sessions are checked against the disk and exchanged for new ones after so many rounds. */
const ROUNDS_PER_SESSION = 20;
/** How often pages are woken and the books are compared, in ms. */
const LOOK_MS = 40;
const WAKE_MS = 400;

export interface KillRunOptions {
  /** Of everything that is chosen; what the machine makes of it differs. */
  seed: number;
  /** Breaks the server on purpose; see server.mjs. */
  split?: 'data' | 'marks';
  /** How long after a round everything may take to arrive, in ms. Default 60 s. */
  patienceMs?: number;
}

/** What has been done so far. */
export interface Figures {
  rounds: number;
  /** Sends and asks of tabs, and what reached tabs: answers and messages. */
  ups: number;
  downs: number;
  harms: Record<Harm['name'], number>;
}

/** Something was lost, doubled, reordered or left hanging. */
export class KillFault extends Error {
  readonly faults: readonly string[];

  constructor(round: number, faults: readonly string[], harms: readonly Harm[]) {
    super(`round ${round}: ${faults.slice(0, 20).join('\n')}\nafter ${JSON.stringify(harms)}`);
    this.faults = faults;
  }
}

/** Rounds of many tabs against one server, in each of which something is killed. */
export class KillRun {
  readonly figures: Figures = {
    rounds: 0,
    ups: 0,
    downs: 0,
    harms: { 'kill-server': 0, cut: 0, stall: 0, slice: 0, 'kill-host': 0, 'kill-tab': 0 },
  };
  readonly #server: TestServer;
  readonly #proxy: FaultProxy;
  /** Of the plans, and of the hosts' back-off, which is drawn at times that no seed repeats. */
  readonly #random: () => number;
  readonly #backoff: () => number;
  readonly #patienceMs: number;
  #browsers: FakeBrowser[] = [];
  #sessions = 0;
  /** Of the round that is under way. */
  #harms: readonly Harm[] = [];
  /** The server is killed and started by one at a time. */
  #turn: Promise<void> = Promise.resolve();

  private constructor(server: TestServer, proxy: FaultProxy, { seed, patienceMs = 60_000 }: KillRunOptions) {
    this.#server = server;
    this.#proxy = proxy;
    this.#random = randomFrom(seed);
    this.#backoff = randomFrom(~seed);
    this.#patienceMs = patienceMs;
  }

  static async start(options: KillRunOptions): Promise<KillRun> {
    const { split } = options;
    const server = await TestServer.prepare({
      command: [SERVER, ...(split === undefined ? [] : ['--split', split])],
    });
    await server.start();
    const proxy = await FaultProxy.start({ target: () => server.port });
    return new KillRun(server, proxy, options);
  }

  /** @throws {KillFault} */
  async round(): Promise<void> {
    const { figures } = this;
    if (figures.rounds % ROUNDS_PER_SESSION === 0) await this.#exchangeSessions();
    figures.rounds += 1;
    const plan = planRound(this.#random);
    this.#harms = plan.harms;
    const talkers = this.#browsers.map(({ living }) => living.slice(1));
    const talks = plan.bursts.flatMap((tabs, b) => tabs.map((bursts, t) => talk(talkers[b]![t]!, bursts)));
    const harms = plan.harms.map(async (harm) => {
      await after(harm.atMs);
      figures.harms[harm.name] += 1;
      await this.#do(harm, talkers);
    });
    await Promise.all([...talks, ...harms]);
    this.#proxy.sliceBytes = Number.POSITIVE_INFINITY;
    this.#proxy.delayMs = 0;
    // A half-open connection would be noticed after half a minute only.
    if (plan.harms.some(({ name }) => name === 'stall')) this.#proxy.cut();
    await this.#settle(plan.wakes);
  }

  /** Looks at the last sessions once more. @throws {KillFault} */
  async finish(): Promise<void> {
    await this.#checkDisk();
  }

  async close(): Promise<void> {
    for (const browser of this.#browsers) browser.close();
    await this.#proxy.close();
    await this.#server.dispose();
  }

  async #exchangeSessions(): Promise<void> {
    await this.#checkDisk();
    for (const browser of this.#browsers) browser.close();
    this.#proxy.recordings.length = 0;
    const address = `ws://127.0.0.1:${this.#proxy.port}/`;
    this.#browsers = Array.from(
      { length: BROWSERS },
      () => new FakeBrowser(`s${++this.#sessions}`, address, this.#backoff),
    );
    for (const browser of this.#browsers) {
      // The first only looks: its asks are no part of the record.
      for (let n = 0; n <= TABS; n += 1) browser.openTab();
    }
  }

  async #do(harm: Harm, talkers: FakeTab[][]): Promise<void> {
    switch (harm.name) {
      case 'kill-server':
        await this.#killServer(harm.downMs);
        return;
      case 'cut':
        this.#proxy.cut();
        return;
      case 'stall':
        this.#proxy.mode = 'stall';
        await after(harm.forMs);
        if (harm.endsCut) this.#proxy.cut();
        this.#proxy.mode = 'pass';
        return;
      case 'slice':
        this.#proxy.sliceBytes = harm.bytes;
        this.#proxy.delayMs = harm.delayMs;
        return;
      case 'kill-host':
        this.#browsers[harm.browser]!.killHost();
        return;
      case 'kill-tab':
        talkers[harm.browser]![harm.tab]!.kill();
        this.#browsers[harm.browser]!.openTab();
        return;
    }
  }

  #killServer(downMs: number): Promise<void> {
    const killed = this.#turn.then(async () => {
      await this.#server.kill();
      await after(downMs);
      await this.#server.start();
    });
    this.#turn = killed;
    return killed;
  }

  /** Waits until the books agree. */
  async #settle(wakes: boolean): Promise<void> {
    const startedMs = performance.now();
    let wokenMs = -Infinity;
    for (;;) {
      if (wakes && performance.now() - wokenMs > WAKE_MS) {
        wokenMs = performance.now();
        for (const browser of this.#browsers) browser.wake();
      }
      const leftMs = this.#patienceMs - (performance.now() - startedMs);
      const faults = (
        await Promise.all(this.#browsers.map((one) => faultsOf(one, Math.max(1_000, leftMs))))
      ).flat();
      if (faults.length === 0) break;
      if (leftMs < 0) throw new KillFault(this.figures.rounds, faults, this.#harms);
      await after(LOOK_MS);
    }
    for (const tab of this.#browsers.flatMap(({ tabs }) => tabs))
      tab.hasArrived = tab.record.end.name === 'killed';
  }

  /** What was agreed on must be on the disk. */
  async #checkDisk(): Promise<void> {
    if (this.#browsers.length === 0) return;
    await this.#killServer(0);
    await this.#settle(true);
    for (const { record } of this.#browsers.flatMap(({ tabs }) => tabs)) {
      this.figures.ups += record.kinds.length;
      const { answers, told, updated, all } = record;
      this.figures.downs += Object.keys(answers).length + told.length + updated.length + all.length;
    }
  }
}

async function talk(tab: FakeTab, bursts: readonly Burst[]): Promise<void> {
  for (const { kinds, pauseMs } of bursts) {
    for (const kind of kinds) if (tab.record.end.name === 'alive') tab.say(kind);
    await after(pauseMs);
  }
}

async function faultsOf(browser: FakeBrowser, patienceMs: number): Promise<string[]> {
  const late = after(patienceMs, undefined, { ref: false });
  const kept = await Promise.race([browser.kept(), late]);
  if (kept === undefined) return [`session ${browser.name}: what it holds cannot be asked for`];
  return findFaults(
    kept,
    browser.tabs.map(({ record }) => record),
  );
}

import { MemoryStore } from '../../../server/store/memory-store.ts';
import type { Actor, Step } from './actor.ts';
import { Browser } from './browser.ts';
import { FakeTime, START_MS } from './fake-time.ts';
import { FrameWatch } from './frame-watch.ts';
import { takeGlobals } from './globals.ts';
import type { Host } from './host.ts';
import { Ledger } from './ledger.ts';
import { isAsked, isSaving } from './messages.ts';
import { NodeStores } from './node-store.ts';
import type { Profile } from './profile.ts';
import type { Random } from './random.ts';
import { afterRound } from './rounds.ts';
import { ServerNode } from './server-node.ts';
import { Tab } from './tab.ts';
import { Wire } from './wire.ts';

/** The last messages of a page that has gone arrive within this time, in ms; see LAST_MESSAGES_MS of the host. */
const ARRIVAL_MS = 200;

type WorldProfile = Pick<Profile, 'flushesAtOnce' | 'frameBytes'>;

/**
 * One browser, one store and the nodes of a server, with everything that is under way between them. It says what can
 * happen next, and does what it is told to.
 */
export class World {
  readonly time = new FakeTime(() => this.#owner);
  readonly ledger = new Ledger();
  readonly stores: NodeStores;
  readonly browser: Browser;
  /** One a slot; the last process that ran there. */
  readonly nodes: ServerNode[] = [];
  /** What was done, when it is to be told. */
  readonly trace: string[] | undefined;
  wires: Wire[] = [];
  readonly #store = new MemoryStore();
  readonly #watch: FrameWatch;
  readonly #giveBack: () => void;
  readonly #frameBytes: number;
  #owner: Actor;
  #wireCount = 0;
  #nodeRuns = 0;
  #taken = 0;
  /** When the last messages of pages that have gone were first on their way; `undefined` when there are none. */
  #lastMessagesMs: number | undefined;

  constructor(random: Random, { flushesAtOnce, frameBytes }: WorldProfile, traced: boolean) {
    this.#frameBytes = frameBytes;
    this.trace = traced ? [] : undefined;
    this.stores = new NodeStores(this.#store, this.ledger.durable);
    this.#owner = this.stores;
    this.#watch = new FrameWatch(this.ledger);
    this.#giveBack = takeGlobals({
      time: this.time,
      owner: () => this.#owner,
      random: () => random.next(),
    });
    this.browser = new Browser({
      time: this.time,
      random: () => random.next(),
      flushesAtOnce,
      frameBytes,
      openSocket: (host) => this.#openSocket(host),
    });
  }

  /** Makes the present step that of an actor which has just come to be. */
  readonly #own = (actor: Actor): void => {
    this.#owner = actor;
  };

  async start(nodes: number, tabs: number): Promise<void> {
    await this.#store.open();
    for (let slot = 0; slot < nodes; slot++) await this.take(this.nodeStart(slot));
    for (let n = 0; n < tabs; n++) await this.take(this.tabStart());
  }

  /** Gives the process its clock and timers back. */
  end(): void {
    this.#giveBack();
  }

  /** Takes a step, and everything that it starts and that does not wait for another one. */
  take({ actor, what, run }: Step): Promise<void> {
    this.#owner = actor;
    this.print(`${actor.name} ${what}`);
    this.#taken += 1;
    run();
    return new Promise(afterRound);
  }

  /** Tells of the schedule, when somebody listens. */
  print(text: string): void {
    this.trace?.push(`${this.#taken} ${this.time.nowMs - START_MS} ${text}`);
  }

  /** Everything that can happen next without time passing. */
  steps(): Step[] {
    const steps: Step[] = [];
    this.browser.addSteps(steps);
    if (this.wires.some(({ isOver }) => isOver)) this.wires = this.wires.filter(({ isOver }) => !isOver);
    for (const wire of this.wires) {
      this.#addOpenings(wire, steps);
      wire.addSteps(steps);
    }
    for (const node of this.nodes) node.application.addSteps(steps);
    this.stores.addSteps(steps);
    this.time.addSteps(steps);
    return steps;
  }

  /** Time passes until a timer is due. @returns `undefined` when there is none, or something must come before. */
  timeStep(): Step | undefined {
    const { nextMs } = this.time;
    if (nextMs === undefined) return undefined;
    this.#lastMessagesMs = this.browser.hasLastMessages
      ? (this.#lastMessagesMs ?? this.time.nowMs)
      : undefined;
    if (this.#lastMessagesMs !== undefined && nextMs - this.#lastMessagesMs > ARRIVAL_MS) return undefined;
    return this.#clockStep(`${Math.max(0, nextMs - this.time.nowMs)} ms pass`, nextMs);
  }

  /** The machine sleeps, or nobody does anything. */
  sleepStep(forMs: number): Step {
    return this.#clockStep(`${forMs} ms are slept`, this.time.nowMs + forMs);
  }

  /** A process of the server starts in that slot. */
  nodeStart(slot: number): Step {
    const name = `node${slot + 1}.${++this.#nodeRuns}`;
    const { ledger, stores } = this;
    const gets = (link: number, frame: string): void => {
      this.#watch.up(link, frame);
    };
    const print = (text: string): void => {
      this.print(text);
    };
    const own = this.#own;
    const frameBytes = this.#frameBytes;
    return {
      actor: stores,
      what: `sees ${name} start`,
      run: () => {
        this.nodes[slot] = new ServerNode({ name, stores, ledger, gets, print, own, frameBytes });
      },
    };
  }

  /**
   * A node dies, and its memory with it.
   *
   * @param isLost Whether a write that was under way never reaches the store.
   * @param isTold Whether the other end of a socket is told.
   */
  crash(node: ServerNode, isLost: () => boolean, isTold: () => boolean): void {
    node.isAlive = false;
    this.stores.nodeDied(node, isLost);
    for (const wire of this.wires) {
      if (wire.node !== node) continue;
      if (isTold()) wire.nodeDied();
      else wire.halfOpen();
    }
  }

  killHost(host: Host): void {
    this.browser.killHost(host);
    for (const wire of this.wires) if (wire.host === host) wire.hostDied();
  }

  /** A tab is opened. */
  tabStart(): Step {
    const name = String.fromCharCode('a'.charCodeAt(0) + this.browser.tabs.length);
    return {
      actor: this.stores,
      what: `sees tab ${name} open`,
      run: () => {
        this.browser.tabs.push(new Tab(name, this.browser, this.ledger, this.#own));
      },
    };
  }

  /** @returns What has not come to its end yet; `undefined` when everything has. */
  unsettled(): string | undefined {
    const { ledger, browser } = this;
    const tabs = new Map(browser.tabs.map((tab) => [tab.name, tab]));
    for (const { id, tab: name, kind, settled, excused } of ledger.messages) {
      const tab = tabs.get(name)!;
      if (isAsked(kind) && tab.isAlive && settled === undefined)
        return `hang: ${id} (${kind}) was not answered`;
      // The host of a tab that has gone may hear that its stream is forgotten, and nobody is left to tell.
      const isUntold = !tab.isAlive && (ledger.hasSlept || tab.wasHidden);
      if (excused !== undefined || isUntold) continue;
      if (isSaving(kind) && ledger.durable.runOf(id) === undefined) return `lost: ${id} (${kind})`;
      const isTold =
        (kind === 'tell' || kind === 'send') && tab.isAlive && !tab.hasGap && !ledger.isDeaf(name);
      if (isTold && !tab.hasReceived(id)) return `lost: the run of ${id} (${kind})`;
    }
    for (const id of ledger.notedIDs) {
      for (const name of ledger.recipientsOf(id)) {
        const tab = tabs.get(name)!;
        const isOwed = tab.isAlive && !tab.hasGap && !ledger.isDeaf(name);
        if (isOwed && !tab.hasReceived(id)) return `lost: the note of ${id} to ${name}`;
      }
    }
    return this.#unsettledMemo(tabs);
  }

  /** What is in memory only arrives as long as that memory lives. */
  #unsettledMemo(tabs: ReadonlyMap<string, Tab>): string | undefined {
    const sessions = this.nodes.flatMap(({ isAlive, session, application }) =>
      isAlive && session !== undefined ? [{ session, application }] : [],
    );
    const newest = sessions.sort((a, b) => b.session.life - a.session.life)[0];
    if (newest === undefined) return undefined;
    for (const conn of newest.application.connsOf(newest.session)) {
      const tab = tabs.get(newest.application.labelOf(conn) ?? '');
      if (tab?.isAlive !== true || tab.hasGap || this.ledger.isDeaf(tab.name)) continue;
      const lost = this.ledger.memosOf(conn).find((id) => !tab.hasReceived(id));
      if (lost !== undefined) return `lost: memo ${lost} to ${tab.name}`;
    }
    return undefined;
  }

  /** Looks at everything once it has come to its end. */
  check(): void {
    const last = new Map<string, number>();
    for (const { id } of this.ledger.durable.data.log) {
      const message = this.ledger.message(id);
      // Others of its tab may come before a concurrent one.
      if (message === undefined || message.kind === 'share' || this.ledger.mayBeForgotten(id)) continue;
      if ((last.get(message.tab) ?? 0) > message.n) this.ledger.failed(`out of order in the data: ${id}`);
      last.set(message.tab, message.n);
    }
  }

  #clockStep(what: string, untilMs: number): Step {
    const run = (): void => {
      this.time.nowMs = Math.max(this.time.nowMs, untilMs);
    };
    return { actor: this.stores, what, run };
  }

  #openSocket(host: Host): Wire['socket'] {
    const wire = new Wire(++this.#wireCount, host, ({ n }, frame) => {
      this.#watch.down(n, frame);
    });
    this.wires.push(wire);
    return wire.socket;
  }

  /** A socket that opens reaches any of the nodes. */
  #addOpenings(wire: Wire, steps: Step[]): void {
    if (wire.node !== undefined || !wire.isUp) return;
    if (this.nodes.every(({ isAlive }) => !isAlive)) {
      const run = (): void => {
        wire.refuse();
      };
      steps.push({ actor: wire.host, what: `reaches nobody with link ${wire.n}`, run });
    }
    for (const node of this.nodes) {
      if (!node.isAlive || node.isFrozen) continue;
      const run = (): void => {
        node.accept(wire);
      };
      steps.push({ actor: node, what: `accepts link ${wire.n}`, run });
    }
  }
}

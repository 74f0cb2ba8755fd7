import { Client } from '../../../client/client.ts';
import type { FoundHost, PageListener, TabEnvironment } from '../../../client/environment.ts';
import type { SessionActive } from '../../../client/state.ts';
import type { HostToTab, TabToHost } from '../../../worker/host/port-protocol.ts';
import type { Actor, Step } from './actor.ts';
import type { Host } from './host.ts';
import type { Ledger } from './ledger.ts';
import type { Locks } from './locks.ts';
import { isAsked, isSaving } from './messages.ts';
import type { Kind, Message } from './messages.ts';
import type { Port } from './port.ts';

const ADDRESS = 'wss://server.example/';

/** What a tab has of its browser. */
interface TabBrowser {
  readonly locks: Locks;
  /** Looks for the tab's host. */
  search(search: { tab: Tab; found: (port: Port) => void }): void;
}

/** A page: the real `Client`, and what it has sent and received. */
export class Tab implements Actor {
  readonly name: string;
  isAlive = true;
  isFrozen = false;
  randoms = 0;
  readonly #browser: TabBrowser;
  readonly #ledger: Ledger;
  readonly #client: Client;
  #page: PageListener | undefined;
  #ports: Port[] = [];
  /** The one over which it said hello last. */
  #port: Port | undefined;
  /** Messages that were posted to the present host. */
  #handedOver = new Set<string>();
  #sent = 0;
  readonly #notes: string[] = [];
  readonly #memos: string[] = [];
  /** It was told that its stream began anew: what came before may have been lost. */
  hasGap = false;
  /** It is in the back-forward cache. */
  isHidden = false;
  /** It has been in the back-forward cache, so that its host may have taken it for dead. */
  wasHidden = false;

  /** @param own Makes the present step this tab's. */
  constructor(name: string, browser: TabBrowser, ledger: Ledger, own: (tab: Actor) => void) {
    own(this);
    this.name = name;
    this.#browser = browser;
    this.#ledger = ledger;
    this.#client = new Client(ADDRESS, {}, this.#environment());
    const client = this.#client;
    client.on('note', (id: string, run: number) => {
      this.#gotNote(id, run);
    });
    client.on('memo', (id: string, n: number) => {
      this.#gotMemo(id, n);
    });
    client.on('$session-active', (active) => {
      this.#gotSession(active);
    });
    client.on('$notice', ({ code, message }) => {
      ledger.failed(`${name} was told ${code}: ${message}`);
    });
    client.on('$state', (state) => {
      if (state.name !== 'closed' && state.name !== 'denied') return;
      ledger.failed(`${name} has ended: ${state.reason}`);
    });
  }

  /** @param id Of a message that sent a note, or of a memo. */
  hasReceived(id: string): boolean {
    return this.#notes.includes(id) || this.#memos.includes(id);
  }

  get isActive(): boolean {
    return this.#client.state.name === 'active';
  }

  /** @param waits How often its handler waits. */
  send(kind: Kind, waits: number): void {
    const n = ++this.#sent;
    const message: Message = {
      id: `${this.name}${n}`,
      tab: this.name,
      n,
      kind,
      settled: undefined,
      excused: undefined,
    };
    this.#ledger.add(message);
    // It goes to the host at once, link or no link.
    if (this.host !== undefined) this.#handedOver.add(message.id);
    const args = [message.id, this.name, waits];
    if (!isAsked(kind)) {
      this.#client.send(kind, ...args);
      return;
    }
    this.#client
      .with({ timeoutMs: Infinity })
      .ask(kind, ...args)
      .then(
        (value: unknown) => {
          if (this.isAlive) this.#answered(message, value);
        },
        (error: unknown) => {
          if (this.isAlive) this.#refused(message, (error as { code?: string }).code ?? String(error));
        },
      );
  }

  /** Its page is closed, or its process has died: nothing more of it runs. */
  die(): void {
    this.isAlive = false;
    const { host } = this;
    for (const message of this.#unsettled()) {
      if (host === undefined) message.excused = 'its tab died without a host';
      else if (host.hasLost) message.excused = 'its tab died on the way to another host';
      else if (!this.#handedOver.has(message.id)) message.excused = 'its tab died before it was handed over';
    }
  }

  /** Its host sends its tabs away. What one that has just died had posted may not have come in. */
  hostLost(host: Host): void {
    if (this.isAlive || this.#port?.other.owner !== host) return;
    for (const message of this.#unsettled()) message.excused = 'its tab died as its host lost the storage';
  }

  hostDied(host: Host): void {
    if (this.#port?.other.owner !== host) return;
    if (!this.isAlive) for (const message of this.#unsettled()) message.excused = 'its tab and its host died';
    this.#handedOver = new Set();
  }

  /** Into the back-forward cache. */
  hide(): void {
    this.#page?.hide();
    this.isHidden = this.wasHidden = this.isFrozen = true;
  }

  show(): void {
    this.isHidden = this.isFrozen = false;
    this.#page?.show();
  }

  wake(): void {
    this.#page?.wake();
  }

  /** The host it speaks to; `undefined` when it has none that lives. */
  get host(): Host | undefined {
    const host = this.#port?.other.owner as Host | undefined;
    return host?.isAlive === true ? host : undefined;
  }

  addSteps(steps: Step[]): void {
    if (this.#ports.some(({ isOpen }) => !isOpen)) this.#ports = this.#ports.filter(({ isOpen }) => isOpen);
    for (const port of this.#ports) {
      const step = port.step();
      if (step !== undefined) steps.push(step);
    }
  }

  #environment(): TabEnvironment {
    const { locks } = this.#browser;
    return {
      findHost: () => this.#findHost(),
      holdLock: async (lock) => locks.hold(lock, this),
      watchLock: (lock, gone) => locks.watch(lock, this, gone),
      listen: (page) => {
        this.#page = page;
        return () => {
          this.#page = undefined;
        };
      },
    };
  }

  #findHost(): Promise<FoundHost> {
    return new Promise((resolve) => {
      const found = (port: Port): void => {
        this.#ports.push(port);
        port.posted = (message) => {
          this.#posted(port, message as TabToHost);
        };
        port.delivered = (message) => {
          const { kind, envelope } = message as { kind: string; envelope?: { kind: string } };
          if (kind === 'down' && envelope?.kind === 'attached') this.#ledger.hearsServer(this.name);
        };
        port.onmessage = ({ data }: { data: HostToTab & { kind: 'welcome' } }) => {
          resolve({ port, welcome: data, why: 'SharedWorker' });
        };
      };
      this.#browser.search({ tab: this, found });
    });
  }

  #posted(port: Port, message: TabToHost): void {
    if (message.kind === 'hello') {
      this.#port = port;
      this.#handedOver = new Set();
    }
    const id = 'envelope' in message && 'args' in message.envelope ? message.envelope.args[0] : undefined;
    if (port === this.#port && typeof id === 'string') this.#handedOver.add(id);
  }

  #unsettled(): Message[] {
    return this.#ledger.messages.filter(({ tab, excused }) => tab === this.name && excused === undefined);
  }

  #answered(message: Message, value: unknown): void {
    if (message.settled !== undefined) this.#ledger.failed(`${message.id} was answered twice`);
    message.settled = { value };
    const { id, run } = value as { id: string; run?: number };
    if (id !== message.id) this.#ledger.failed(`${message.id} got the answer of ${id}`);
    if (message.kind === 'throw') this.#ledger.failed(`${id} threw and was answered`);
    if (isSaving(message.kind)) this.#ledger.mustBeDurable(id, run ?? 0, 'the answer came');
  }

  #refused(message: Message, code: string): void {
    message.settled = { code };
    if (message.kind === 'throw' && code === 'thrown') return;
    if (code === 'WEBGRAM_GAP') this.#excuseGap();
    else this.#ledger.failed(`${message.id} was refused: ${code}`);
  }

  #gotNote(id: string, run: number): void {
    if (!this.isAlive) return;
    if (this.#notes.includes(id)) this.#ledger.failed(`${this.name} got the note of ${id} twice`);
    this.#notes.push(id);
    if (isSaving(this.#ledger.kindOf(id))) this.#ledger.mustBeDurable(id, run, 'a note came');
    this.#inOrder(id);
  }

  /** Notes come in the order of the handlers: of saving ones, that of the data; of one tab's, that of its messages. */
  #inOrder(id: string): void {
    if (this.#ledger.mayBeForgotten(id)) return;
    const { log } = this.#ledger.durable.data;
    // What was saved in the middle of a handler may be older than the run that has sent the note.
    const place = (one: string): number =>
      this.#ledger.kindOf(one) === 'now' ? -1 : log.findIndex((entry) => entry.id === one);
    const before = this.#notes.slice(0, -1);
    const last = before.findLast((one) => place(one) >= 0);
    if (last !== undefined && place(id) >= 0 && place(last) > place(id))
      this.#ledger.failed(`${this.name} got the note of ${id} behind that of ${last}`);
    const own = this.#ledger.message(id);
    if (own === undefined || own.kind === 'concurrent') return;
    for (const one of before) {
      const other = this.#ledger.message(one);
      if (other?.tab !== own.tab || other.kind === 'concurrent' || other.n < own.n) continue;
      this.#ledger.failed(`${this.name} got the note of ${id} behind that of ${one}`);
    }
  }

  #gotMemo(id: string, n: number): void {
    if (!this.isAlive) return;
    if (this.#memos.includes(id)) this.#ledger.failed(`${this.name} got memo ${id} twice`);
    this.#memos.push(id);
    const conn = this.#ledger.connOfMemo(id);
    const ids = conn === undefined ? [] : this.#ledger.memosOf(conn);
    if (ids[n - 1] !== id) this.#ledger.failed(`memo ${id} reached ${this.name} by another way`);
    const missing = ids.slice(0, n).find((one) => !this.#memos.includes(one));
    if (missing !== undefined) this.#ledger.failed(`hole: ${this.name} got memo ${id} without ${missing}`);
  }

  #gotSession({ reason, gap }: SessionActive): void {
    if (!this.isAlive) return;
    if (reason === 'retention' || reason === 'overflow' || gap.sent > 0) this.#excuseGap();
    else if (reason === 'store-lost')
      this.#ledger.failed(`${this.name} was told that the store has lost commits`);
  }

  #excuseGap(): void {
    this.hasGap = true;
    if (!this.wasHidden && !this.#ledger.hasSlept)
      this.#ledger.failed(`${this.name} has a gap without a reason`);
    for (const message of this.#unsettled()) message.excused ??= 'its tab was told of a gap';
  }
}

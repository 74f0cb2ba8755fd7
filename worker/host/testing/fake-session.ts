import type { DownEnvelope, Outcome, UpEnvelope } from 'webgram';
import type { FakeServer } from './fake-server.ts';

/** A session behind a `FakeServer`, without store or commits: takes every message once and answers what it is asked. */
export class FakeSession {
  /** Messages in the order in which they were handled, each with its tab. */
  readonly handled: { tabID: string; type: string; args: unknown[] }[] = [];
  /** Answers to what it has asked. */
  readonly answers: (UpEnvelope & { kind: 'answer' })[] = [];
  /** What an attach gets. */
  outcome: Outcome['reason'] | 'forgotten' | undefined;
  acknowledges = true;
  answersAsks = true;
  readonly #received = new Map<string, number>();
  readonly #sent = new Map<string, number>();
  readonly #tabs = new Map<number, string>();
  readonly #refused = new Set<number>();
  readonly #server: FakeServer;

  constructor(server: FakeServer) {
    this.#server = server;
    server.onUp = (up) => {
      this.#take(up);
    };
  }

  get tabIDs(): string[] {
    return [...new Set(this.#tabs.values())];
  }

  /** Sends to the tab that attached last. */
  send(kind: 'send' | 'ask', type: string, ...args: unknown[]): void {
    const [tab, tabID] = [...this.#tabs].at(-1)!;
    this.#down({ kind, tab, seq: this.#nextSeq(tabID), ack: 0, type, args });
  }

  /** Ends the conn of the tab that attached last. */
  closeTab(why: string): void {
    const tab = [...this.#tabs.keys()].at(-1)!;
    const attach = this.#server.last.ups.findLast((up) => up.kind === 'attach' && up.tab === tab);
    if (attach?.kind === 'attach') this.#down({ kind: 'detach', tab, counter: attach.counter, why });
  }

  #take(up: UpEnvelope): void {
    if (up.kind === 'attach') {
      const { tab, tabID, counter, info } = up;
      this.#tabs.set(tab, tabID);
      const isFirst = this.#received.size === 0;
      const known = this.#received.get(tabID);
      if (known === undefined) this.#received.set(tabID, up.oldest - 1);
      const received = this.#received.get(tabID)!;
      const reason = this.outcome ?? (known !== undefined ? 'resumed' : isFirst ? 'new' : 'joined');
      if (reason === 'forgotten') {
        this.outcome = undefined;
        this.#refused.add(tab);
      } else this.#refused.delete(tab);
      const outcome =
        reason === 'forgotten'
          ? reason
          : { resumed: reason !== 'new', reason, gap: { sent: 0, received: 0 } };
      this.#down({ kind: 'attached', tab, counter, received, outcome, life: 1, timeMs: 1, lineage: [] });
      if (info.departed === true && this.acknowledges) this.#acknowledge(tab);
    } else if (up.kind === 'answer') {
      this.answers.push(up);
      this.#count(up.tab, up.seq);
    } else if (up.kind === 'send' || up.kind === 'ask') {
      // Behind an attach that was refused.
      if (this.#refused.has(up.tab)) return;
      const tabID = this.#tabs.get(up.tab)!;
      if (up.seq === this.#received.get(tabID)! + 1)
        this.handled.push({ tabID, type: up.type, args: up.args });
      else if (up.seq > this.#received.get(tabID)!) throw new Error(`a hole before ${up.seq}`);
      this.#count(up.tab, up.seq);
      if (up.kind === 'ask' && this.answersAsks) {
        const value = (up.args[0] as number) + 1;
        const seq = this.#nextSeq(tabID);
        this.#down({ kind: 'answer', tab: up.tab, seq, ack: up.seq, asked: up.seq, error: null, value });
      }
    }
  }

  #count(tab: number, seq: number): void {
    const tabID = this.#tabs.get(tab)!;
    this.#received.set(tabID, Math.max(seq, this.#received.get(tabID)!));
    if (this.acknowledges) this.#acknowledge(tab);
  }

  #acknowledge(tab: number): void {
    const ack = this.#received.get(this.#tabs.get(tab)!)!;
    this.#down({ kind: 'ack', tab, ack, com: null, timeMs: 2 });
  }

  #nextSeq(tabID: string): { life: number; n: number } {
    const n = (this.#sent.get(tabID) ?? 0) + 1;
    this.#sent.set(tabID, n);
    return { life: 1, n };
  }

  #down(envelope: DownEnvelope): void {
    this.#server.last.send(envelope);
  }
}

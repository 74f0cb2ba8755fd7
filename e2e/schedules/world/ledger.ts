import type { Conn } from '../../../server/conn.ts';
import { Durable } from './durable.ts';
import { isSaving } from './messages.ts';
import type { Kind, Message } from './messages.ts';

interface Note {
  run: number;
  to: readonly string[];
}

/** The books of a schedule: what was sent, run, answered and received, and the first rule that was broken. */
export class Ledger {
  readonly messages: Message[] = [];
  readonly durable: Durable;
  readonly #byID = new Map<string, Message>();
  readonly #kinds = new Map<string, Kind>();
  #runs = 0;
  #updates = 0;
  #memos = 0;
  /** What each run has sent, by message. */
  readonly #notes = new Map<string, Note[]>();
  /** The run whose answer or notes have left. */
  readonly #counted = new Map<string, number>();
  readonly #memosOf = new Map<Conn, { tab: string; ids: string[] }>();
  /** Tabs that have had an answer to an attach. */
  readonly #heard = new Set<string>();
  /** Tabs that had not when the machine slept. */
  readonly #deaf = new Set<string>();
  #hasSlept = false;
  #failure: string | undefined;

  constructor() {
    this.durable = new Durable(
      (why) => {
        this.failed(why);
      },
      (id) => isSaving(this.kindOf(id)),
      (id) => this.mayBeForgotten(id),
    );
  }

  hearsServer(tab: string): void {
    this.#heard.add(tab);
  }

  /** The machine has slept, so long that the server may have forgotten a stream. */
  get hasSlept(): boolean {
    return this.#hasSlept;
  }

  /** @param tabs All there are. */
  sleeps(tabs: readonly string[]): void {
    this.#hasSlept = true;
    for (const tab of tabs) if (!this.#heard.has(tab)) this.#deaf.add(tab);
  }

  /**
   * A tab that had not heard the server before a sleep longer than the retention cannot say how old its stream is: what
   * it has sent may be handled again, and what it should have received may be lost. README.md, "Not covered".
   */
  isDeaf(tab: string): boolean {
    return this.#deaf.has(tab);
  }

  /** It is of such a tab. */
  mayBeForgotten(id: string): boolean {
    return this.isDeaf(this.message(id)?.tab ?? '');
  }

  /** The first rule that was broken. */
  get failure(): string | undefined {
    return this.#failure;
  }

  failed(why: string): void {
    this.#failure ??= why;
  }

  add(message: Message): void {
    this.messages.push(message);
    this.#byID.set(message.id, message);
    this.#kinds.set(message.id, message.kind);
  }

  message(id: string): Message | undefined {
    return this.#byID.get(id);
  }

  kindOf(id: string): Kind {
    return this.#kinds.get(id) ?? 'pure';
  }

  updateID(): string {
    return `U${++this.#updates}`;
  }

  /** A handler begins. @returns The number of its run. */
  begin(id: string, kind: Kind): number {
    this.#kinds.set(id, kind);
    if (this.message(id) === undefined && !id.startsWith('U')) this.failed(`nobody has sent ${id}`);
    return ++this.#runs;
  }

  /** A run has found the entry of an earlier one, and goes on for it. */
  isRepeated(id: string, run: number, earlier: number): void {
    if (earlier >= run) this.failed(`${id}: run ${run} found the entry of run ${earlier}`);
  }

  /**
   * A run sends notes. One that goes on for an earlier one sends them in its name: which of the two counts is not known
   * here, and a tab that only one of them has sent to need not get any.
   */
  noted(id: string, run: number, to: readonly string[]): void {
    const notes = this.#notes.get(id) ?? [];
    const before = notes.find((note) => note.run === run);
    const both = before === undefined ? to : to.filter((tab) => before.to.includes(tab));
    this.#notes.set(id, [...notes.filter((note) => note !== before), { run, to: both }]);
  }

  /** The tabs that the counting run of a message has sent a note. */
  recipientsOf(id: string): readonly string[] {
    // What was saved in the middle of a handler does not tell whether it came to its end.
    const durable = this.kindOf(id) === 'now' ? undefined : this.durable.runOf(id);
    const run = durable ?? this.#counted.get(id);
    return this.#notes.get(id)?.find((note) => note.run === run)?.to ?? [];
  }

  /** Messages and updates of which some run has sent notes. */
  get notedIDs(): Iterable<string> {
    return this.#notes.keys();
  }

  /** Something of a run has left the server: it must be the only run of its message that ever does. */
  leaves(id: string, run: number): void {
    const kind = this.kindOf(id);
    if (kind === 'throw') this.failed(`a handler that threw has sent something: ${id}`);
    if (isSaving(kind)) this.mustBeDurable(id, run, 'something it sent left');
    const counted = this.#counted.get(id);
    if (counted === undefined) this.#counted.set(id, run);
    else if (counted !== run && !this.mayBeForgotten(id))
      this.failed(`two runs of ${id} have sent something: ${counted} and ${run}`);
  }

  mustBeDurable(id: string, run: number, because: string): void {
    const durable = this.durable.runOf(id);
    if (durable === run || this.mayBeForgotten(id)) return;
    this.failed(`${because} before the commit of ${id}, run ${run}; the store has run ${String(durable)}`);
  }

  /** @returns What names the memo that is sent now. */
  memo(conn: Conn, tab: string, n: number): string {
    const id = `M${++this.#memos}`;
    const memos = this.#memosOf.get(conn) ?? { tab, ids: [] };
    memos.ids.push(id);
    this.#memosOf.set(conn, memos);
    if (memos.ids.length !== n) this.failed(`memo ${id} is not number ${n}`);
    return id;
  }

  memosOf(conn: Conn): readonly string[] {
    return this.#memosOf.get(conn)?.ids ?? [];
  }

  /** The conn that a memo was sent to. */
  connOfMemo(id: string): Conn | undefined {
    for (const [conn, { ids }] of this.#memosOf) if (ids.includes(id)) return conn;
    return undefined;
  }
}

import { AskError } from 'webgram';
import type { Conn } from '../../../server/conn.ts';
import { concurrent } from '../../../server/handlers.ts';
import type { Handlers } from '../../../server/handlers.ts';
import type { LiveSession } from '../../../server/live-session.ts';
import type { Actor, Step } from './actor.ts';
import type { Ledger } from './ledger.ts';
import { EMPTY } from './messages.ts';
import type { Data, Kind } from './messages.ts';

/** Kinds that run by themselves from beginning to end. */
type HandledKind = Exclude<Kind, 'share'>;

/**
 * The server's application on one node: what handlers do, and when they go on.
 *
 * It checks what an application sees: between two handlers the data stays as it was, and a handler that throws leaves
 * nothing behind.
 */
export class Application {
  readonly #node: Actor;
  readonly #ledger: Ledger;
  /** Handlers that wait, in the order in which they began to. */
  #waiting: { what: string; goOn: () => void }[] = [];
  /** The data as the last handler or update has left it. */
  readonly #left = new WeakMap<object, string>();
  readonly #labels = new Map<Conn, string>();
  readonly #memos = new Map<Conn, number>();

  constructor(node: Actor, handlers: Handlers, ledger: Ledger) {
    this.#node = node;
    this.#ledger = ledger;
    const handle =
      (kind: HandledKind) =>
      (conn: Conn, id: string, tab: string, waits: number): unknown =>
        this.#handle(kind, conn, id, tab, waits);
    for (const kind of ['save', 'now', 'pure', 'unsaved', 'send', 'throw'] as const) {
      handlers.answer[kind] = handle(kind);
    }
    handlers.answer['concurrent'] = concurrent(handle('concurrent'));
    handlers.answer['share'] = concurrent((conn: Conn, id: string, tab: string, waits: number) =>
      this.#share(conn, id, tab, waits),
    );
    for (const kind of ['fire', 'tell'] as const) handlers.on(kind, handle(kind));
    handlers.on('$closed', (conn: Conn) => {
      this.#labels.delete(conn);
    });
  }

  /** Handlers that can go on. */
  addSteps(steps: Step[]): void {
    if (!this.#node.isAlive || this.#node.isFrozen) return;
    for (const one of this.#waiting) {
      const run = (): void => {
        this.#waiting = this.#waiting.filter((other) => other !== one);
        one.goOn();
      };
      steps.push({ actor: this.#node, what: `goes on with ${one.what}`, run });
    }
  }

  /** Sends to a tab outside of any handler: it is kept in memory only. */
  memo(conn: Conn): void {
    const tab = this.#labels.get(conn);
    if (tab === undefined) return;
    const n = (this.#memos.get(conn) ?? 0) + 1;
    this.#memos.set(conn, n);
    conn.send('memo', this.#ledger.memo(conn, tab, n), n);
  }

  /** A small transaction from a timer. */
  update(session: LiveSession, waits: number): void {
    const id = this.#ledger.updateID();
    const run = this.#ledger.begin(id, 'save');
    const done = session.update((shared) => {
      const data = this.#open(session, shared as unknown as Partial<Data>);
      data.count += 1;
      return this.#pause(id, waits, () => {
        this.#write(session, data, id, run);
        this.#left.set(session, textOf(data));
      });
    });
    done.then(
      () => {
        if (this.#node.isAlive) this.#ledger.mustBeDurable(id, run, 'update() resolved');
      },
      () => undefined,
    );
  }

  /** Saves from a timer, whatever handlers are under way. */
  save(session: LiveSession): void {
    this.#ledger.durable.isSavedOutside = true;
    session.save().catch(() => undefined);
  }

  /** The conns of the session whose tab is known. */
  connsOf(session: LiveSession): Conn[] {
    return [...session.conns].filter((conn) => this.#labels.has(conn));
  }

  /** The tab that a conn belongs to, once it has sent something. */
  labelOf(conn: Conn): string | undefined {
    return this.#labels.get(conn);
  }

  #handle(kind: HandledKind, conn: Conn, id: string, tab: string, waits: number): unknown {
    this.#labels.set(conn, tab);
    const session = conn.session as unknown as LiveSession;
    const run = this.#ledger.begin(id, kind);
    const isAlone = kind !== 'concurrent';
    const shared = conn.sessionData as unknown as Partial<Data>;
    const data = isAlone ? this.#open(session, shared) : { ...EMPTY, ...shared };
    if (kind === 'save' || kind === 'fire' || kind === 'now' || kind === 'unsaved' || kind === 'throw')
      data.count += 1;
    const end = (): unknown => {
      const result = this.#end(kind, conn, session, data, id, run);
      if (isAlone && kind !== 'throw') this.#left.set(session, textOf(data));
      return result;
    };
    if (kind !== 'now') return this.#pause(id, waits, end);
    const known = data.log.find((entry) => entry.id === id);
    if (known !== undefined) {
      // An earlier run has come this far.
      data.count -= 1;
      this.#ledger.isRepeated(id, run, known.run);
      return this.#pause(id, waits, end);
    }
    this.#write(session, data, id, run, false);
    return conn.save({ now: true }).then(() => {
      this.#ledger.mustBeDurable(id, run, 'save({ now: true }) resolved');
      return this.#pause(id, waits, end);
    });
  }

  #end(kind: HandledKind, conn: Conn, session: LiveSession, data: Data, id: string, run: number): unknown {
    switch (kind) {
      case 'save':
      case 'fire':
        this.#write(session, data, id, run);
        void conn.save();
        return { id, run };
      case 'now': {
        const entry = data.log.find((one) => one.id === id);
        this.#note(session, id, entry?.run ?? run);
        return { id, run: entry?.run };
      }
      case 'unsaved':
        data.leftovers.push(id);
        return { id };
      case 'pure':
        return { id, length: data.log.length, last: data.log.at(-1)?.id ?? null };
      case 'send':
      case 'tell':
      case 'concurrent':
        this.#note(session, id, run);
        return { id, run };
      case 'throw':
        this.#write(session, data, id, run);
        data.leftovers.push(id);
        void conn.save();
        throw new AskError('thrown', 'as it should');
    }
  }

  /** A concurrent handler, and the small transaction that it makes unless an earlier run has. */
  async #share(conn: Conn, id: string, tab: string, waits: number): Promise<unknown> {
    this.#labels.set(conn, tab);
    const session = conn.session as unknown as LiveSession;
    const run = this.#ledger.begin(id, 'share');
    await this.#pause(id, waits, () => undefined);
    let counts = run;
    await conn.update((shared): void => {
      const data = this.#open(session, shared as unknown as Partial<Data>);
      const known = data.log.find((entry) => entry.id === id);
      if (known === undefined) {
        data.count += 1;
        this.#write(session, data, id, run, false);
        this.#left.set(session, textOf(data));
      } else {
        this.#ledger.isRepeated(id, run, known.run);
        counts = known.run;
        // It commits all the same, and with it what others have left unsaved.
        this.#ledger.durable.isSavedOutside = true;
      }
    });
    this.#ledger.mustBeDurable(id, counts, 'update() in a concurrent handler resolved');
    return this.#pause(id, waits, () => ({ id, run: counts }));
  }

  /** @returns The data, as the handler before has left it. */
  #open(session: LiveSession, shared: Partial<Data>): Data {
    shared.count ??= 0;
    shared.log ??= [];
    shared.leftovers ??= [];
    const data = shared as Data;
    const now = textOf(data);
    const left = this.#left.get(session) ?? textOf(this.#ledger.durable.atBeginOf(session.life));
    if (now !== left) this.#ledger.failed(`between two handlers the data changed from ${left} to ${now}`);
    return data;
  }

  #write(session: LiveSession, data: Data, id: string, run: number, notes = true): void {
    data.log.push({ id, run });
    if (notes) this.#note(session, id, run);
  }

  #note(session: LiveSession, id: string, run: number): void {
    const conns = this.connsOf(session);
    this.#ledger.noted(
      id,
      run,
      conns.map((conn) => this.#labels.get(conn)!),
    );
    for (const conn of conns) conn.send('note', id, run);
  }

  #pause(what: string, waits: number, then: () => unknown): unknown {
    if (waits === 0) return then();
    return new Promise<void>((goOn) => this.#waiting.push({ what, goOn })).then(() =>
      this.#pause(what, waits - 1, then),
    );
  }
}

function textOf({ count, log, leftovers }: Data): string {
  return `${count}: ${log.map(({ id, run }) => `${id}.${run}`).join()} / ${leftovers.join()}`;
}

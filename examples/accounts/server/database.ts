import { ClassicLevel } from 'classic-level';

/** A row to write; without a value it is deleted. */
export type Row = [key: string, value: unknown];

/**
 * Users and notes, in a LevelDB of their own: the store of the sessions holds sessions and nothing else.
 *
 * That makes two databases which a crash can leave apart: a handler may run again although what it wrote here is there
 * already. So everything that is written here can be recognised (`Edit.revision`).
 */
export class Database {
  readonly #level: ClassicLevel<string, unknown>;
  #turn: Promise<unknown> = Promise.resolve();

  private constructor(level: ClassicLevel<string, unknown>) {
    this.#level = level;
  }

  /** @throws when another process has the folder open. */
  static async open(folder: string): Promise<Database> {
    const level = new ClassicLevel<string, unknown>(folder, { valueEncoding: 'json' });
    await level.open();
    return new Database(level);
  }

  async get<T>(key: string): Promise<T | undefined> {
    return (await this.#level.get(key)) as T | undefined;
  }

  /** What follows the prefix in keys, in order. */
  async keys(prefix: string): Promise<string[]> {
    const keys = await this.#level.keys({ gt: prefix, lt: `${prefix}\uffff` }).all();
    return keys.map((key) => key.slice(prefix.length));
  }

  /** Writes all or nothing; durable when it resolves. */
  async write(rows: readonly Row[]): Promise<void> {
    const batch = rows.map(([key, value]) =>
      value === undefined ? ({ type: 'del', key } as const) : ({ type: 'put', key, value } as const),
    );
    await this.#level.batch(batch, { sync: true });
  }

  /** Runs what reads and then writes, one after the other: two devices may change the same note. */
  inTurn<T>(work: () => Promise<T>): Promise<T> {
    const done = this.#turn.then(work);
    this.#turn = done.catch(() => undefined); // Told to whoever has called.
    return done;
  }

  async close(): Promise<void> {
    await this.#turn;
    await this.#level.close();
  }
}

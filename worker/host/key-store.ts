/** One record to write, or to delete when the value is `undefined`. */
export type Write = readonly [key: string, value: unknown];

/**
 * Where a host keeps its identities. Values are structured clones, so a store in a browser can keep a
 * `CryptoKey` that nobody can export.
 */
export interface KeyStore {
  /** `memory`: what it keeps ends with the host. */
  readonly storage: 'persistent' | 'memory';
  /**
   * Reads every record whose key begins with `prefix`, in the order of the keys.
   *
   * @throws when the medium fails; that never means "there is no record".
   */
  read(prefix: string): Promise<ReadonlyMap<string, unknown>>;
  /**
   * Reads the records under `prefix` and writes what `change` makes of them, in one transaction that is durable
   * when the promise resolves.
   *
   * When there is nothing to write it costs no more than a read.
   *
   * @param change Synchronous. It can run more than once, each time with the records as they are then.
   * @throws what `change` throws; and when the medium fails, in which case nothing was written or, after a time
   * limit, perhaps everything.
   */
  update(prefix: string, change: (records: ReadonlyMap<string, unknown>) => readonly Write[]): Promise<void>;
}

/** Keeps identities as long as the process lives: for tests, and for hosts that must leave no trace. */
export class MemoryKeyStore implements KeyStore {
  readonly storage: KeyStore['storage'];
  readonly #records = new Map<string, unknown>();

  /** @param storage What it says of itself; tests play a persistent one. */
  constructor(storage: KeyStore['storage'] = 'memory') {
    this.storage = storage;
  }

  async read(prefix: string): Promise<ReadonlyMap<string, unknown>> {
    return this.#under(prefix);
  }

  async update(
    prefix: string,
    change: (records: ReadonlyMap<string, unknown>) => readonly Write[],
  ): Promise<void> {
    // Nothing may come between the records that it is shown and those that it writes.
    for (const [key, value] of change(this.#under(prefix))) {
      if (value === undefined) this.#records.delete(key);
      else this.#records.set(key, value);
    }
  }

  #under(prefix: string): Map<string, unknown> {
    return new Map([...this.#records].filter(([key]) => key.startsWith(prefix)).sort(byKey));
  }
}

function byKey([a]: [string, unknown], [b]: [string, unknown]): number {
  return a < b ? -1 : 1;
}

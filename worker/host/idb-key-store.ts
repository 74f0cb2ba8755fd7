import { createStore, promisifyRequest } from 'idb-keyval';
import type { UseStore } from 'idb-keyval';
import type { KeyStore, Write } from './key-store.ts';

/** The database of the identities of one origin. */
export const IDENTITY_DATABASE = 'webgram-sessions';
const OBJECT_STORE = 'identities';
/** How long one call to IndexedDB may take, in ms: `open` can hang for ever (issue WebKit/WebKit#226547). */
const CALL_LIMIT_MS = 3_000;
/** How long a database that was silent is not called again, in ms: a server waits for its proof only once. */
const SILENCE_MS = 60_000;

/**
 * Keeps identities in IndexedDB, in a database of its own.
 *
 * Every call has a time limit and is tried a second time on a database that was opened anew; when that fails as well,
 * calls of the next minute fail at once. Writes ask for strict durability, because IndexedDB commits are relaxed by
 * default.
 *
 * @see https://developer.mozilla.org/docs/Web/API/IDBTransaction/durability
 */
export class IdbKeyStore implements KeyStore {
  readonly storage = 'persistent';
  readonly #database: string;
  readonly #limitMs: number;
  #use: UseStore;
  #silentUntilMs = 0;

  constructor(database = IDENTITY_DATABASE, limitMs = CALL_LIMIT_MS) {
    this.#database = database;
    this.#limitMs = limitMs;
    this.#use = createStore(database, OBJECT_STORE);
  }

  read(prefix: string): Promise<ReadonlyMap<string, unknown>> {
    return this.#call('readonly', (store) => readUnder(store, prefix));
  }

  update(prefix: string, change: (records: ReadonlyMap<string, unknown>) => readonly Write[]): Promise<void> {
    // idb-keyval opens transactions without options, so its own one only leads to the database here.
    return this.#call('readonly', (store) => {
      const transaction = store.transaction.db.transaction(OBJECT_STORE, 'readwrite', {
        durability: 'strict',
      });
      const written = promisifyRequest(transaction);
      const target = transaction.objectStore(OBJECT_STORE);
      // Nothing but the reads may stand between here and the writes: the transaction would end.
      const changed = readUnder(target, prefix).then((records) => {
        try {
          for (const [key, value] of change(records)) {
            if (value === undefined) target.delete(key);
            else target.put(value, key);
          }
        } catch (error) {
          transaction.abort();
          throw error;
        }
      });
      return Promise.all([changed, written]).then(() => undefined);
    });
  }

  async #call<T>(mode: IDBTransactionMode, work: (store: IDBObjectStore) => Promise<T>): Promise<T> {
    if (performance.now() < this.#silentUntilMs) throw new Silence();
    const tryOnce = (): Promise<T> => within(this.#limitMs, this.#use(mode, work));
    return tryOnce().catch(() => {
      // A handle whose open failed or hung, or whose database was closed under it, stays useless: a new one.
      this.#use = createStore(this.#database, OBJECT_STORE);
      return tryOnce().catch((error: unknown) => {
        if (error instanceof Silence) this.#silentUntilMs = performance.now() + SILENCE_MS;
        throw error;
      });
    });
  }
}

function readUnder(store: IDBObjectStore, prefix: string): Promise<ReadonlyMap<string, unknown>> {
  const range = IDBKeyRange.bound(prefix, `${prefix}\uffff`);
  return Promise.all([
    promisifyRequest(store.getAllKeys(range)),
    promisifyRequest<unknown[]>(store.getAll(range)),
  ]).then(([keys, values]) => new Map(keys.map((key, i) => [key as string, values[i]])));
}

class Silence extends Error {}

function within<T>(limitMs: number, work: Promise<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => {
      reject(new Silence());
    }, limitMs);
    work.then(resolve, reject).finally(() => {
      clearTimeout(timer);
    });
  });
}

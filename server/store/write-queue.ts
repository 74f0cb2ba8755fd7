import type { WebgramError } from 'webgram';

/** Reads one row; `undefined` when there is none. */
export type Read = (key: string) => string | undefined;

/** One row of a batch; a value of `undefined` deletes it. */
export type Write = readonly [key: string, value: string | undefined];

/** What an operation wants written, and what its caller gets when it is. */
export interface Plan<Result> {
  result: Result;
  writes: Write[];
}

/** Decides without waiting, from what `read` says now. What it throws rejects this operation alone. */
export type Planner<Result> = (read: Read) => Plan<Result>;

/**
 * How soon and how safe: `synced` survives a loss of power and `written` survives `kill -9`, both go with the
 * next batch; `lazy` is like `written` and waits up to `LAZY_WRITE_MS` for a batch to go with.
 */
export type Durability = 'synced' | 'written' | 'lazy';

/** What a queue writes to. `write` is atomic, and its rows can be read once it has resolved. */
export interface Medium {
  read: Read;
  write(writes: Write[], synced: boolean): Promise<void>;
}

/** How long a lazy operation waits for a batch to go with. */
export const LAZY_WRITE_MS = 50;

/** A batch takes no more operations than this, so that planning one does not hold up the process. */
export const MAX_BATCH_OPERATIONS = 1024;

/** A batch takes no more operations once its rows are this long, in UTF-16 code units. */
export const MAX_BATCH_LENGTH = 4 * 1024 * 1024;

interface Waiting {
  plan: Planner<unknown>;
  durability: Durability;
  resolve: (result: unknown) => void;
  reject: (error: unknown) => void;
}

/**
 * - `idle` → `lazy` → `scheduled` → `writing` → any of them.
 * - `held`: a write has failed; operations wait for `resume` or `refuse`.
 * - `refusing`: operations are refused at once, until `resume`.
 */
type State =
  | { name: 'idle' }
  | { name: 'lazy'; timer: NodeJS.Timeout }
  | { name: 'scheduled' }
  | { name: 'writing' }
  | { name: 'held' }
  | { name: 'refusing'; error: WebgramError };

/**
 * Group commit: operations that become ready while a batch is being written go out together as the next one.
 *
 * One batch is under way at a time. Operations are planned in the order of their calls when their batch is put
 * together, each on what is on the medium and what the operations before it in the batch will write. So
 * nothing about the rows is held in memory longer than one batch, and a batch that fails leaves no trace.
 *
 * After a write has failed nothing more is written to that medium: LevelDB's log may end in half a record then, and
 * what is appended to it would be dropped when the log is read again, acknowledged or not. Operations that are not
 * planned yet wait until somebody has found out more, and go on when there is a medium again.
 */
export class WriteQueue {
  readonly #failed: (cause: unknown, length: number) => Promise<WebgramError>;
  #medium: Medium;
  #waiting: Waiting[] = [];
  #state: State = { name: 'idle' };

  /**
   * @param failed A write has failed; its rows are this long. Says what its operations are rejected with, and sees to it
   * that `resume` or `refuse` is called.
   */
  constructor(medium: Medium, failed: (cause: unknown, length: number) => Promise<WebgramError>) {
    this.#medium = medium;
    this.#failed = failed;
  }

  /** Goes on with what is waiting, on a medium that works. */
  resume(medium: Medium): void {
    this.#medium = medium;
    this.#state = { name: 'idle' };
    if (this.#waiting.length > 0) this.#schedule(false);
  }

  /** Rejects what is waiting, and what comes, until `resume`. */
  refuse(error: WebgramError): void {
    this.#state = { name: 'refusing', error };
    for (const { reject } of this.#waiting.splice(0)) reject(error);
  }

  /**
   * Adds an operation.
   *
   * @returns The plan's result, once its batch is written.
   * @throws {WebgramError} what `failed` or `refuse` says. After the first the batch may have been written or not.
   */
  add<Result>(durability: Durability, plan: Planner<Result>): Promise<Result> {
    if (this.#state.name === 'refusing') return Promise.reject(this.#state.error);
    return new Promise<Result>((resolve, reject) => {
      this.#waiting.push({ plan, durability, resolve: resolve as (result: unknown) => void, reject });
      this.#schedule(durability === 'lazy');
    });
  }

  /** Waits until everything that was added before is written or rejected. Does not reject itself. */
  drain(): Promise<void> {
    return this.add('written', () => ({ result: undefined, writes: [] })).catch(() => {
      // The operations that failed have told their callers.
    });
  }

  #schedule(lazily: boolean): void {
    if (this.#state.name !== 'idle' && this.#state.name !== 'lazy') return;
    if (lazily && this.#state.name === 'lazy') return;
    if (this.#state.name === 'lazy') clearTimeout(this.#state.timer);
    if (lazily) {
      this.#state = { name: 'lazy', timer: setTimeout(() => void this.#writeBatch(), LAZY_WRITE_MS) };
    } else {
      this.#state = { name: 'scheduled' };
      // After the promises that are ready now, as they may bring more operations: not a fixed delay.
      process.nextTick(() => void this.#writeBatch());
    }
  }

  async #writeBatch(): Promise<void> {
    this.#state = { name: 'writing' };
    const batch = this.#planBatch();
    try {
      if (batch.rows.size > 0) await this.#medium.write([...batch.rows], batch.synced);
    } catch (cause) {
      this.#state = { name: 'held' };
      const length = [...batch.rows].reduce((sum, [, value]) => sum + (value?.length ?? 0), 0);
      const error = await this.#failed(cause, length);
      for (const { reject } of batch.operations) reject(error);
      return;
    }
    for (const settle of batch.settle) settle();
    this.#state = { name: 'idle' };
    if (this.#waiting.length > 0)
      this.#schedule(this.#waiting.every(({ durability }) => durability === 'lazy'));
  }

  #planBatch() {
    const rows = new Map<string, string | undefined>();
    const read: Read = (key) => (rows.has(key) ? rows.get(key) : this.#medium.read(key));
    const operations: Waiting[] = [];
    const settle: (() => void)[] = [];
    let synced = false;
    let length = 0;
    for (const operation of this.#waiting) {
      if (operations.length === MAX_BATCH_OPERATIONS || length >= MAX_BATCH_LENGTH) break;
      operations.push(operation);
      try {
        const { result, writes } = operation.plan(read);
        for (const [key, value] of writes) {
          rows.set(key, value);
          length += key.length + (value?.length ?? 0);
        }
        synced ||= operation.durability === 'synced' && writes.length > 0;
        settle.push(() => operation.resolve(result));
      } catch (error) {
        // It may rest on rows of this batch, so it is told with the batch and not before.
        settle.push(() => operation.reject(error));
      }
    }
    this.#waiting.splice(0, operations.length);
    return { rows, operations, settle, synced };
  }
}

import { isPromiseLike } from 'webgram';

export interface GateOptions<T> {
  /** Tasks that may wait before those who bring them are told to pause. */
  maxQueued: number;
  do: (task: T) => void | PromiseLike<void>;
  /** A task threw, which is a fault of ours. */
  failed: (error: unknown) => void;
  /** Too many wait. @returns Whether it may be told to pause now. */
  full: () => boolean;
  /** There is room again. */
  room: () => void;
  /** Nothing is under way and nothing waits. */
  idle: () => void;
}

/** The input gate of a session: what goes through it is done one at a time, in order. */
export class Gate<T> {
  readonly #options: GateOptions<T>;
  readonly #tasks: T[] = [];
  #isRunning = false;
  #isPaused = false;
  #hasEnded = false;

  constructor(options: GateOptions<T>) {
    this.#options = options;
  }

  /** A task is under way. */
  get isRunning(): boolean {
    return this.#isRunning;
  }

  get isEmpty(): boolean {
    return this.#tasks.length === 0;
  }

  /** Those who bring tasks were told to pause. */
  get isPaused(): boolean {
    return this.#isPaused;
  }

  /** Does the task at once when nothing is under way. */
  enqueue(task: T): void {
    if (this.#hasEnded) return;
    this.#tasks.push(task);
    const { maxQueued, full } = this.#options;
    if (this.#tasks.length >= maxQueued && !this.#isPaused) this.#isPaused = full();
    if (!this.#isRunning) this.#work();
  }

  /** Tells those who bring tasks that there is room, also where there is none. */
  unpause(): void {
    if (!this.#isPaused) return;
    this.#isPaused = false;
    this.#options.room();
  }

  /** Does no more. @returns What has not been begun. */
  end(): T[] {
    this.#hasEnded = true;
    return this.#tasks.splice(0);
  }

  /** Synchronous handlers of one frame are done within its tick. */
  #work(): void {
    const { failed, idle } = this.#options;
    this.#isRunning = true;
    for (let task = this.#tasks.shift(); task !== undefined; task = this.#tasks.shift()) {
      try {
        const working = this.#options.do(task);
        if (isPromiseLike(working)) {
          void this.#goOnAfter(working);
          return;
        }
      } catch (error) {
        failed(error);
      }
      this.#done();
    }
    this.#isRunning = false;
    idle();
  }

  async #goOnAfter(working: PromiseLike<void>): Promise<void> {
    try {
      await working;
    } catch (error) {
      this.#options.failed(error);
    }
    this.#done();
    this.#work();
  }

  #done(): void {
    if (this.#tasks.length < this.#options.maxQueued / 2) this.unpause();
  }
}

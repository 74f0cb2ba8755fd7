interface Request {
  readonly name: string;
  readonly isShared: boolean;
  /** It is had. */
  readonly grant: () => void;
  /** It is taken away, or cannot be had. */
  readonly fail: (error: Error) => void;
}

/** Web Locks in memory, as far as tabs use them; all tabs of a test share them. */
export class FakeLocks {
  readonly #held = new Set<Request>();
  #queue: Request[] = [];

  isHeld(name: string): boolean {
    return this.names.includes(name);
  }

  /** Of all that are held, in the order in which they were had. */
  get names(): string[] {
    return [...this.#held].map(({ name }) => name);
  }

  /** As `LockManager.query`, but for who waits. */
  query(): Promise<{ held: { name: string }[] }> {
    return Promise.resolve({ held: this.names.map((name) => ({ name })) });
  }

  /** As `LockManager.request` with all three arguments. */
  request(
    name: string,
    { mode, signal, steal, ifAvailable }: LockOptions,
    run: (lock: object | null) => unknown,
  ): Promise<unknown> {
    return new Promise((resolve, fail) => {
      const isShared = mode === 'shared';
      const grant = (): void => {
        void Promise.resolve()
          .then(() => run({ name }))
          .then((value) => {
            this.#held.delete(request);
            this.#next();
            resolve(value);
          }, fail);
      };
      const request: Request = { name, isShared, grant, fail };
      if (ifAvailable === true && this.#isBarred(request)) {
        resolve(run(null));
        return;
      }
      if (steal === true) {
        this.#queue.unshift(request);
        this.take(name);
      } else this.#queue.push(request);
      signal?.addEventListener('abort', () => {
        this.#queue = this.#queue.filter((one) => one !== request);
        fail(new DOMException('aborted', 'AbortError'));
      });
      this.#next();
    });
  }

  /** Takes a lock from whoever holds it, as a thief does; or ends a tab that holds it. */
  take(name: string): void {
    for (const one of this.#held) {
      if (one.name !== name) continue;
      this.#held.delete(one);
      one.fail(new DOMException('stolen', 'AbortError'));
    }
    this.#next();
  }

  #isBarred({ name, isShared }: Request): boolean {
    return [...this.#held].some((one) => one.name === name && !(isShared && one.isShared));
  }

  #next(): void {
    for (const request of [...this.#queue]) {
      if (this.#isBarred(request)) continue;
      this.#queue = this.#queue.filter((one) => one !== request);
      this.#held.add(request);
      request.grant();
    }
  }
}

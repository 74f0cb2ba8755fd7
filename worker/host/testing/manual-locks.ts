/** Web Locks in memory: one holder each. */
export class ManualLocks {
  readonly #held = new Set<string>();
  readonly #watchers = new Map<string, Set<() => void>>();

  hold(name: string): void {
    this.#held.add(name);
  }

  release(name: string): void {
    this.#held.delete(name);
    const watchers = [...(this.#watchers.get(name) ?? [])];
    this.#watchers.delete(name);
    for (const gone of watchers) gone();
  }

  watch(name: string, gone: () => void): () => void {
    if (!this.#held.has(name)) {
      let isWatched = true;
      queueMicrotask(() => {
        if (isWatched) gone();
      });
      return () => {
        isWatched = false;
      };
    }
    const watchers = this.#watchers.get(name) ?? new Set();
    this.#watchers.set(name, watchers.add(gone));
    return () => watchers.delete(gone);
  }

  get watched(): number {
    let count = 0;
    for (const watchers of this.#watchers.values()) count += watchers.size;
    return count;
  }
}

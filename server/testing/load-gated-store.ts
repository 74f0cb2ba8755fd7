import { MemoryStore } from '../store/memory-store.ts';

/** A store that has read a session and does not say so while its gate is shut. */
export class LoadGatedStore extends MemoryStore {
  /** A load waits at the gate. */
  isLoading = false;
  #gate: Promise<void> | undefined;

  /** @returns What opens it. */
  shut(): () => void {
    let open = (): void => undefined;
    this.#gate = new Promise((resolve) => (open = resolve));
    return open;
  }

  override async load(...args: Parameters<MemoryStore['load']>) {
    const loaded = await super.load(...args);
    this.isLoading = this.#gate !== undefined;
    await this.#gate;
    return loaded;
  }
}

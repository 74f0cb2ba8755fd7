// eslint-disable-next-line @typescript-eslint/no-explicit-any -- the maps of an application give the types
export type Listener = (...args: any[]) => unknown;

/** Functions by message type or event name, in the order in which they came. */
export class Listeners {
  readonly #byType = new Map<string, Listener[]>();

  /** @returns The function that takes the listener away again; idempotent. */
  on(type: string, listener: Listener): () => void {
    this.#byType.set(type, [...this.of(type), listener]);
    return () => {
      this.#byType.set(
        type,
        this.of(type).filter((one) => one !== listener),
      );
    };
  }

  /** Like `on`, for one call. */
  once(type: string, listener: Listener): () => void {
    const off = this.on(type, (...args: unknown[]) => {
      off();
      return listener(...args);
    });
    return off;
  }

  /** Not changed by listeners that come or go later. */
  of(type: string): readonly Listener[] {
    return this.#byType.get(type) ?? [];
  }
}

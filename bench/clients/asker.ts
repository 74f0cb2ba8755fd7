/** One connection of the load. As lean as it can be: nothing here is to be the bottleneck. */
export interface Asker {
  /** Asks, and calls back with the answer. */
  ask(type: string, data: string, done: () => void): void;
  /** Cuts the connection, without a word. */
  cut(): void;
}

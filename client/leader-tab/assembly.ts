import type { Unfinished } from '../../worker/host/unfinished.ts';

/** What the tabs of one browser say to each other to find their leader. */
export type Word =
  /** A tab looks for the leader, and listens on the channel of that name for its `welcome`. */
  | { kind: 'seek'; port: string }
  /** A tab leads from now on. */
  | { kind: 'lead' }
  /** A leader goes away, and leaves this to the next one. */
  | { kind: 'unfinished'; unfinished: Unfinished[] };

/** Where all tabs of an origin hear each other. Every script of the origin can speak there. */
export class Assembly {
  readonly #channel = new BroadcastChannel('webgram-leader');

  /** @param hear Called with what other tabs say, never with what this one says. */
  constructor(hear: (word: Word) => void) {
    this.#channel.onmessage = ({ data }: MessageEvent<unknown>) => {
      if (typeof data === 'object' && data !== null && 'kind' in data) hear(data as Word);
    };
  }

  say(word: Word): void {
    this.#channel.postMessage(word);
  }

  close(): void {
    this.#channel.close();
  }
}

import type { NumberedUp } from '../../worker/host/stream-copy.ts';
import type { Unfinished } from '../../worker/host/unfinished.ts';

/** What the tabs of one browser say to each other to find their leader, and to know what it leaves behind. */
export type Word =
  /** A tab looks for the leader. */
  | { kind: 'seek' }
  /**
   * A tab leads: said when it begins, to whoever looks for it, and when its own clients attach. `unfinished` is what the
   * next one has to finish for these clients if it dies.
   */
  | { kind: 'lead'; incarnation: string; unfinished: Unfinished[] }
  /** A leader's own client has sent more. */
  | { kind: 'more'; incarnation: string; tabID: string; ups: NumberedUp[] }
  /** A tab wants to be served by that leader, and listens on the channel of that name for its `welcome`. */
  | { kind: 'call'; incarnation: string; port: string }
  /** A leader goes away, and leaves this to the next one. */
  | { kind: 'unfinished'; incarnation: string; unfinished: Unfinished[] }
  /** A tab tells the leader what one before it has left: it may not have been there to hear it. */
  | { kind: 'legacy'; unfinished: Unfinished[] };

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

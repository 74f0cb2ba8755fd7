import { WebgramError } from 'webgram';
import type { KeyStore, Write } from '../key-store.ts';
import { EMPTY_HEAD, headKey, messageKey, parseHead, parseMessage, queuePrefix } from './queue-records.ts';
import type { QueuedMessage, QueueHead } from './queue-records.ts';

/** Everything that is queued at one address. */
export interface Books {
  head: QueueHead;
  /** In order. */
  messages: readonly QueuedMessage[];
}

/** What is to be written together. */
export interface Change {
  /** Of the head, what changes. */
  head?: Partial<Pick<QueueHead, 'next' | 'streams' | 'clients'>>;
  /** New messages, and those that take the place of one with their number. */
  put?: readonly QueuedMessage[];
  drop?: readonly QueuedMessage[];
}

/**
 * The queue of one address in a host's storage. What is read stays in memory; a write counts only when nobody else has
 * written since, and is tried again on what stands there otherwise, so that two hosts never give a number twice.
 */
export class QueueStore {
  readonly #store: KeyStore;
  readonly #address: string;
  #books: Books | undefined;
  /** One at a time. */
  #last: Promise<unknown> = Promise.resolve();

  constructor(store: KeyStore, address: string) {
    this.#store = store;
    this.#address = address;
  }

  /** What was read or written last; empty before. */
  get books(): Books {
    return this.#books ?? NO_BOOKS;
  }

  /** Forgets what is in memory: another host may have written. */
  forget(): void {
    this.#books = undefined;
  }

  /**
   * Makes a change, durable when the promise resolves.
   *
   * @param step Returns what to write, if anything. It can run more than once, each time with what stands there then.
   * @throws {WebgramError} `WEBGRAM_STORAGE_FAILED`, and then it is not known whether it was made; or
   * `WEBGRAM_VERSION_SKEW`, and nothing was.
   */
  change(step: (books: Books) => Change | undefined): Promise<void> {
    const made = this.#last.then(() => this.#change(step));
    this.#last = made.catch(() => undefined);
    return made;
  }

  async #change(step: (books: Books) => Change | undefined): Promise<void> {
    try {
      while (!(await this.#tryTo(step)));
    } catch (error) {
      this.#books = undefined;
      if (error instanceof WebgramError) throw error;
      throw new WebgramError('WEBGRAM_STORAGE_FAILED', 'the storage of this browser fails', {
        retryable: true,
        cause: error,
      });
    }
  }

  /** @returns False when another host has written meanwhile. */
  async #tryTo(step: (books: Books) => Change | undefined): Promise<boolean> {
    const books = (this.#books ??= await this.#read());
    const change = step(books);
    if (change === undefined) return true;
    const next = applied(books, change);
    const key = headKey(this.#address);
    const writes: Write[] = [
      [key, next.head],
      ...(change.drop ?? []).map(({ n }): Write => [messageKey(this.#address, n), undefined]),
      ...(change.put ?? []).map((message): Write => [messageKey(this.#address, message.n), message]),
    ];
    let isOurs = false;
    await this.#store.update(key, (rows) => {
      isOurs = this.#headOf(rows).revision === books.head.revision;
      return isOurs ? writes : [];
    });
    this.#books = isOurs ? next : undefined;
    return isOurs;
  }

  async #read(): Promise<Books> {
    const rows = await this.#store.read(queuePrefix(this.#address));
    const head = this.#headOf(rows);
    const messages: QueuedMessage[] = [];
    for (const [key, value] of rows) {
      if (key === headKey(this.#address)) continue;
      const message = parseMessage(value);
      if (message === 'newer') throw newer();
      // One that cannot be understood leaves a hole, which the drain steps over.
      if (message === undefined) continue;
      const isNumbered = message.localID === null || head.streams[message.localID] !== undefined;
      messages.push(isNumbered ? message : { ...message, seq: 0 });
    }
    // Neither can a head: what it has counted begins behind what there is.
    return { head: { ...head, next: Math.max(head.next, (messages.at(-1)?.n ?? 0) + 1) }, messages };
  }

  #headOf(rows: ReadonlyMap<string, unknown>): QueueHead {
    const head = parseHead(rows.get(headKey(this.#address))) ?? EMPTY_HEAD;
    if (head === 'newer') throw newer();
    return head;
  }
}

const NO_BOOKS: Books = { head: EMPTY_HEAD, messages: [] };

function applied({ head, messages }: Books, { head: changed, put = [], drop = [] }: Change): Books {
  const gone = new Set([...put, ...drop].map(({ n }) => n));
  const kept = messages.filter(({ n }) => !gone.has(n));
  return {
    head: { ...head, ...changed, revision: head.revision + 1 },
    messages: [...kept, ...put].sort((a, b) => a.n - b.n),
  };
}

function newer(): WebgramError {
  return new WebgramError('WEBGRAM_VERSION_SKEW', 'a later version of the library keeps a queue here');
}

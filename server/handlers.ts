import { Listeners, type Listener } from 'webgram';
import type { Logger } from './log.ts';

const concurrentHandlers = new WeakSet<Listener>();

/**
 * Lets other messages of the session in while this handler waits.
 *
 * What it sends and answers takes effect when it has ended, as with any handler. What is lost: other handlers change
 * `sessionData` meanwhile, and a later message may have its effect first. So it can only read `sessionData`, and gets a
 * `TypeError` when it changes it: `conn.update(fn)` makes the change when no handler is under way, and resolves when it
 * is durable. That is a transaction of its own, which a later throw does not bring back; after a crash the handler runs
 * again, and `conn.messageId` tells whether its change was made before.
 */
export function concurrent<F extends Listener>(handler: F): F {
  const marked = ((...args: unknown[]) => handler(...args)) as F;
  concurrentHandlers.add(marked);
  return marked;
}

export function isConcurrent(handler: Listener): boolean {
  return concurrentHandlers.has(handler);
}

/** What the application has registered: listeners of messages and events, and what answers asks. */
export class Handlers {
  readonly #listeners = new Listeners();
  readonly #log: Logger;
  /** Answers by type. Only own properties count, so no inherited name can be called from outside. */
  readonly answer: Record<string, Listener> = {};
  /** What answers asks of the library's own, whose types begin with `$`. */
  readonly own = new Map<string, Listener>();

  constructor(log: Logger) {
    this.#log = log;
  }

  on(type: string, listener: Listener): () => void {
    return this.#listeners.on(type, listener);
  }

  once(type: string, listener: Listener): () => void {
    return this.#listeners.once(type, listener);
  }

  /** Listeners of a message or event. */
  of(type: string): readonly Listener[] {
    return this.#listeners.of(type);
  }

  /** What answers asks of that type, if anything does. */
  answerer(type: string): Listener | undefined {
    if (!Object.hasOwn(this.answer, type)) return undefined;
    const answerer = this.answer[type];
    return typeof answerer === 'function' ? answerer : undefined;
  }

  /** Tells every listener of an event, each in its own `try`; settles when all have. */
  async emit(event: string, listeners: readonly Listener[], ...args: unknown[]): Promise<void> {
    await Promise.all(
      listeners.map(async (listener) => {
        try {
          await listener(...args);
        } catch (error) {
          this.#log.error({ event, error }, `a listener of ${event} threw`);
        }
      }),
    );
  }
}

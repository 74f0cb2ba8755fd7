import { AsyncLocalStorage } from 'node:async_hooks';
import type { SessionStream, Sent } from './session-stream.ts';

/** What one handler has asked for so far; takes effect at its end, or not at all. */
export class HandlerRun {
  /** The session whose handler it is. */
  readonly session: object;
  /** The same on every run of one message. */
  readonly messageId: string | undefined;
  readonly #controller = new AbortController();
  readonly sent: { stream: SessionStream; message: Sent }[] = [];
  /** Sends to tabs of other sessions, behind the commit of this run. */
  readonly afterwards: (() => void)[] = [];
  wantsCommit = false;
  /** Sends of a message handler are durable with its effects; those of `$session-active` listeners need not be. */
  readonly sendsCommit: boolean;
  hasEnded = false;

  /** Brings the data back to what it was when the handler began, or when it last saved in its middle. */
  restore: () => void;

  constructor(session: object, messageId: string | undefined, sendsCommit: boolean, restore: () => void) {
    this.session = session;
    this.messageId = messageId;
    this.sendsCommit = sendsCommit;
    this.restore = restore;
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  /** The asker no longer waits, or the session ends on this node. */
  abort(reason: Error): void {
    this.#controller.abort(reason);
  }
}

const runs = new AsyncLocalStorage<HandlerRun>();

/** Calls `fn` as that run: whatever it starts knows by its async context where it belongs. */
export function within<T>(run: HandlerRun, fn: () => T): T {
  return runs.run(run, fn);
}

/** The run that the caller is part of; `undefined` outside of handlers and after their end. */
export function currentRun(session?: object): HandlerRun | undefined {
  const run = runs.getStore();
  if (run === undefined || run.hasEnded) return undefined;
  return session === undefined || run.session === session ? run : undefined;
}

import { AsyncLocalStorage } from 'node:async_hooks';
import type { SessionStream, Sent } from './session-stream.ts';

/** What one handler has asked for so far; takes effect at its end, or not at all. */
export class HandlerRun {
  /** The session whose handler it is. */
  readonly session: { readonly sessionID: number };
  /** The message that it handles; `undefined` when it handles none. */
  readonly message: { readonly stream: SessionStream; readonly seq: number } | undefined;
  /** Made when somebody asks for its signal: it is dearer than all the rest of a run. */
  #controller: AbortController | undefined;
  #aborted: Error | undefined;
  readonly sent: { stream: SessionStream; message: Sent }[] = [];
  /** Sends to tabs of other sessions, behind the commit of this run. */
  readonly afterwards: (() => void)[] = [];
  wantsCommit = false;
  /** Sends of a message handler are durable with its effects; those of `$session-active` listeners need not be. */
  readonly sendsCommit: boolean;
  hasEnded = false;
  /** Others are let in while it waits: what it changes goes through the gate, by `update`. */
  readonly isConcurrent: boolean;

  /** Brings the data back to what it was when the handler began, or when it last saved in its middle. */
  restore: () => void;

  /** @param restore `undefined` for a concurrent one, which has nothing to bring back. */
  constructor(
    session: HandlerRun['session'],
    message: HandlerRun['message'],
    sendsCommit: boolean,
    restore: (() => void) | undefined,
  ) {
    this.session = session;
    this.message = message;
    this.sendsCommit = sendsCommit;
    this.isConcurrent = restore === undefined;
    this.restore = restore ?? (() => undefined);
  }

  /** Names the message: the same on every run of it. */
  get messageId(): string | undefined {
    if (this.message === undefined) return undefined;
    const { stream, seq } = this.message;
    return `${this.session.sessionID}/${stream.tabID}/${seq}`;
  }

  get signal(): AbortSignal {
    this.#controller ??= new AbortController();
    if (this.#aborted !== undefined) this.#controller.abort(this.#aborted);
    return this.#controller.signal;
  }

  /** The asker no longer waits, or the session ends on this node. */
  abort(reason: Error): void {
    this.#aborted ??= reason;
    this.#controller?.abort(reason);
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

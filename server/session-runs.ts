import {
  isAskError,
  isPromiseLike,
  MAX_TYPE_LENGTH,
  WebgramError,
  type AnyApp,
  type AppShape,
  type EncodedBody,
  type Listener,
  type BodyCodec,
  type UpEnvelope,
  type WireError,
} from 'webgram';
import type { Committer } from './committer.ts';
import type { Conn } from './conn.ts';
import { HandlerRun, within } from './handler-run.ts';
import { isConcurrent, type Handlers } from './handlers.ts';
import type { Logger } from './log.ts';
import type { SessionData } from './session-data.ts';
import type { SessionStream } from './session-stream.ts';
import type { SessionTabs } from './session-tabs.ts';

export type MessageUp = Extract<UpEnvelope, { kind: 'send' | 'ask' | 'answer' }>;

export interface SessionRunsOptions<A extends AppShape> {
  /** Whose handlers these are; see `currentRun`. */
  session: { readonly sessionID: number };
  data: SessionData;
  committer: Committer;
  tabs: SessionTabs<A>;
  handlers: Handlers;
  log: Logger;
  /** @throws {WebgramError} `WEBGRAM_MESSAGE_TOO_LARGE` */
  checkSize: (body: EncodedBody) => void;
  /** For which answers are encoded now. */
  codec: () => BodyCodec;
  /** A concurrent handler has ended: `finish` is to be given to `finish` in its turn. */
  finished: (stream: SessionStream, finish: () => void) => void;
}

/** What handles a message: its listeners in order, or what answers it. */
interface Handler {
  isConcurrent: boolean;
  call(args: unknown[]): unknown;
}

/** A handler that holds its session longer than this is named in the log, in ms. */
const SLOW_HANDLER_MS = 1_000;

const NONE: ReadonlySet<never> = new Set<never>();

/**
 * Runs the handlers of a session, each as a transaction: what it changed and saved, that it has run, and what it sent
 * are kept together or not at all. architecture.md, section 5.
 *
 * When a handler's turn comes is the gate's to say.
 */
export class SessionRuns<A extends AppShape = AnyApp> {
  readonly #options: SessionRunsOptions<A>;
  /** Those that handle a message and are under way. */
  readonly #runs = new Set<HandlerRun>();
  /** Concurrent handlers under way. */
  #concurrent = 0;
  #hasEnded = false;

  constructor(options: SessionRunsOptions<A>) {
    this.#options = options;
  }

  /** No concurrent handler is under way. */
  get isIdle(): boolean {
    return this.#concurrent === 0;
  }

  /** Nothing that is under way has an effect any more. */
  end(reason: Error): void {
    this.#hasEnded = true;
    for (const run of this.#runs) run.abort(reason);
  }

  /** The asker no longer waits. */
  cancel(stream: SessionStream, asked: number): void {
    for (const run of this.#runs) {
      if (run.message?.stream !== stream || run.message.seq !== asked) continue;
      run.abort(new WebgramError('WEBGRAM_ABORTED', 'the asker no longer waits', { received: true }));
    }
  }

  /** Tells the application of a tab. Handling starts when all listeners of `$session-active` have settled. */
  activate(stream: SessionStream): void | PromiseLike<void> {
    const { session, tabs, handlers } = this.#options;
    const conn = tabs.connOf(stream);
    if (conn === undefined) return;
    const onServer = handlers.of('$session-active');
    const onConnect = [...handlers.of('$connect'), ...handlers.of('$opened')];
    if (onServer.length + onConnect.length === 0) return;
    const run = new HandlerRun(session, undefined, false, () => undefined);
    return within(run, async () => {
      await handlers.emit('$connect', onConnect, conn);
      await handlers.emit('$session-active', onServer, conn);
      await handlers.emit('$session-active', conn.listenersOf('$session-active'));
      this.#finish(run, stream, undefined, undefined);
    });
  }

  /** Handles a message that was taken. Resolves when the next one may be handled; does not reject. */
  handle(stream: SessionStream, message: MessageUp): void | PromiseLike<void> {
    const { session, data, committer, tabs, log } = this.#options;
    const conn = tabs.connOf(stream);
    // The application has closed the connection: what its tab had sent before is not handled any more.
    if (conn === undefined) return;
    if (message.kind === 'answer') {
      conn.settleAsk(message.asked, message.error, message.value);
      stream.markHandled(message.seq, committer.lastBarrier);
      tabs.flush(stream);
      return;
    }
    const { type, args, seq } = message;
    const handler = this.#handlerOf(message.kind, type, conn);
    if (handler === undefined) {
      log[stream.isQueue ? 'warn' : 'debug']({ type }, 'no handler for a message');
      const error = { code: 'WEBGRAM_NO_HANDLER', message: `nobody handles '${type}'` };
      this.#finish(new HandlerRun(session, undefined, false, () => undefined), stream, message, { error });
      return;
    }
    const restore = handler.isConcurrent ? undefined : data.checkpoint();
    const run = new HandlerRun(session, { stream, seq }, true, restore);
    this.#runs.add(run);
    stream.running += 1;
    let result: unknown;
    try {
      result = within(run, () => handler.call(args));
    } catch (error) {
      this.#fail(run, stream, message, error);
      return;
    }
    if (!isPromiseLike(result)) {
      this.#succeed(run, stream, message, result);
      return;
    }
    if (handler.isConcurrent) {
      this.#letOthersIn(result, run, stream, message);
      return;
    }
    const slow = setTimeout(() => {
      log.warn(
        { sessionID: session.sessionID, type },
        `a handler holds its session for more than ${SLOW_HANDLER_MS} ms; concurrent(fn) lets others in meanwhile`,
      );
    }, SLOW_HANDLER_MS);
    slow.unref();
    return result.then(
      (value) => {
        clearTimeout(slow);
        this.#succeed(run, stream, message, value);
      },
      (error: unknown) => {
        clearTimeout(slow);
        this.#fail(run, stream, message, error);
      },
    );
  }

  /** Its effects come in through the gate when it has ended. */
  #letOthersIn(
    result: PromiseLike<unknown>,
    run: HandlerRun,
    stream: SessionStream,
    message: MessageUp,
  ): void {
    this.#concurrent += 1;
    const end = (finish: () => void): void => {
      if (!this.#hasEnded) this.#options.finished(stream, finish);
    };
    result.then(
      (value) => {
        end(() => {
          this.#succeed(run, stream, message, value);
        });
      },
      (error: unknown) => {
        end(() => {
          this.#fail(run, stream, message, error);
        });
      },
    );
  }

  /** Takes the effects of a concurrent handler in, in its turn. */
  finish(stream: SessionStream, finish: () => void): void {
    this.#concurrent -= 1;
    finish();
    if (stream.running > 0) return;
    stream.whenIdle?.();
    stream.whenIdle = undefined;
  }

  /** Handles a message without number: best effort both ways, outside of the gate. */
  handleVolatile(stream: SessionStream, type: string, args: unknown[]): void {
    const conn = this.#options.tabs.connOf(stream);
    const handler = conn === undefined ? undefined : this.#handlerOf('send', type, conn);
    if (handler === undefined) return;
    void this.#options.handlers.emit(type, [() => handler.call(args)]);
  }

  /** Runs a transaction of the application's own; `done` is called when it is durable, or with what went wrong. */
  async update(change: () => unknown, done: (error?: Error) => void): Promise<void> {
    const { session, data, committer, tabs } = this.#options;
    const run = new HandlerRun(session, undefined, true, data.checkpoint());
    try {
      await within(run, change);
      committer.want();
    } catch (error) {
      run.hasEnded = true;
      run.restore();
      done(toError(error));
      return;
    }
    this.#release(run);
    committer.whenConfirmed(committer.lastBarrier, done);
    committer.commitIfWanted(false);
    tabs.flushAll();
  }

  /** Commits in the middle of a handler: what it has changed so far, not that it has run. */
  async saveNow(run: HandlerRun): Promise<void> {
    const { data, committer } = this.#options;
    committer.want();
    run.restore = data.checkpoint();
    const barrier = committer.lastBarrier;
    await new Promise<void>((resolve, reject) => {
      committer.whenConfirmed(barrier, (error) => {
        if (error === undefined) resolve();
        else reject(error);
      });
      committer.commitNow();
    });
  }

  /** All listeners of a message are one handler; an ask that only has listeners is answered with nothing. */
  #handlerOf(kind: 'send' | 'ask', type: string, conn: Conn<A>): Handler | undefined {
    const { handlers } = this.#options;
    // Events of the library have listeners under such names, which are nobody's to call from outside.
    if (type.startsWith('$')) {
      const own = kind === 'ask' ? handlers.own.get(type) : undefined;
      return own && { isConcurrent: true, call: (args) => own(conn, ...args) };
    }
    const answerer = kind === 'ask' ? handlers.answerer(type) : undefined;
    if (answerer !== undefined) {
      return { isConcurrent: isConcurrent(answerer), call: (args) => answerer(conn, ...args) };
    }
    const onServer = handlers.of(type);
    const onConn = conn.listenersOf(type);
    if (onServer.length + onConn.length === 0) return undefined;
    return {
      isConcurrent: [...onServer, ...onConn].every(isConcurrent),
      call: (args) =>
        inOrder([
          ...onServer.map((listener: Listener) => () => listener(conn, ...args)),
          ...onConn.map((listener: Listener) => () => listener(...args)),
        ]),
    };
  }

  // ---- the end of a handler

  #succeed(run: HandlerRun, stream: SessionStream, message: MessageUp, value: unknown): void {
    if (this.#hasEnded) return;
    let body: EncodedBody | undefined;
    try {
      if (message.kind === 'ask') {
        body = this.#encodeAnswer(null, value);
        this.#options.checkSize(body);
      }
      if (run.wantsCommit) this.#options.committer.want();
    } catch (error) {
      this.#fail(run, stream, message, error);
      return;
    }
    this.#finish(run, stream, message, body === undefined ? undefined : { body });
  }

  #fail(run: HandlerRun, stream: SessionStream, message: MessageUp, thrown: unknown): void {
    if (this.#hasEnded) return;
    run.sent.length = run.afterwards.length = 0;
    run.wantsCommit = false;
    run.restore();
    const type = message.kind === 'answer' ? '' : message.type;
    this.#finish(run, stream, message, { error: this.#toWireError(type, thrown) });
  }

  /** A stranger learns what is in an `AskError`, and of anything else only that it failed. */
  #toWireError(type: string, thrown: unknown): WireError {
    const { session, log, checkSize } = this.#options;
    if (isAskError(thrown)) {
      const { code, message, data } = thrown;
      const error: WireError = data === undefined ? { code, message } : { code, message, data };
      try {
        checkAskError(error);
        checkSize(this.#encodeAnswer(error, null));
        return error;
      } catch (cause) {
        log.error({ sessionID: session.sessionID, type, error: cause }, 'an AskError cannot be sent');
      }
    } else {
      log.error({ sessionID: session.sessionID, type, error: thrown }, 'a handler threw');
    }
    return { code: 'WEBGRAM_HANDLER_FAILED', message: 'the handler failed' };
  }

  /** Queues what a run has produced behind the commit it depends on. */
  #finish(
    run: HandlerRun,
    stream: SessionStream,
    message: MessageUp | undefined,
    answer: { body: EncodedBody } | { error: WireError } | undefined,
  ): void {
    if (this.#hasEnded) return;
    const { committer, tabs } = this.#options;
    if (this.#runs.delete(run)) stream.running -= 1;
    if (run.wantsCommit && message === undefined) this.#want();
    if (run.sendsCommit && run.sent.length + run.afterwards.length > 0) committer.wantWithoutData();
    // What is in a queue was promised to arrive once, for as long as the session lives.
    if (stream.isQueue && message !== undefined) committer.wantWithoutData();
    const touched = this.#release(run);
    const barrier = committer.lastBarrier;
    if (message?.kind === 'ask' && answer !== undefined) {
      const body = 'body' in answer ? answer.body : this.#encodeAnswer(answer.error, null);
      tabs.push(stream, { kind: 'answer', asked: message.seq, body }, barrier);
    }
    if (message !== undefined) stream.markHandled(message.seq, barrier);
    committer.commitIfWanted(false);
    for (const one of touched) if (one !== stream) tabs.flush(one);
    tabs.flush(stream);
  }

  #encodeAnswer(error: WireError | null, value: unknown): EncodedBody {
    const codec = this.#options.codec();
    return codec.encodeBody([error, error === null ? value : null], () => 'the value of an answer');
  }

  /** Numbers what a run has sent. @returns The streams it went to. */
  #release(run: HandlerRun): ReadonlySet<SessionStream> {
    run.hasEnded = true;
    const { committer, tabs } = this.#options;
    if (run.afterwards.length > 0) {
      committer.whenConfirmed(committer.lastBarrier, (error) => {
        if (error !== undefined) return;
        // Not as a run that is still under way, which may have begun this commit: that may throw.
        within(run, () => {
          for (const act of run.afterwards) act();
        });
      });
    }
    if (run.sent.length === 0) return NONE;
    const touched = new Set<SessionStream>();
    for (const { stream, message } of run.sent) {
      tabs.push(stream, message, committer.lastBarrier);
      touched.add(stream);
    }
    return touched;
  }

  #want(): void {
    const { session, committer, log } = this.#options;
    try {
      committer.want();
    } catch (error) {
      log.error({ sessionID: session.sessionID, error }, 'sessionData cannot be saved');
    }
  }
}

/** @throws {RangeError} for what its asker would take for a broken frame. */
function checkAskError({ code, message }: WireError): void {
  const isCode = typeof code === 'string' && code !== '' && code.length <= MAX_TYPE_LENGTH;
  if (isCode && typeof message === 'string') return;
  throw new RangeError(`an AskError must have a code of 1 to ${MAX_TYPE_LENGTH} characters and a message`);
}

function toError(thrown: unknown): Error {
  return thrown instanceof Error
    ? thrown
    : new Error('a value that is no Error was thrown', { cause: thrown });
}

/** Calls one after the other, waiting for what is not done at once. */
function inOrder(calls: readonly (() => unknown)[], from = 0): void | PromiseLike<void> {
  for (let i = from; i < calls.length; i += 1) {
    const result = calls[i]!();
    if (isPromiseLike(result)) return result.then(() => inOrder(calls, i + 1));
  }
}

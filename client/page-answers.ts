import { AskError, isAskError } from 'webgram';
import type { Listener, Position, TabStream, WireError } from 'webgram';
import { copyMessage } from './message-copy.ts';
import type { Copied } from './message-copy.ts';
import { report } from './report.ts';

/** Answers what the server asks, from a map of functions that the page fills. */
export class PageAnswers {
  readonly #functions: Record<string, Listener | undefined>;

  constructor(functions: Record<string, Listener | undefined>) {
    this.#functions = functions;
  }

  /** Runs the function of that type; its answer goes out with the stream's next messages. */
  async give(stream: TabStream, asked: Position, type: string, args: unknown[]): Promise<void> {
    const { tabID } = stream;
    const { error, value, bytes } = await this.#run(type, args);
    // A stream that has begun anew meanwhile does not know the ask.
    if (stream.tabID === tabID) stream.answer(asked, error, value, bytes);
  }

  async #run(type: string, args: unknown[]): Promise<{ error: WireError | null } & Copied<unknown>> {
    try {
      const answer = Object.hasOwn(this.#functions, type) ? this.#functions[type] : undefined;
      if (answer === undefined) throw new AskError('WEBGRAM_NO_HANDLER', `no answer to '${type}'`);
      const value: unknown = await answer(...args);
      return { error: null, ...copyMessage(value) };
    } catch (error) {
      // The details stay in this page.
      let { code, message, data } = new AskError('WEBGRAM_HANDLER_FAILED', 'the handler failed');
      if (isAskError(error)) ({ code, message, data } = error);
      else report(error);
      const copy = copyMessage({ code, message, data });
      return { error: copy.value, value: null, bytes: copy.bytes };
    }
  }
}

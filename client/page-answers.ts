import { AskError, isAskError } from 'webgram';
import type { Listener, Position, TabStream, WireError } from 'webgram';
import { copyMessage } from './message-copy.ts';
import { report } from './report.ts';

/**
 * Answers what the server asks: runs the function of that type, whose answer goes out with the stream's next messages.
 *
 * @param functions A map that the page fills.
 */
export async function answerAsk(
  functions: Record<string, Listener | undefined>,
  stream: TabStream,
  asked: Position,
  type: string,
  args: unknown[],
): Promise<void> {
  const { tabID } = stream;
  let error: WireError | null = null;
  let answer;
  try {
    const run = Object.hasOwn(functions, type) && functions[type];
    if (!run) throw new AskError('WEBGRAM_NO_HANDLER', `no answer to '${type}'`);
    answer = copyMessage<unknown>(await run(...args));
  } catch (thrown) {
    // The details stay in this page.
    error = { code: 'WEBGRAM_HANDLER_FAILED', message: 'the handler failed' };
    if (isAskError(thrown)) error = { code: thrown.code, message: thrown.message, data: thrown.data };
    else report(thrown);
    answer = copyMessage(error);
  }
  // A stream that has begun anew meanwhile does not know the ask.
  if (stream.tabID === tabID)
    stream.answer(asked, error && (answer.value as WireError), error ? null : answer.value, answer.bytes);
}

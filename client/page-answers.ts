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
  let isError = false;
  let answer;
  try {
    const run = Object.hasOwn(functions, type) && functions[type];
    if (!run) throw new AskError('WEBGRAM_NO_HANDLER', `no answer to '${type}'`);
    answer = copyMessage<unknown>(await run(...args));
  } catch (thrown) {
    // The details stay in this page.
    let { code, message, data } = new AskError('WEBGRAM_HANDLER_FAILED', 'the handler failed');
    if (isAskError(thrown)) ({ code, message, data } = thrown);
    else report(thrown);
    isError = true;
    answer = copyMessage<unknown>({ code, message, data });
  }
  const { value, bytes } = answer;
  // A stream that has begun anew meanwhile does not know the ask.
  if (stream.tabID !== tabID) return;
  stream.answer(asked, isError ? (value as WireError) : null, isError ? null : value, bytes);
}

import { AskError, isAskError } from 'webgram';
import type { Listener, Position, TabStream, WireError } from 'webgram';
import { prepareMessage } from './outgoing.ts';
import { report } from './report.ts';

/**
 * Answers what the server asks: runs the function of that type, whose answer goes out with the stream's next messages.
 *
 * @param functions A map that the page fills, without a prototype.
 */
export async function answerAsk(
  functions: Record<string, Listener | undefined>,
  stream: TabStream,
  asked: Position,
  type: string,
  args: unknown[],
): Promise<void> {
  const { tabID } = stream;
  let isError;
  let prepared;
  try {
    const answer = functions[type];
    if (!answer) throw new AskError('WEBGRAM_NO_HANDLER', `no answer to '${type}'`);
    prepared = prepareMessage(type, [await answer(...args)], type);
  } catch (thrown) {
    isError = true;
    try {
      if (!isAskError(thrown)) throw thrown;
      // A code is as long as a type, at most.
      prepared = prepareMessage(thrown.code, [
        { code: thrown.code, message: thrown.message, data: thrown.data },
      ]);
    } catch (thrown) {
      // The details stay in this page.
      report(thrown);
      prepared = prepareMessage(
        type,
        [{ code: 'WEBGRAM_HANDLER_FAILED', message: 'the handler failed' }],
        type,
      );
    }
  }
  const [value] = prepared.args;
  // A stream that has begun anew meanwhile does not know the ask.
  if (stream.tabID === tabID)
    stream.answer(asked, isError ? (value as WireError) : null, isError ? null : value, prepared.bytes);
}

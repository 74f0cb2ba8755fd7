import type { AppShape, ArgsOf, PageMessages, SendTypeOf } from 'webgram';

/**
 * Which tabs of a session a message is for.
 *
 * - `all`: every tab.
 * - `one`: one tab, the one that was shown last if one is shown. Should it end without having acknowledged the message,
 *   another one takes it.
 * - `visible`: the tabs that somebody sees now.
 */
export type Deliver = 'all' | 'one' | 'visible';

/** May follow the arguments of a message to a session. */
export interface SendOptions {
  /** Default `all`. */
  deliver?: Deliver;
}

/** Arguments of a message to a session, with or without options behind them. */
export type SendArgs<A extends AppShape, T extends SendTypeOf<PageMessages<A>>> = [
  ...args: ArgsOf<PageMessages<A>, T>,
  options?: SendOptions | undefined,
];

/** Takes the options off the arguments: an object with `deliver`, of one of its values, and nothing else. */
export function splitOptions(args: readonly unknown[]): { deliver: Deliver; rest: readonly unknown[] } {
  const last = args.at(-1);
  if (typeof last === 'object' && last !== null && Object.keys(last).join() === 'deliver') {
    const { deliver } = last as { deliver: unknown };
    if (deliver === 'all' || deliver === 'one' || deliver === 'visible') {
      return { deliver, rest: args.slice(0, -1) };
    }
  }
  return { deliver: 'all', rest: args };
}

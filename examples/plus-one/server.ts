import { AskError, type Conn, type Server } from 'webgram-sessions/server';
import type { App } from './messages.ts';

/** The whole server side of the example, for `webgram-sessions serve`. */
export default function plusOneServer(server: Server<App>) {
  server.on('add-one', async (conn, x) => {
    conn.sessionData.lastValue = plusOne(x);
    await conn.save();
    conn.session.send('added-one', conn.sessionData.lastValue);
  });

  server.answer.incr = (_conn, x) => plusOne(x);

  server.on('$session-active', (conn) => {
    const { lastValue, _previousVisitTime } = conn.sessionData;
    conn.send('visitor', {
      isRepeat: _previousVisitTime !== undefined || lastValue !== undefined,
      lastValue,
    });
    tellTabs(conn);
  });

  server.on('$closed', (conn) => tellTabs(conn));
}

/** Tells all tabs of a session how many they are. */
function tellTabs({ session }: Conn<App>) {
  const online = [...session.conns].filter(({ isOnline }) => isOnline).length;
  // Also those that are just without a link: it reaches them when they are back, and then there is one at least.
  session.send('tabs', Math.max(1, online));
}

/** @param x From a stranger's browser, so anything at all. */
function plusOne(x: unknown): number {
  if (typeof x !== 'number' || !Number.isFinite(x))
    throw new AskError('not-a-number', 'one can be added to a number');
  return x + 1;
}

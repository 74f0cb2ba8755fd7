import type { Server } from 'webgram-sessions/server';
import accountsServer from './accounts/server.ts';
import plusOneServer from './plus-one/server.ts';

/** Both examples, for `npm start`: a browser has one session, whichever pages are open. */
export default async function examplesServer(server: Server) {
  plusOneServer(server as never);
  await accountsServer(server as never);
}

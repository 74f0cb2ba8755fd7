// The plus-one server with windows in it, for tests: `webgram-sessions serve e2e/kit/app.mjs`.
import { subscribe } from 'node:diagnostics_channel';
import plusOneServer from '../../dist/examples/plus-one-server.js';

/** How long `slowly` holds the session, in ms. */
const SLOWLY_MS = 150;

// Every story runs under the policy that the product promises to work with.
subscribe('http.server.request.start', (message) => {
  const { response } = /** @type {{ response: import('node:http').ServerResponse }} */ (message);
  response.setHeader('Content-Security-Policy', process.env.TEST_POLICY ?? "default-src 'self'");
});

/** @param {import('webgram-sessions/server').Server} server */
export default function app(server) {
  plusOneServer(/** @type {any} */ (server));

  /** @returns {import('./test-server.ts').Stats} */
  server.answer.stats = () => ({
    sockets: server.sockets,
    sessions: server.sessions.live.size,
    conns: [...server.connections].filter(({ isOnline }) => isOnline).length,
  });

  /** Counts, so that an ask which was lost or worked twice shows. */
  server.answer.count = async (conn) => {
    const count = Number(conn.sessionData.count ?? 0) + 1;
    conn.sessionData.count = count;
    await conn.save();
    return count;
  };

  /** The same with time in it, so that a kill hits it in the middle. */
  server.answer.countSlowly = async (conn) => {
    const count = Number(conn.sessionData.count ?? 0) + 1;
    conn.sessionData.count = count;
    await new Promise((resolve) => setTimeout(resolve, SLOWLY_MS));
    await conn.save();
    console.log('counted');
    return count;
  };

  /** Keeps what it was told, so that what was lost, doubled or out of order shows. */
  server.on('note', async (conn, x) => {
    conn.sessionData.notes = [...(conn.sessionData.notes ?? []), x];
    await conn.save();
    console.log('noted');
  });
  server.on('size', async (conn, text) => {
    conn.sessionData.sizes = [...(conn.sessionData.sizes ?? []), text.length];
    await conn.save();
  });

  /** Numbers an invoice, with time in it, and has it printed. @returns How many tabs it is meant for. */
  server.answer.print = async (conn, deliver) => {
    const invoice = Number(conn.sessionData.invoice ?? 0) + 1;
    conn.sessionData.invoice = invoice;
    await new Promise((resolve) => setTimeout(resolve, SLOWLY_MS));
    await conn.save();
    console.log('invoiced');
    return conn.session.send('print', invoice, { deliver });
  };
  server.answer.tell = (_conn, account, text, deliver) =>
    server.account(account).send('print', text, { deliver });

  server.answer.login = (conn, account) => conn.login(account, { label: `Dear ${account}` });
  server.answer.logout = (conn) => conn.logout();
  server.answer.account = (conn) => conn.session.account ?? null;
  server.answer.sessionsOf = async (_conn, account) =>
    (await server.sessions.list(account)).map(({ sessionID }) => sessionID);

  /** Takes what is tagged with the session that its page believed in, and tells the tabs of the one that it was. */
  const tagged = (conn, id, believed) => {
    const { sessionID } = conn.session;
    console.log(`tagged ${id} of ${believed} in ${sessionID}`);
    conn.session.send('seen', sessionID);
    return sessionID;
  };
  server.on('tagged', tagged);
  server.answer.tagged = tagged;

  server.answer.data = (conn) => ({ ...conn.sessionData });
}

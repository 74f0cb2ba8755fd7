import { AskError, type Conn, type Server } from 'webgram-sessions/server';
import type { App, Edit, Refusal } from './messages.ts';
import { Database } from './server/database.ts';
import { Notes, type Change } from './server/notes.ts';
import { parseEdit, parseID, parseName, parseOptionalID, parsePassword } from './server/parse.ts';
import { Tries } from './server/tries.ts';
import { DEFAULT_COST, Users, type Cost } from './server/users.ts';

const MINUTE_MS = 60_000;

/** The whole server side of the example, for `webgram-sessions serve`; its database lies beside that of the sessions. */
export default async function accountsServer(server: Server<App>) {
  serveNotebook(server, await Database.open(`${process.env['DB'] || './sessions'}.notebook`));
}

export interface NotebookOptions {
  /** ms since 1970. Default `Date.now`. */
  clock?: () => number;
  /** Of every look at a password. */
  cost?: Cost;
}

/** Answers all that pages of the notebook say. */
export function serveNotebook(
  server: Server<App>,
  database: Database,
  { clock = Date.now, cost = DEFAULT_COST }: NotebookOptions = {},
) {
  const users = new Users(database, clock, cost);
  const notes = new Notes(database, clock);
  /** Of an address; who comes through a proxy needs `trustedProxies`. */
  const triesFrom = new Tries({ burst: 30, refillMs: MINUTE_MS / 6, clock });
  /** For a name, whether it exists or not. A stranger can use them up; whoever is logged in stays in. */
  const triesFor = new Tries({ burst: 10, refillMs: MINUTE_MS / 2, clock });
  const signUpsFrom = new Tries({ burst: 10, refillMs: 6 * MINUTE_MS, clock });

  server.answer['sign-up'] = async (conn, givenName, givenPassword) => {
    mustBeNobody(conn);
    const name = parseName(givenName);
    const password = parsePassword(givenPassword);
    takeTry(signUpsFrom, conn.address[0]);
    await users.create(name, password);
    await logIn(conn, name);
  };

  server.answer['log-in'] = async (conn, givenName, givenPassword) => {
    mustBeNobody(conn);
    const name = parseName(givenName);
    const password = parsePassword(givenPassword);
    takeTry(triesFrom, conn.address[0]);
    takeTry(triesFor, name);
    if (!(await users.check(name, password)))
      throw new AskError('wrong-password', 'Name or password is wrong.');
    triesFor.giveBack(name);
    triesFrom.giveBack(conn.address[0]);
    await logIn(conn, name);
  };

  server.answer.notes = async (conn, after) => {
    const { account } = conn.session;
    if (account === undefined) return { account: null, notes: [] };
    return { account, ...(await notes.page(account, parseOptionalID(after))) };
  };

  server.on('save-note', async (conn, given) => {
    const edit = parseEdit(given);
    try {
      // Nothing that was written by one user is ever kept for another.
      if (accountOf(conn) !== edit.account)
        throw new AskError('other-account', `It was written by ${edit.account}, who is not signed in here.`);
      tell(await notes.save(edit.account, edit));
    } catch (error) {
      // Nobody waits for an answer, and if this threw the page would never know.
      conn.session.send('not-kept', refusalOf(edit, error));
    }
  });

  server.answer['delete-note'] = async (conn, id, base) => {
    tell(await notes.delete(accountOf(conn), parseID(id), parseOptionalID(base)));
  };

  server.answer['share-note'] = async (conn, id, givenName) => {
    const account = accountOf(conn);
    const name = parseName(givenName);
    if (!(await users.exists(name))) throw new AskError('no-user', `There is no user ${name}.`);
    tell(await notes.share(account, parseID(id), name));
  };

  server.answer['unshare-note'] = async (conn, id, name) => {
    tell(await notes.unshare(accountOf(conn), parseID(id), parseName(name)));
  };

  server.on('$new-device', ({ session }, { account, label }) => {
    for (const other of server.account(account).sessions) {
      if (other.sessionID !== session.sessionID) other.send('new-device', label);
    }
  });

  function tell({ note, seenBy, goneFor }: Change) {
    for (const name of seenBy) server.account(name).send('note', note);
    for (const name of goneFor) server.account(name).send('note-gone', note.id, note.version);
  }
}

async function logIn(conn: Conn<App>, name: string) {
  await conn.login(name, { label: name });
  conn.session.send('account', name);
}

function mustBeNobody({ session }: Conn<App>) {
  if (session.account !== undefined) throw new AskError('logged-in', `${session.account} is signed in here.`);
}

function accountOf({ session }: Conn<App>): string {
  if (session.account === undefined) throw new AskError('logged-out', 'Sign in first.');
  return session.account;
}

function takeTry(tries: Tries, key: string) {
  const waitMs = tries.take(key);
  if (waitMs === 0) return;
  const waitS = Math.ceil(waitMs / 1000);
  throw new AskError('too-many-tries', `Too many tries. The next one is possible in ${waitS} s.`, { waitS });
}

function refusalOf({ id, revision }: Edit, error: unknown): Refusal {
  if (error instanceof AskError) return { id, revision, code: error.code, message: error.message };
  console.error('a note could not be saved', error);
  return { id, revision, code: 'failed', message: 'The server could not save it.' };
}

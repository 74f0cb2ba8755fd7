// The server that the harness kills: built files, LevelDB. `node e2e/kill/server.mjs --db DIR --port N [--split WHICH]`.
// `--retention` is that of streams, in ms. `--split` breaks it on purpose: a commit becomes two writes, `data` first or `marks` first.
import { setImmediate } from 'node:timers';
import { parseArgs } from 'node:util';
import { fileURLToPath } from 'node:url';
import { AskError, LevelStore, Server } from '../../dist/server.js';

/** @typedef {{ done: string[], updates: string[], staged: string[], ids: Record<string, true> }} Data */
/** @typedef {import('webgram-sessions/server').Commit} Commit */

const PAGE = fileURLToPath(new URL('../../dist/examples/plus-one', import.meta.url));

const { values } = parseArgs({
  options: {
    db: { type: 'string' },
    port: { type: 'string' },
    split: { type: 'string' },
    retention: { type: 'string' },
  },
});
const { db = './sessions', port = '0', split, retention } = values;

const store = new LevelStore(db);
if (split !== undefined) splitCommits(store, split === 'data');
const server = new Server({
  store,
  keyFile: `${db}.key`,
  port: Number(port),
  hostname: '127.0.0.1',
  root: PAGE,
  limits: { createBurst: 1_000 },
  ...(retention === undefined
    ? {}
    : { retention: { streamGraceMs: Number(retention), streamRetentionMs: Number(retention) } }),
  manualStart: true,
});

server.on('$session-active', ({ sessionData }) => {
  for (const name of ['done', 'updates', 'staged']) sessionData[name] ??= [];
  sessionData.ids ??= {};
});

/** @type {Record<string, (conn: any, tab: string, n: number) => unknown>} */
const answers = {
  // Those that add answer with the place of what they have added.

  async add(conn, tab, n) {
    const place = add(conn, tab, n);
    await conn.save();
    return place;
  },

  /** With time in it, so that a kill hits it in the middle. */
  async addSlowly(conn, tab, n) {
    await soon(2);
    const place = add(conn, tab, n);
    await soon(3);
    await conn.save();
    return place;
  },

  /** Saves in its middle, so it has to know its message when it runs again. */
  async addNow(conn, tab, n) {
    const data = dataOf(conn);
    const id = String(conn.messageId);
    const place = data.ids[id] ? data.done.indexOf(entry(tab, n)) + 1 : add(conn, tab, n);
    data.ids[id] = true;
    await conn.save({ now: true });
    return place;
  },

  /** Tells its tab, and every tab. */
  async addAndTell(conn, tab, n) {
    conn.send('told', n);
    const place = add(conn, tab, n);
    await conn.save();
    conn.session.send('all', place);
    return place;
  },

  look: (conn) => dataOf(conn).done.length,

  async fail(conn, tab, n) {
    add(conn, tab, n);
    conn.send('told', n);
    await conn.save();
    throw new AskError('NO', 'it never happened');
  },

  /** A transaction outside of any handler, of which the answer knows nothing. */
  later(conn, tab, n) {
    setImmediate(() => {
      conn
        .update(() => {
          dataOf(conn).updates.push(entry(tab, n));
          conn.send('updated', n);
        })
        .catch(() => undefined); // The session has ended: then it did not happen.
    });
    return n;
  },

  dump(conn) {
    const { done, updates, staged } = dataOf(conn);
    return { done, updates, staged };
  },
};
Object.assign(server.answer, answers);

server.on('append', async (conn, tab, n) => {
  add(conn, tab, n);
  await conn.save();
});

/** Sends and does not save. */
server.on('tell', (conn, _tab, n) => conn.send('told', n));

/** Changes what a later handler saves. */
server.on('stage', (conn, tab, n) => dataOf(conn).staged.push(entry(tab, n)));

await server.start();
console.log(`it is at ${server.siteURL}`);

/** @returns {Data} */
function dataOf(/** @type {any} */ conn) {
  return conn.sessionData;
}

function add(/** @type {any} */ conn, /** @type {any} */ tab, /** @type {any} */ n) {
  return dataOf(conn).done.push(entry(tab, n));
}

function entry(/** @type {unknown} */ tab, /** @type {unknown} */ n) {
  return `${tab}.${n}`;
}

function soon(/** @type {number} */ ms) {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/**
 * @param {LevelStore} store
 * @param {boolean} dataFirst Otherwise the marks and messages are.
 */
function splitCommits(store, dataFirst) {
  const commit = store.commit.bind(store);
  store.commit = async (/** @type {Commit} */ whole) => {
    const { data, ...rest } = whole;
    const between = { ...rest, tag: `${whole.tag}-1`, streams: new Map() };
    const withData = data === undefined ? {} : { data };
    if (dataFirst) {
      await commit({ ...between, ...withData });
      await commit({ ...rest, expectedTag: between.tag });
    } else {
      await commit({ ...between, streams: whole.streams });
      await commit({ ...rest, ...withData, expectedTag: between.tag, streams: new Map() });
    }
  };
}

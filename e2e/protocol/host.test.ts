import { generateKeyPairSync } from 'node:crypto';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { ClientState, SessionActive } from '../../client/state.ts';
import type { Client } from '../../client/client.ts';
import type { Conn } from '../../server/conn.ts';
import type { ServerOptions } from '../../server/options.ts';
import type { Forked } from '../../server/fork-watch.ts';
import type { LiveSession } from '../../server/live-session.ts';
import { MemoryStore } from '../../server/store/memory-store.ts';
import type { Store } from '../../server/store/store.ts';
import { Scene } from '../../server/testing/scene.ts';
import { turn } from '../../server/testing/until.ts';
import { MemoryKeyStore } from '../../worker/host/key-store.ts';
import type { Clock } from '../../worker/host/platform.ts';
import { signingKeyOf } from '../../worker/host/web-crypto.ts';
import { systemClock } from '../../worker/host/web-platform.ts';
import { NodeBrowser } from './testing/node-browser.ts';

let scene: Scene;
let browser: NodeBrowser;
let conn: Conn;

const SERVER_KEY = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  .privateKey.export({ type: 'pkcs8', format: 'pem' })
  .toString();

async function start(options: ServerOptions = {}): Promise<void> {
  await scene.start({ serverKeys: [SERVER_KEY], ...options });
  scene.server.on('$session-active', (one) => {
    conn = one;
  });
  scene.server.answer['login'] = (one, name) =>
    one.login(name as string, { label: `${name as string}!`, picture: '/face.png' });
  scene.server.answer['logout'] = (one) => one.logout();
  scene.server.answer['who'] = (one) => [one.session.sessionID, one.session.account ?? null];
  browser ??= new NodeBrowser(scene.server.address);
}

beforeEach(() => {
  scene = new Scene();
  browser = undefined as never;
});

afterEach(async () => {
  browser.close();
  await scene.close();
});

/** What a page saw of a client. */
function watch(client: Client): { states: ClientState[]; active: SessionActive[]; notices: string[] } {
  const seen = { states: [] as ClientState[], active: [] as SessionActive[], notices: [] as string[] };
  client.on('$state', (state) => seen.states.push(state));
  client.on('$session-active', (session) => seen.active.push(session));
  client.on('$notice', ({ code }) => seen.notices.push(code));
  return seen;
}

const PATIENCE = { timeout: 4_000, interval: 10 };

/** The machine's clock, which a test can set forward. */
class OffsetClock implements Clock {
  #offsetMs = 0;
  readonly #timers = new Set<{ atMs: number; callback: () => void; cancel: () => void }>();

  nowMs(): number {
    return systemClock.nowMs() + this.#offsetMs;
  }

  after(delayMs: number, callback: () => void): () => void {
    const run = (): void => {
      this.#timers.delete(timer);
      callback();
    };
    const timer = { atMs: this.nowMs() + delayMs, callback: run, cancel: systemClock.after(delayMs, run) };
    this.#timers.add(timer);
    return () => {
      this.#timers.delete(timer);
      timer.cancel();
    };
  }

  skip(ms: number): void {
    this.#offsetMs += ms;
    for (const { atMs, callback, cancel } of [...this.#timers]) {
      if (atMs > this.nowMs()) continue;
      cancel();
      callback();
    }
  }
}

async function copyOf(disk: MemoryKeyStore): Promise<MemoryKeyStore> {
  const copy = new MemoryKeyStore('persistent');
  const records = [...(await disk.read(''))];
  await copy.update('', () => records);
  return copy;
}

const names = (states: ClientState[]): string[] => states.map(({ name }) => name);

describe('login', () => {
  test('binds the account, replaces the key, and the page sees no interruption', async () => {
    await start();
    browser.start();
    const [tab, other] = [browser.tab(), browser.tab()];
    await Promise.all([tab.waitForSession(), other.waitForSession()]);
    const [seen, seenByOther] = [watch(tab), watch(other)];
    const [before] = await browser.identities();
    const saved = browser.sockets.size;
    expect(tab.identity).toEqual({ id: expect.any(String) as string, sessionID: 1, storage: 'persistent' });

    await tab.ask('login', 'alice');
    expect(await tab.ask('who')).toEqual([1, 'alice']);
    expect(await other.ask('who')).toEqual([1, 'alice']);
    const alice = { sessionID: 1, account: 'alice', label: 'alice!', picture: '/face.png' };
    expect(tab.identity).toEqual({ id: before!.localID, ...alice, storage: 'persistent' });
    expect(other.identity).toEqual(tab.identity);
    for (const { states, active } of [seen, seenByOther]) {
      expect(names(states)).toEqual([]);
      expect(active).toEqual([]);
    }
    expect(saved).toBe(1);
    await expect.poll(() => browser.sockets.size).toBe(1);
    expect(scene.server.connections.size).toBe(2);

    const [after, ...more] = await browser.identities();
    expect(more).toEqual([]);
    expect(after).toMatchObject({ sessionID: 1, profile: { account: 'alice' }, localID: before!.localID });
    expect(after).not.toHaveProperty('next');
    expect(after!.publicKey).not.toEqual(before!.publicKey);
    const old = signingKeyOf(before as never) as never;
    expect(await scene.attempt({ key: old, sessionID: 1 })).toEqual({ kind: 'denied', code: 'renewed' });
  });

  test('lasts: the next run of the host has the new key, and knows the account', async () => {
    await start();
    browser.start();
    const tab = browser.tab();
    await tab.ask('login', 'alice');
    browser.close();
    browser.start();
    const next = browser.tab();
    expect(await next.waitForSession()).toMatchObject({ sessionID: 1, resumed: true, reason: 'resumed' });
    expect(await next.ask('who')).toEqual([1, 'alice']);
    expect(next.identity).toMatchObject({ account: 'alice' });
  });

  test('is followed by a logout, which the browser knows as well', async () => {
    await start();
    browser.start();
    const tab = browser.tab();
    await tab.ask('login', 'alice');
    await tab.ask('logout');
    expect(await tab.ask('who')).toEqual([1, null]);
    expect(tab.identity).toEqual({ id: expect.any(String) as string, sessionID: 1, storage: 'persistent' });
    await expect.poll(async () => (await browser.identities())[0]?.profile).toEqual({});
  });

  test('fails at once when the browser cannot keep another key, and nothing has changed', async () => {
    await start();
    const { disk } = browser;
    let isFull = false;
    browser.start({
      keyStore: {
        storage: 'persistent',
        read: (prefix) => disk.read(prefix),
        update: (prefix, change) =>
          isFull
            ? Promise.reject(new DOMException('full', 'QuotaExceededError'))
            : disk.update(prefix, change),
      },
    });
    const tab = browser.tab();
    await tab.waitForSession();
    isFull = true;
    await expect(conn.login('alice')).rejects.toMatchObject({ code: 'WEBGRAM_CLOSED', retryable: true });
    expect(await tab.ask('who')).toEqual([1, null]);
    isFull = false;
    await tab.ask('login', 'alice');
    expect(await tab.ask('who')).toEqual([1, 'alice']);
  });

  test('can be repeated many times, by two at once as well', async () => {
    await start();
    browser.start();
    const tab = browser.tab();
    for (let i = 0; i < 10; i++) {
      await Promise.all([tab.ask('login', 'alice'), tab.ask('who').catch(() => undefined)]);
      expect(await tab.ask('who')).toEqual([1, 'alice']);
    }
    expect(await browser.identities()).toHaveLength(1);
    expect(scene.messages()).toEqual([]);
  });

  test('with an identity that lives in memory works as long as the host does', async () => {
    await start();
    browser.start({
      keyStore: {
        storage: 'persistent',
        read: () => Promise.reject(new Error('unreadable')),
        update: () => Promise.reject(new Error('unwritable')),
      },
    });
    const tab = browser.tab();
    await tab.ask('login', 'alice');
    expect(await tab.ask('who')).toEqual([1, 'alice']);
    expect(tab.identity).toMatchObject({ sessionID: 1, account: 'alice', storage: 'memory' });
  });
});

describe('a link that is as old as it may get', () => {
  test('is followed by the next before it ends: no message lost or doubled, no state seen', async () => {
    await start({ limits: { maxLinkMs: 60, linkGraceMs: 2_000 } });
    const counts: number[] = [];
    const order: number[] = [];
    scene.server.answer['add'] = async (one, n) => {
      const count = ((one.sessionData['count'] as number | undefined) ?? 0) + 1;
      one.sessionData['count'] = count;
      order.push(n as number);
      await one.save();
      one.send('added', count);
      return count;
    };
    let closed = 0;
    scene.server.on('$closed', () => (closed += 1));
    browser.start();
    const tab = browser.tab();
    await tab.waitForSession();
    const seen = watch(tab);
    tab.on('added', (count: number) => counts.push(count));
    const until = performance.now() + 1_200;
    const answers: Promise<unknown>[] = [];
    let n = 0;
    while (performance.now() < until) {
      answers.push(tab.ask('add', ++n));
      await new Promise((resolve) => setTimeout(resolve, 2));
    }
    const wanted = Array.from({ length: n }, (_, i) => i + 1);
    expect(await Promise.all(answers)).toEqual(wanted);
    await expect.poll(() => counts.length).toBe(n);
    expect(counts).toEqual(wanted);
    expect(order).toEqual(wanted);
    expect(names(seen.states)).toEqual([]);
    expect(seen.active).toEqual([]);
    expect(seen.notices).toEqual([]);
    expect(closed).toBe(0);
    expect(scene.server.connections.size).toBe(1);
    expect(scene.messages()).toEqual([]);
  });
});

test('revoked while the page is open: the page is told why, and what it had sent is not done again', async () => {
  scene.store = new MemoryStore();
  await start();
  const handled: unknown[] = [];
  let isHeld = false;
  scene.server.answer['slow'] = async (one, x) => {
    isHeld = true;
    await new Promise((resolve) => one.signal!.addEventListener('abort', resolve));
    handled.push([one.session.sessionID, x]);
  };
  browser.start();
  const [tab, other] = [browser.tab(), browser.tab()];
  await Promise.all([tab.waitForSession(), other.waitForSession()]);
  const seen = watch(tab);
  const seenByOther = watch(other);
  const ask = expect(tab.ask('slow', 1)).rejects.toMatchObject({ code: 'WEBGRAM_GAP' });
  await expect.poll(() => isHeld).toBe(true);
  await scene.server.sessions.revoke(1);
  await ask;
  await expect.poll(() => seen.active).toHaveLength(1);
  expect(seen.active[0]).toEqual({
    sessionID: 2,
    resumed: false,
    reason: 'revoked',
    gap: { sent: 1, received: 0 },
  });
  await expect.poll(() => seenByOther.active).toHaveLength(1);
  expect(seenByOther.active[0]).toMatchObject({ sessionID: 2, resumed: false, reason: 'revoked' });
  expect(handled).toEqual([[1, 1]]);
  expect(await tab.ask('who')).toEqual([2, null]);
  expect((await browser.identities()).map(({ sessionID }) => sessionID)).toEqual([2]);
});

describe('an identity in two places', () => {
  /** What `$forked` told at the server. */
  let forks: [LiveSession, Forked][];

  async function startWatched(): Promise<void> {
    await start();
    forks = [];
    scene.server.on('$forked', (...fork) => forks.push(fork));
  }

  test('a copied profile: both are told when they come back after 5 s, the server as well, and no message is lost', async () => {
    await startWatched();
    const clocks = [new OffsetClock(), new OffsetClock()];
    browser.start({ platform: { clock: clocks[0]! } });
    const owner = browser.tab();
    await owner.waitForSession();
    const seen = watch(owner);
    const copy = new NodeBrowser(scene.server.address, await copyOf(browser.disk));
    try {
      copy.start({ platform: { clock: clocks[1]! } });
      const thief = copy.tab();
      expect(await thief.waitForSession()).toMatchObject({ sessionID: 1 });
      expect(await thief.ask('who')).toEqual([1, null]);
      await expect.poll(() => owner.state).toMatchObject({ name: 'waiting', reason: 'superseded' });
      const { retryAtMs } = owner.state as ClientState & { name: 'waiting' };
      expect(retryAtMs - Date.now()).toBeGreaterThan(4_000);
      expect(seen.notices).toEqual([]);
      const ask = owner.with({ timeoutMs: 4_000 }).ask('who');
      const seenByThief = watch(thief);
      clocks[0]!.skip(5_100);
      expect(await ask).toEqual([1, null]);
      await expect.poll(() => seen.notices).toEqual(['WEBGRAM_FORKED']);
      expect(forks).toMatchObject([[{ sessionID: 1 }, {}]]);
      const [, { address, generation, other }] = forks[0]!;
      expect(generation).toBeGreaterThan(other.generation);
      expect([address[0], other.address[0]]).toEqual([conn.address[0], conn.address[0]]);
      expect(address[1]).not.toBe(other.address[1]);
      expect(scene.messages('warn')).toEqual(['a copy of an identity is in use']);

      await expect.poll(() => thief.state).toMatchObject({ name: 'waiting', reason: 'superseded' });
      clocks[1]!.skip(5_100);
      await expect.poll(() => seenByThief.notices).toEqual(['WEBGRAM_FORKED']);
      // The second time the owner need not ask.
      await expect.poll(() => owner.state).toMatchObject({ name: 'waiting', reason: 'forked' });
      expect(seen.notices).toEqual(['WEBGRAM_FORKED', 'WEBGRAM_FORKED']);
      clocks[0]!.skip(10_100);
      await expect.poll(() => forks.length).toBe(3);

      // The owner logs in, and the copy has nothing any more.
      await owner.ask('login', 'alice');
      clocks[1]!.skip(10_100);
      await expect.poll(() => thief.identity?.sessionID).toBe(2);
      expect(await owner.ask('who')).toEqual([1, 'alice']);
      expect(owner.state).toEqual({ name: 'active' });
    } finally {
      copy.close();
    }
  });

  test('the copy is told of also when it was there for a moment only', async () => {
    await startWatched();
    const clock = new OffsetClock();
    browser.start({ platform: { clock } });
    const owner = browser.tab();
    await owner.waitForSession();
    const seen = watch(owner);
    const copy = new NodeBrowser(scene.server.address, await copyOf(browser.disk));
    copy.start();
    const thief = copy.tab();
    for (let times = 0; times < 2; times++) expect(await thief.ask('who')).toEqual([1, null]);
    copy.close();
    await expect.poll(() => owner.state).toMatchObject({ reason: 'superseded' });
    clock.skip(5_100);
    await expect.poll(() => seen.notices).toEqual(['WEBGRAM_FORKED']);
    expect(forks).toHaveLength(1);
  });

  test('the last proof of a host that has died is no copy: nobody is told, and the next host comes back', async () => {
    await startWatched();
    const sent: (() => void)[] = [];
    let isHeld = false;
    browser.start({
      socket: (socket) => {
        const send = socket.send.bind(socket);
        // What a host sends is on its way for long.
        socket.send = (data) => (isHeld ? void sent.push(() => send(data)) : send(data));
        return socket;
      },
    });
    await browser.tab().waitForSession();
    isHeld = true;
    for (const socket of browser.sockets) socket.terminate();
    await expect.poll(() => sent.length).toBeGreaterThan(0);
    // It dies; its socket is there until the proof has come.
    const ghosts = [...browser.sockets];
    for (const ghost of ghosts) ghost.onmessage = ghost.onclose = null;

    const clock = new OffsetClock();
    browser.start({ platform: { clock } });
    const tab = browser.tab();
    await tab.waitForSession();
    const seen = watch(tab);
    for (const deliver of sent.splice(0)) deliver();
    await expect.poll(() => tab.state).toMatchObject({ name: 'waiting', reason: 'superseded' });
    for (const ghost of ghosts) ghost.terminate();
    clock.skip(5_100);
    expect(await tab.ask('who')).toEqual([1, null]);
    await turn();
    expect(seen.notices).toEqual([]);
    expect(forks).toEqual([]);
    expect(scene.messages()).toEqual([]);
  });
});

test('a store that was exchanged: another identity beside, and the old one is back with the old store', async () => {
  await start();
  const old = scene.store;
  browser.start();
  const tab = browser.tab();
  await tab.ask('login', 'alice');
  const seen = watch(tab);
  const { port } = scene.server;
  const serve = async (store: Store): Promise<void> => {
    await scene.close();
    scene.store = store;
    await start({ port });
  };
  await serve(new MemoryStore());
  await expect.poll(() => seen.active.length, PATIENCE).toBe(1);
  expect(seen.active[0]).toMatchObject({ sessionID: 1, resumed: false, reason: 'store-lost' });
  expect(await tab.ask('who')).toEqual([1, null]);
  expect(tab.identity).not.toHaveProperty('account');
  await serve(old);
  await expect.poll(() => seen.active.length, PATIENCE).toBe(2);
  expect(await tab.ask('who')).toEqual([1, 'alice']);
  expect(tab.identity).toMatchObject({ account: 'alice' });
  expect((await browser.identities()).map(({ sessionID }) => sessionID)).toEqual([1, 1]);
});

describe('pages that ask for encrypted frames', () => {
  /** Subprotocols that were offered, and what went up. */
  let wire: { offers: string[]; ups: (string | Uint8Array)[] };

  function startRecorded(): void {
    // The host of the test before may still say goodbye.
    const own: typeof wire = { offers: [], ups: [] };
    wire = own;
    browser.start({
      socket: (socket) => {
        const send = socket.send.bind(socket);
        socket.send = (data) => {
          if (own.ups.push(data) === 1) own.offers.push(socket.protocol);
          send(data);
        };
        return socket;
      },
    });
  }

  test('get them from a server that is configured for it, and so do the others of the browser', async () => {
    await start({ sealed: true });
    startRecorded();
    const tab = browser.tab({ sealed: true });
    expect(await tab.ask('login', 'alice').then(() => tab.ask('who'))).toEqual([1, 'alice']);
    expect(wire.offers).toEqual(['webgram.2.json.sealed']);
    const other = browser.tab();
    expect(await other.ask('who')).toEqual([1, 'alice']);
    const frames = wire.ups.filter((data) => typeof data !== 'string');
    expect(frames.length).toBeGreaterThan(3);
    expect(Buffer.concat(frames).toString('latin1')).not.toMatch(/who|login|alice/);
    const texts = wire.ups.filter((data) => typeof data === 'string');
    for (const text of texts) expect(text).toMatch(/^\["session-(create|resume)"/);
  });

  test('send nothing to a server that is not', async () => {
    await start();
    startRecorded();
    const tab = browser.tab({ sealed: true });
    await expect.poll(() => tab.state).toMatchObject({ name: 'waiting' });
    expect(wire.ups).toEqual([]);
    expect(await scene.store.nextSessionID()).toBe(1);
  });

  test('end a link that is readable before anything of theirs goes over it', async () => {
    await start();
    startRecorded();
    const readable = browser.tab();
    await readable.waitForSession();
    const sent = wire.ups.length;
    const tab = browser.tab({ sealed: true });
    const answer = tab
      .with({ timeoutMs: Infinity })
      .ask('who')
      .catch(() => undefined);
    await expect.poll(() => tab.state).toMatchObject({ name: 'waiting' });
    await expect.poll(() => readable.state).toMatchObject({ name: 'waiting' });
    expect(wire.ups.slice(sent).map(String).join()).not.toContain('who');
    tab.close();
    await answer;
  });
});

test('what no frame of this server can hold is told, and what is behind it arrives', async () => {
  await start({ limits: { maxFrameBytes: 20_000 } });
  const large = 'x'.repeat(20_000);
  const notes: unknown[] = [];
  scene.server.on('note', (_conn: Conn, text: string) => {
    notes.push(text);
  });
  scene.server.answer['echo'] = (_conn, text) => text;
  browser.start();
  const tab = browser.tab();
  const seen = watch(tab);
  const waits = () => names(seen.states).filter((name) => name === 'waiting').length;
  tab.answer['read'] = () => large;
  // Before there is a link, and while there is none.
  for (const round of [1, 2]) {
    tab.send('note', `before ${round}`);
    tab.send('note', large);
    tab.send('note', `behind ${round}`);
    const tooLarge = tab.ask('echo', large);
    const echoed = tab.ask('echo', round);
    await expect(tooLarge).rejects.toMatchObject({
      code: 'WEBGRAM_MESSAGE_TOO_LARGE',
      message: 'a frame has at most 20000 bytes',
    });
    expect(await echoed).toBe(round);
    await expect(conn.ask('read')).rejects.toMatchObject({ code: 'WEBGRAM_MESSAGE_TOO_LARGE' });
    await expect.poll(() => notes.splice(0)).toEqual([`before ${round}`, `behind ${round}`]);
    // Once more when the link broke before it was acknowledged.
    expect(seen.notices.length).toBeGreaterThanOrEqual(3 * round);
    expect(new Set(seen.notices)).toEqual(new Set(['WEBGRAM_MESSAGE_TOO_LARGE']));
    expect(waits()).toBe(round - 1);
    for (const socket of browser.sockets) socket.terminate();
    await expect.poll(waits).toBe(round);
  }
});

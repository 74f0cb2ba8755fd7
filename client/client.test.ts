import { AskError } from 'webgram';
import type { WebgramError } from 'webgram';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { PORT_PROTOCOL } from '../worker/host/port-protocol.ts';
import type { HostToTab, Leaving } from '../worker/host/port-protocol.ts';
import { FakeServer } from '../worker/host/testing/fake-server.ts';
import { FakeSession } from '../worker/host/testing/fake-session.ts';
import { ADDRESS, TestHost } from '../worker/host/testing/test-host.ts';
import { rest, until } from '../worker/host/testing/until.ts';
import { Client } from './client.ts';
import type { ClientOptions } from './client.ts';
import type { HostPort, PageListener, TabEnvironment } from './environment.ts';
import type { ClientState, SessionActive } from './state.ts';

let server: FakeServer;
let session: FakeSession;
let host: TestHost;
let pages: TestPage[];

beforeEach(async () => {
  server = await FakeServer.start();
  session = new FakeSession(server);
  host = new TestHost(server);
  pages = [];
});

afterEach(() => {
  for (const { client } of pages) client.close();
});

/** A page with a client in it. Its host can be exchanged. */
class TestPage {
  readonly client: Client;
  readonly states: ClientState[] = [];
  readonly active: SessionActive[] = [];
  listener: PageListener | undefined;
  /** The page's end of the port to the host. */
  port: HostPort | undefined;
  hosts: TestHost[];
  locks: string[] = [];
  /** What each search for a host was told. */
  moves: unknown[] = [];
  /** What it has left. */
  readonly left: Leaving[] = [];
  /** Set in the task that makes it. */
  takeNotes: NonNullable<TabEnvironment['takeNotes']> = () => Promise.resolve(undefined);
  /** What its hosts say that they speak. */
  protocol = PORT_PROTOCOL;

  constructor(options: ClientOptions = {}, hosts = [host]) {
    this.hosts = hosts;
    this.client = new Client(ADDRESS, options, this.#environment());
    this.client.on('$state', (state) => this.states.push(state));
    this.client.on('$session-active', (active) => this.active.push(active));
    pages.push(this);
  }

  get names(): string[] {
    return this.states.map(({ name }) => name);
  }

  /** The host says something over the port, as it is. */
  hear(message: unknown): void {
    (this.port?.onmessage as (event: { data: unknown }) => void)({ data: message });
  }

  #environment(): TabEnvironment {
    return {
      findHost: async (moved) => {
        this.moves.push(moved);
        const found = this.hosts[0];
        if (found === undefined) throw new Error('none is left');
        const [mine, its] = portPair();
        const welcome = new Promise<HostToTab & { kind: 'welcome' }>((resolve) => {
          mine.onmessage = ({ data }: { data: HostToTab & { kind: 'welcome' } }) => {
            resolve(data);
          };
        });
        found.hub.connect(its);
        this.port = mine;
        const { protocol } = this;
        return { port: mine, welcome: { ...(await welcome), protocol }, why: 'a test' };
      },
      holdLock: async (name) => {
        this.locks.push(name);
        const locks = this.hosts[0]?.locks;
        locks?.hold(name);
        return () => {
          locks?.release(name);
        };
      },
      watchLock: (name, gone) => {
        const [first] = this.hosts;
        return first === undefined ? () => undefined : first.locks.watch(name, gone);
      },
      leave: (left) => this.left.push(left),
      takeNotes: async (ask) => {
        await Promise.resolve();
        return this.takeNotes(ask);
      },
      listen: (listener) => {
        this.listener = listener;
        return () => {
          this.listener = undefined;
        };
      },
    };
  }
}

/** Two ports that are entangled: what one posts, the other gets as a clone, later and in order. */
function portPair(): [HostPort, HostPort] {
  const make = (): HostPort & { isOpen: boolean } => ({
    isOpen: true,
    onmessage: null,
    postMessage: () => undefined,
    close() {
      this.isOpen = false;
    },
  });
  const [a, b] = [make(), make()];
  const entangle = (from: HostPort, to: HostPort & { isOpen: boolean }): void => {
    from.postMessage = (message) => {
      const data: unknown = structuredClone(message);
      queueMicrotask(() => {
        if (to.isOpen) (to.onmessage as ((event: { data: unknown }) => void) | null)?.({ data });
      });
    };
  };
  entangle(a, b);
  entangle(b, a);
  return [a, b];
}

/** The host must be found alive: it holds a lock of its incarnation's name. */
function alive(...hosts: TestHost[]): void {
  for (const one of hosts) one.locks.hold(one.hub.incarnation);
}

beforeEach(() => {
  alive(host);
});

test('what is sent before there is a host or a link arrives once, in order', async () => {
  const page = new TestPage();
  const { client, active } = page;
  client.send('one', 1);
  const answer = client.ask('incr', 41);
  client.send('two', 2);
  expect(await answer).toBe(42);
  expect(session.handled.map(({ type }) => type)).toEqual(['one', 'incr', 'two']);
  expect(active).toEqual([{ sessionID: 1, resumed: false, reason: 'new', gap: { sent: 0, received: 0 } }]);
  expect(client.identity).toMatchObject({ sessionID: 1, storage: 'persistent' });
  expect(client.host).toEqual({ kind: 'in-process', role: 'follower', why: 'a test' });
  expect(client.state).toEqual({ name: 'active' });
  expect(page.names.at(-1)).toBe('active');
});

test('a client that joins an active host is in session at once, without the network', async () => {
  await new TestPage().client.waitForSession();
  const count = server.last.ups.length;
  const page = new TestPage();
  const joined = await page.client.waitForSession();
  expect(joined).toEqual({ sessionID: 1, resumed: true, reason: 'joined', gap: { sent: 0, received: 0 } });
  expect(server.last.ups).toHaveLength(count);
  await until(() => session.tabIDs.length === 2);
  await rest();
  expect(page.active).toHaveLength(1);
  expect(page.names).toEqual(['active']);
});

test('each client is a tab of its own, in one session over one socket', async () => {
  const [a, b] = [new TestPage(), new TestPage()];
  await Promise.all([a.client.waitForSession(), b.client.waitForSession()]);
  a.client.send('from-a', 1);
  b.client.send('from-b', 2);
  await until(() => session.handled.length === 2);
  expect(new Set(session.handled.map(({ tabID }) => tabID)).size).toBe(2);
  expect(server.connections).toHaveLength(1);
});

/** Runs `use` with a list that fills with what pages report, as nobody catches it. */
async function collectReports(use: (reports: unknown[]) => Promise<void>): Promise<void> {
  const reports: unknown[] = [];
  const collect = (error: unknown): void => {
    reports.push(error);
  };
  process.prependListener('uncaughtException', collect);
  const others = process.listeners('uncaughtException').filter((one) => one !== collect);
  for (const other of others) process.removeListener('uncaughtException', other);
  try {
    await use(reports);
  } finally {
    process.removeListener('uncaughtException', collect);
    for (const other of others) process.on('uncaughtException', other);
  }
}

test('a message of the server reaches every listener, whatever the others throw', async () => {
  await collectReports(async (reports) => {
    const { client } = new TestPage();
    await client.waitForSession();
    const got: unknown[] = [];
    client.on('added-one', () => {
      throw new Error('first listener');
    });
    client.on('added-one', async () => {
      throw new Error('second listener');
    });
    const off = client.on('added-one', (x) => got.push(x));
    client.once('added-one', (x) => got.push(['once', x]));
    session.send('send', 'added-one', 1);
    await until(() => got.length === 2);
    off();
    session.send('send', 'added-one', 2);
    await until(() => reports.length === 4);
    expect(got).toEqual([1, ['once', 1]]);
    expect(reports.map((error) => (error as Error).message).sort()).toEqual([
      'first listener',
      'first listener',
      'second listener',
      'second listener',
    ]);
  });
});

test('answers what the server asks', async () => {
  const { client } = new TestPage();
  await client.waitForSession();
  client.answer['confirm'] = async (question: string) => `${question} yes`;
  client.answer['refuse'] = () => {
    throw new AskError('sold-out', 'no seats left', { seats: 0 });
  };
  session.send('ask', 'confirm', 'sure?');
  session.send('ask', 'refuse');
  session.send('ask', 'nobody');
  session.send('ask', 'toString');
  await until(() => session.answers.length === 4);
  const byAsk = session.answers.sort((a, b) => a.asked.n - b.asked.n);
  expect(byAsk.map(({ error, value }) => error ?? value)).toEqual([
    'sure? yes',
    { code: 'sold-out', message: 'no seats left', data: { seats: 0 } },
    { code: 'WEBGRAM_NO_HANDLER', message: "no answer to 'nobody'" },
    { code: 'WEBGRAM_NO_HANDLER', message: "no answer to 'toString'" },
  ]);
});

test('what cannot go into an answer is reported in the page, and the asker told that it failed', async () => {
  await collectReports(async (reports) => {
    const { client } = new TestPage();
    await client.waitForSession();
    client.answer['large'] = () => 'x'.repeat(1_048_577);
    client.answer['class'] = () => new URL('https://x.example');
    client.answer['data'] = () => {
      throw new AskError('sold-out', 'no seats left', new URL('https://x.example'));
    };
    client.answer['code'] = () => {
      throw new AskError('');
    };
    for (const type of ['large', 'class', 'data', 'code']) session.send('ask', type);
    await until(() => session.answers.length === 4);
    expect(session.answers.map(({ error }) => error)).toEqual(
      Array(4).fill({ code: 'WEBGRAM_HANDLER_FAILED', message: 'the handler failed' }),
    );
    await until(() => reports.length === 4);
    const names = reports.map(
      (error) => ((error as WebgramError).code as string | undefined) ?? (error as Error).name,
    );
    expect(names.sort()).toEqual([
      'TypeError',
      'WEBGRAM_MESSAGE_TOO_LARGE',
      'WEBGRAM_NOT_ENCODABLE',
      'WEBGRAM_NOT_ENCODABLE',
    ]);
    expect(await client.ask('incr', 41)).toBe(42);
  });
});

test('refuses misuse at once', () => {
  const { client } = new TestPage();
  for (const type of ['$session-active', '', 'x'.repeat(257), 7 as unknown as string]) {
    expect(() => client.send(type)).toThrow(TypeError);
    expect(() => client.volatile.send(type)).toThrow(TypeError);
    expect(() => client.ask(type)).toThrow(TypeError);
  }
  expect(() => client.on('$sesion-active', () => undefined)).toThrow(TypeError);
  const unsendable = [() => 1, Symbol('x'), new URL('https://x.example'), new Promise(() => undefined), /x/];
  for (const value of unsendable) {
    expect(() => client.send('x', { value })).toThrow(
      expect.objectContaining({ code: 'WEBGRAM_NOT_ENCODABLE' }),
    );
  }
  const cycle: { self?: unknown } = {};
  cycle.self = cycle;
  expect(() => client.send('x', cycle)).toThrow();
  expect(() => client.send('x', 'x'.repeat(1_048_577))).toThrow(
    expect.objectContaining({ code: 'WEBGRAM_MESSAGE_TOO_LARGE' }),
  );
  expect(() => new Client('ftp://server.example', {})).not.toThrow();
  expect(() => new Client('nonsense:', {}, {} as TabEnvironment)).toThrow(TypeError);
});

test('copies arguments at once', async () => {
  const { client } = new TestPage();
  const list = [1, new Date(5), new Map([[1, { deep: true }]])];
  client.send('x', list);
  list.length = 0;
  await until(() => session.handled.length === 1);
  expect(session.handled[0]?.args).toEqual([[1, new Date(5), new Map([[1, { deep: true }]])]]);
});

test('a link that breaks costs nothing: what was sent meanwhile arrives once, and asks are answered', async () => {
  const page = new TestPage();
  const { client, active } = page;
  await client.waitForSession();
  session.acknowledges = false;
  session.answersAsks = false;
  const unanswered = client.ask('incr', 1);
  client.send('before', 1);
  await until(() => session.handled.length === 2);
  server.last.cut();
  client.send('meanwhile', 2);
  session.acknowledges = true;
  session.answersAsks = true;
  host.clock.advance(500);
  await until(() => active.length === 2);
  expect(active[1]).toMatchObject({ resumed: true, reason: 'resumed' });
  await until(() => session.handled.length === 3);
  expect(session.handled.map(({ type }) => type)).toEqual(['incr', 'before', 'meanwhile']);
  expect(await unanswered).toBe(2);
  expect(page.names.slice(page.names.indexOf('active'))).toEqual([
    'active',
    'waiting',
    'connecting',
    'active',
  ]);
});

test('a host that runs anew on the same port is greeted anew and gets everything again', async () => {
  const page = new TestPage();
  await page.client.waitForSession();
  session.acknowledges = false;
  page.client.send('one', 1);
  await until(() => session.handled.length === 1);

  const second = new TestHost(server, { keyStore: host.keyStore, locks: host.locks });
  alive(second);
  const [mine, its] = portPair();
  // WebKit: the same port object, but a host with fresh memory at its other end.
  page.port!.postMessage = (message) => mine.postMessage(message);
  mine.onmessage = ({ data }: { data: unknown }) => {
    page.hear(data);
  };
  second.hub.connect(its);
  session.acknowledges = true;
  await until(() => page.active.length === 2);
  page.client.send('two', 2);
  await until(() => session.handled.length === 2);
  expect(session.handled.map(({ type }) => type)).toEqual(['one', 'two']);
  expect(session.tabIDs).toHaveLength(1);
});

test('finds another host when its own has died, without a word', async () => {
  const second = new TestHost(server, { keyStore: host.keyStore, locks: host.locks });
  alive(second);
  const page = new TestPage();
  await page.client.waitForSession();
  page.hosts = [second];
  page.client.send('to the dead', 1);
  host.locks.release(host.hub.incarnation);
  await until(() => page.active.length === 2);
  page.client.send('to the living', 2);
  await until(() => session.handled.length === 2);
  expect(session.handled.map(({ type }) => type)).toEqual(['to the dead', 'to the living']);
  expect(page.client.state.name).toBe('active');
});

/** The host dies, none is found for a while, and then another one. @returns That one. */
async function dieAndSucceed(page: TestPage): Promise<TestHost> {
  page.hosts = [];
  host.locks.release(host.hub.incarnation);
  await until(() => page.names.at(-1) === 'waiting');
  const second = new TestHost(server, { keyStore: host.keyStore, locks: host.locks });
  alive(second);
  page.hosts = [second];
  await until(() => page.active.length === 2);
  return second;
}

test('goes on looking when a host has died and none is found', async () => {
  const page = new TestPage();
  await page.client.waitForSession();
  await dieAndSucceed(page);
});

test('a tab between two hosts is not taken for dead by either of them', async () => {
  const page = new TestPage();
  await page.client.waitForSession();
  const [lock] = page.locks;
  const freed: string[] = [];
  host.locks.watch(lock!, () => freed.push('the lock'));
  const second = await dieAndSucceed(page);
  page.hear({ kind: 'moved', incarnation: second.hub.incarnation, script: '', build: '', why: 'a test' });
  await until(() => page.active.length === 3);
  expect(freed).toEqual([]);
  page.client.close();
  expect(freed).toEqual(['the lock']);
});

test('a page in the back-forward cache lets go, and is in session again when it comes back', async () => {
  const page = new TestPage();
  await page.client.waitForSession();
  page.client.send('one', 1);
  await until(() => session.handled.length === 1);
  page.listener?.hide();
  await until(() => host.locks.watched === 0);
  page.listener?.show();
  await until(() => page.active.length === 2);
  page.client.send('two', 2);
  await until(() => session.handled.length === 2);
  expect(page.active[1]).toMatchObject({ reason: 'resumed' });
});

test('what a page sends when it comes back from the back-forward cache was not handled before, and is', async () => {
  const page = new TestPage();
  await page.client.waitForSession();
  expect(await page.client.ask('incr', 1)).toBe(2);
  page.listener?.hide();
  await rest();
  host.clock.advance(1_000);
  await server.last.up('detach');
  session.outcome = 'forgotten';
  page.listener?.show();
  expect(await page.client.ask('incr', 2)).toBe(3);
  expect(page.active[1]).toMatchObject({ reason: 'retention', gap: { sent: 0, received: 0 } });
  await page.client.ask('incr', 3);
});

test('what was not answered when a page went into the back-forward cache is not asked again', async () => {
  const page = new TestPage();
  await page.client.waitForSession();
  session.answersAsks = false;
  const unanswered = page.client.ask('incr', 1).catch((error: unknown) => error);
  await until(() => session.handled.length === 1);
  page.listener?.hide();
  await rest();
  host.clock.advance(1_000);
  await server.last.up('detach');
  session.outcome = 'forgotten';
  session.answersAsks = true;
  page.listener?.show();
  expect(await unanswered).toMatchObject({ code: 'WEBGRAM_GAP' });
  expect(await page.client.ask('incr', 2)).toBe(3);
});

test('a page that stays in the back-forward cache is gone for the server', async () => {
  const page = new TestPage();
  await page.client.waitForSession();
  page.listener?.hide();
  await rest();
  host.clock.advance(1_000);
  await server.last.up('detach');
});

test('a wake reaches the host', async () => {
  const page = new TestPage();
  await page.client.waitForSession();
  host.clock.advance(5_000);
  page.listener?.wake();
  await server.last.up('ping');
});

test('a page that goes leaves what the server has not acknowledged, one that has nothing such leaves nothing', async () => {
  const page = new TestPage();
  const { client } = page;
  await client.ask('incr', 1);
  await until(() => page.port !== undefined);
  page.listener?.hide();
  expect(page.left).toEqual([]);

  const other = new TestPage();
  await other.client.ask('incr', 1);
  session.acknowledges = false;
  other.client.send('one');
  other.client.send('two');
  other.listener?.hide();
  expect(other.left).toEqual([[expect.any(String), 2, 2, 4, 1]]);
});

test('what pages before have lost is told with the first word of the server, also to one that has joined', async () => {
  const first = new TestPage();
  first.takeNotes = () => Promise.resolve(3);
  expect(await first.client.waitForSession()).toMatchObject({ reason: 'new', gap: { sent: 3, received: 0 } });
  expect(first.active).toHaveLength(1);

  const second = new TestPage();
  second.takeNotes = () => Promise.resolve(2);
  expect(await second.client.waitForSession()).toMatchObject({ reason: 'joined', gap: { sent: 0 } });
  await until(() => second.active.length === 2);
  expect(second.active[1]).toMatchObject({ reason: 'joined', gap: { sent: 2, received: 0 } });

  const third = new TestPage();
  third.takeNotes = () => Promise.reject(new Error('no file'));
  await third.client.ask('incr', 1);
  expect(third.active).toMatchObject([{ reason: 'joined', gap: { sent: 0 } }]);
});

test('a host of a newer port protocol: the client ends, says so, and says nothing to the host', async () => {
  const page = new TestPage();
  page.protocol = PORT_PROTOCOL + 1;
  const code = 'WEBGRAM_VERSION_SKEW';
  await expect(page.client.waitForSession()).rejects.toMatchObject({ code });
  expect(page.states).toEqual([{ name: 'closed', code, reason: 'the host is newer' }]);
  expect(page.client.send('late')).toBe(false);
  await rest();
  expect(server.connections).toHaveLength(0);
});

test('no host: the state says why, asks and waits reject, and sends are refused', async () => {
  const page = new TestPage({}, []);
  const { client } = page;
  const ask = client.ask('incr', 1);
  const wait = client.waitForSession();
  const noHost = expect.objectContaining({ code: 'WEBGRAM_NO_HOST', message: 'none is left' });
  await expect(ask).rejects.toEqual(noHost);
  await expect(wait).rejects.toEqual(noHost);
  await expect(client.waitForHost()).rejects.toEqual(noHost);
  await expect(client.drained()).rejects.toEqual(noHost);
  expect(client.state).toEqual({ name: 'closed', code: 'WEBGRAM_NO_HOST', reason: 'none is left' });
  expect(client.send('x')).toBe(false);
  await expect(client.ask('x')).rejects.toEqual(noHost);
});

test('a host that serves nobody sends its tabs to another one, and says why', async () => {
  const other = new TestHost(server, { locks: host.locks });
  alive(host, other);
  const page = new TestPage({}, [host, other]);
  await page.client.waitForHost();
  page.hosts.shift();
  const moved = {
    kind: 'moved',
    incarnation: host.hub.incarnation,
    script: '',
    build: '',
    why: 'no keys here',
  };
  page.hear(moved);
  await page.client.waitForSession();
  expect(page.moves).toEqual([undefined, moved]);
});

test('a host that does not serve this tab is the end', async () => {
  const page = new TestPage();
  await page.client.waitForHost();
  const { incarnation } = host.hub;
  page.hear({ kind: 'refused', incarnation, code: 'WEBGRAM_TOO_MANY_TABS', message: 'too many' });
  const code = 'WEBGRAM_TOO_MANY_TABS';
  expect(page.client.state).toEqual({ name: 'closed', code, reason: 'too many' });
  await expect(page.client.ask('x')).rejects.toMatchObject({ code });
});

test('without a document it is inert', async () => {
  const client = new Client();
  expect(client.state).toEqual({ name: 'offline' });
  expect(client.send('x', 1)).toBe(false);
  await expect(client.ask('x')).rejects.toMatchObject({ code: 'WEBGRAM_NO_BROWSER' });
  await expect(client.waitForSession()).rejects.toMatchObject({ code: 'WEBGRAM_NO_BROWSER' });
  client.close();
});

test('close ends the client and nothing else: what was sent before still arrives', async () => {
  const page = new TestPage();
  const { client } = page;
  await client.waitForSession();
  session.answersAsks = false;
  const pending = client.ask('incr', 1);
  client.send('last', 1);
  client.close();
  client.close();
  await expect(pending).rejects.toMatchObject({ code: 'WEBGRAM_CLOSED' });
  expect(page.names.filter((name) => name === 'closed')).toHaveLength(1);
  expect(client.send('after')).toBe(false);
  await server.last.up('detach');
  expect(session.handled.map(({ type }) => type)).toEqual(['incr', 'last']);
  expect(server.last.isOpen).toBe(true);
});

test('what was sent without a link arrives even when the client is closed before there is one', async () => {
  server.isDown = true;
  const page = new TestPage();
  page.client.send('last words', 1);
  await until(() => page.names.includes('waiting'));
  page.client.close();
  server.isDown = false;
  host.clock.advance(20_000);
  await until(() => session.handled.length === 1);
  await server.last.up('detach');
});

test('the application at the server can close the connection', async () => {
  const { client } = new TestPage();
  await client.waitForSession();
  session.closeTab('bye now');
  await until(() => client.state.name === 'closed');
  expect(client.state).toEqual({ name: 'closed', code: 'WEBGRAM_CLOSED', reason: 'bye now' });
});

test('a stream that the server has forgotten begins anew, and says what is lost', async () => {
  const page = new TestPage();
  await page.client.waitForSession();
  session.acknowledges = false;
  session.answersAsks = false;
  const pending = page.client.ask('incr', 1);
  page.client.send('x', 1);
  await until(() => session.handled.length === 2);
  session.outcome = 'forgotten';
  session.acknowledges = true;
  server.last.cut();
  host.clock.advance(500);
  await expect(pending).rejects.toMatchObject({ code: 'WEBGRAM_GAP' });
  await until(() => page.active.length === 2);
  expect(page.active[1]).toMatchObject({ reason: 'retention', gap: { sent: 2, received: 0 } });
  page.client.send('anew', 1);
  await until(() => session.handled.length === 3);
  expect(session.tabIDs).toHaveLength(2);
});

test('send returns false over the mark, and drained resolves when there is room again', async () => {
  const { client } = new TestPage();
  await client.waitForSession();
  session.acknowledges = false;
  let sent = 1;
  while (client.send('x', sent)) sent += 1;
  expect(sent).toBe(1_000);
  let isDrained = false;
  const drained = client.drained().then(() => {
    isDrained = true;
  });
  await until(() => session.handled.length === 1_000);
  expect(isDrained).toBe(false);
  session.acknowledges = true;
  client.send('x', 0);
  await drained;
  expect(client.send('x', 1)).toBe(true);
});

test('an ask can be aborted or time out; waiting for the link does not count', async () => {
  server.isDown = true;
  const page = new TestPage();
  const { client } = page;
  await until(() => page.names.includes('waiting'));
  session.answersAsks = false;
  const controller = new AbortController();
  const abortable = client.with({ signal: controller.signal }).ask('incr', 1);
  controller.abort(new Error('enough'));
  await expect(abortable).rejects.toMatchObject({ code: 'WEBGRAM_ABORTED' });
  await expect(client.with({ signal: controller.signal }).ask('incr', 1)).rejects.toMatchObject({
    code: 'WEBGRAM_ABORTED',
  });
  await expect(client.waitForSession({ signal: AbortSignal.abort() })).rejects.toMatchObject({
    code: 'WEBGRAM_ABORTED',
  });
  let settled = false;
  const timed = client.with({ timeoutMs: 1 }).ask('incr', 1);
  timed.catch(() => {
    settled = true;
  });
  await rest(40);
  expect(settled).toBe(false);
  server.isDown = false;
  host.clock.advance(20_000);
  await expect(timed).rejects.toMatchObject({ code: 'WEBGRAM_TIMEOUT' });
});

test('volatile messages are dropped while there is no session', async () => {
  server.isDown = true;
  const page = new TestPage();
  expect(page.client.volatile.send('cursor', 1)).toBe(false);
  await until(() => page.names.includes('waiting'));
  server.isDown = false;
  host.clock.advance(20_000);
  await page.client.waitForSession();
  page.client.volatile.send('cursor', 2);
  await server.last.up('volatile');
  expect(server.last.ups.filter((up) => up.kind === 'volatile').map(({ args }) => args)).toEqual([[2]]);
});

test('a changed server key is told, and warned of when nobody listens', async () => {
  const page = new TestPage();
  await page.client.waitForSession();
  const warn = vi.spyOn(console, 'warn').mockImplementation(() => undefined);
  const notices: unknown[] = [];
  host.server = await FakeServer.successor(server, 'same store');
  server.last.cut();
  host.clock.advance(500);
  await until(() => warn.mock.calls.length === 1);
  page.client.on('$notice', (notice) => notices.push(notice));
  page.hear({
    kind: 'notice',
    incarnation: host.hub.incarnation,
    code: 'WEBGRAM_SERVER_KEY_CHANGED',
    message: 'again',
  });
  expect(notices).toHaveLength(1);
  expect(warn).toHaveBeenCalledTimes(1);
  warn.mockRestore();
});

test('accepts a changed server key when the application says so, and tells the reason', async () => {
  const page = new TestPage();
  const { client, active } = page;
  await client.waitForSession();
  client.on('$notice', () => {
    client.acceptServerKey();
  });
  host.server = await FakeServer.successor(server, 'same store');
  const successor = new FakeSession(host.server);
  server.last.cut();
  host.clock.advance(500);
  await until(() => active.length === 2);
  expect(active[1]).toMatchObject({ sessionID: 1, reason: 'server-key-changed' });
  expect(page.names).toContain('waiting');
  client.send('after');
  await until(() => successor.handled.length === 1);
});

test('does not notice that one link follows another', async () => {
  server.maxLinkMs = 60_000;
  const page = new TestPage();
  await page.client.waitForSession();
  await rest();
  for (let i = 2; i <= 4; i++) {
    for (let passed = 0; passed < 60_000; passed += 10_000) {
      host.clock.advance(10_000);
      await rest();
    }
    await until(() => server.connections.length >= i);
    page.client.send('on link', i);
    await until(() => session.handled.length === i - 1);
  }
  await rest();
  expect(page.active).toHaveLength(1);
  expect(page.names).toEqual(['connecting', 'active']);
});

test('goes to the host that serves the storage now', async () => {
  const second = new TestHost(server, { keyStore: host.keyStore, locks: host.locks });
  alive(second);
  const page = new TestPage({}, [host]);
  await page.client.waitForSession();
  page.client.send('one', 1);
  await until(() => session.handled.length === 1);
  page.hosts = [second];
  const to = { script: 'https://page.example/next.js', build: 'next', why: 'a test' };
  host.hub.standDown(to, () => undefined);
  await until(() => page.active.length === 2);
  expect(page.moves.at(-1)).toMatchObject(to);
  page.client.send('two', 2);
  await until(() => session.handled.length === 2);
  expect(session.handled.map(({ type }) => type)).toEqual(['one', 'two']);
  expect(session.tabIDs).toHaveLength(1);
  expect(page.client.identity).toMatchObject({ sessionID: 1 });
});

test('tells why the session is another one, also when that has cost messages', async () => {
  const page = new TestPage();
  const { client, active } = page;
  await client.waitForSession();
  session.answersAsks = false;
  session.acknowledges = false;
  const ask = expect(client.ask('incr', 1)).rejects.toMatchObject({ code: 'WEBGRAM_GAP' });
  await until(() => session.handled.length === 1);
  for (const known of server.sessions.values()) known.ended = 'revoked';
  const next = new FakeSession(server);
  server.last.send({ kind: 'bye', reason: 'revoked', args: [] });
  await until(() => page.names.at(-1) === 'waiting');
  host.clock.advance(500);
  await ask;
  await until(() => active.length === 2);
  expect(active[1]).toEqual({
    sessionID: 2,
    resumed: false,
    reason: 'revoked',
    gap: { sent: 1, received: 0 },
  });
  expect(next.handled).toEqual([]);
});

test('debug prints states and types, never what is in them', async () => {
  const debug = vi.spyOn(console, 'debug').mockImplementation(() => undefined);
  const { client } = new TestPage();
  client.debug = true;
  client.send('greet', 'canary-in-arguments');
  await client.waitForSession();
  session.send('send', 'greeted', 'canary-in-arguments');
  await until(() => debug.mock.calls.flat().includes('greeted'));
  const printed = JSON.stringify(debug.mock.calls);
  expect(printed).toContain('greet');
  expect(printed).toContain('active');
  expect(printed).not.toContain('canary');
  debug.mockRestore();
});

test('fresh begins a new identity, once', async () => {
  await new TestPage().client.waitForSession();
  const page = new TestPage({ skipResume: true });
  expect(await page.client.waitForSession()).toMatchObject({ sessionID: 2 });
  page.listener?.show();
  await until(() => page.active.length === 2);
  expect(page.active[1]).toMatchObject({ sessionID: 2 });
});

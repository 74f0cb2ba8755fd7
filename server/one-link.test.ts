import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { CLOSE, DEFAULT_LIMITS, WebgramError } from 'webgram';
import { Sessions } from './sessions.ts';
import { MemoryStore } from './store/memory-store.ts';
import { LoadGatedStore } from './testing/load-gated-store.ts';
import { Scene } from './testing/scene.ts';
import { TestTab, type TestIdentity, type TestLink } from './testing/test-client.ts';
import { turn, until } from './testing/until.ts';

let scene: Scene;
let identity: TestIdentity;

beforeEach(() => {
  scene = new Scene();
  identity = scene.identity();
});

afterEach(() => {
  vi.useRealTimers();
  vi.restoreAllMocks();
  return scene.close();
});

/** The same tab on another link. */
function moved(tab: TestTab, link: TestLink): TestTab {
  const next = new TestTab(link, tab.tab, tab.tabID, tab.counter + 1);
  next.seq = tab.seq;
  next.received = tab.received;
  return next;
}

describe('a session that is resumed on many sockets at once', () => {
  test('keeps one link, the one of the highest generation; the others are told', async () => {
    await scene.start({ limits: { maxUnproved: 200 } });
    await (await scene.enter(identity)).close();
    const links = await Promise.all(Array.from({ length: 100 }, () => scene.connect()));
    const answers = await Promise.all(links.map((link) => link.enter({ ...identity })));
    const generations = answers.map((answer) => (answer.kind === 'ok' ? answer.generation : 0));
    expect(new Set(generations).size).toBe(100);
    expect(Math.min(...generations)).toBeGreaterThan(0);
    await expect.poll(() => links.filter((link) => link.isOpen).length).toBe(1);
    const winner = generations.indexOf(Math.max(...generations));
    for (const [index, link] of links.entries()) {
      if (index === winner) continue;
      const bye = await link.next('bye');
      expect(bye.reason).toBe('superseded');
      expect(bye.args[0]).toBeGreaterThan(generations[index]!);
      expect(await link.waitForClose()).toMatchObject({ code: CLOSE.superseded });
    }
    const tab = new TestTab(links[winner]!);
    await tab.attach();
    expect(await tab.ask('incr', 1)).toBe(2);
    expect(scene.server.sockets).toBe(1);
    expect(scene.messages()).toEqual([]);
  });

  test('commits on through all of that, and handles each message once', async () => {
    await scene.start();
    scene.server.answer['add'] = async (conn) => {
      conn.sessionData['count'] = ((conn.sessionData['count'] as number | undefined) ?? 0) + 1;
      await conn.save();
      return conn.sessionData['count'];
    };
    let tab = await scene.tab(identity);
    for (let round = 0; round < 20; round += 1) {
      const ask = tab.askEnvelope('add');
      tab.link.send(ask);
      const link = await scene.connect();
      const next = moved(tab, link);
      await link.enter(identity, [{ ...next.attachEnvelope(), oldest: tab.seq } as typeof ask, ask]);
      expect(await next.answerTo(next.seq)).toBe(round + 1);
      tab = next;
    }
    expect(scene.messages()).toEqual([]);
  });
});

describe('a client that was superseded and comes back', () => {
  /** Which generations `$forked` has told of. */
  let forks: number[];

  beforeEach(async () => {
    await scene.start();
    forks = [];
    scene.server.on('$forked', (_session, { other }) => forks.push(other.generation));
    await scene.enter(identity);
  });

  /** Another one takes over, and is pinged. @returns Its generation. */
  async function takeOver(answers: boolean): Promise<number> {
    const link = await scene.enter(identity);
    const { n } = await link.next('ping');
    if (answers) {
      link.send({ kind: 'pong', n });
      link.send({ kind: 'ping', n: 1 });
      await link.next('pong');
    } else link.socket.terminate();
    return n;
  }

  /** @returns The generation that it is told of. */
  async function comeBack(...caps: string[]): Promise<number | undefined> {
    const link = await scene.connect();
    await link.enter(identity, [{ kind: 'ping', n: 2 }], caps);
    await link.next('pong');
    const told = /\[11,"forked",(\d+)\]/.exec(link.received.join(''));
    return told === null ? undefined : Number(told[1]);
  }

  test('is told of a copy when the other one lives, and so is the application', async () => {
    const by = await takeOver(true);
    expect(await comeBack('else', `superseded ${by}`)).toBe(by);
    expect(forks).toEqual([by]);
    expect(scene.messages()).toEqual(['a copy of an identity is in use']);
  });

  test('is listed as forked until a login has shut the copy out', async () => {
    const { sessions } = scene.server;
    const isForked = async () => (await sessions.list('alice')).map(({ forked }) => forked);
    await scene.store.setAccount(1, 'alice');
    expect(await isForked()).toEqual([false]);
    await comeBack(`superseded ${await takeOver(true)}`);
    expect(await isForked()).toEqual([true]);
    const tab = await scene.tab(identity);
    expect(await tab.ask('$devices', 'list', 0)).toMatchObject([{ sessionID: 1, forked: true }]);
    const [conn] = scene.server.connections;
    const loggingIn = conn!.login('alice');
    await tab.link.renew(identity);
    await loggingIn;
    expect(await isForked()).toEqual([false]);
  });

  test('is told of a copy also when the store cannot keep that', async () => {
    const failure = new WebgramError('WEBGRAM_STORE_FAILED', 'the disk is away', { retryable: true });
    vi.spyOn(MemoryStore.prototype, 'markForked').mockRejectedValueOnce(failure);
    const by = await takeOver(true);
    expect(await comeBack(`superseded ${by}`)).toBe(by);
    expect(forks).toEqual([by]);
    const notStored = 'that an identity has a copy was not stored';
    expect(scene.messages()).toEqual(['a copy of an identity is in use', notStored]);
    expect(await scene.server.sessions.get(1)).toMatchObject({ forked: false });
  });

  test('is told nothing when nobody has answered there, or it does not ask, or names something else', async () => {
    const ghost = await takeOver(false);
    expect(await comeBack(`superseded ${ghost}`)).toBeUndefined();
    const by = await takeOver(true);
    for (const cap of [
      '',
      'superseded',
      `superseded ${by}0`,
      `superseded -${by}`,
      'superseded 1e3',
      `Superseded ${by}`,
    ]) {
      expect(await comeBack(cap), cap).toBeUndefined();
    }
    expect(forks).toEqual([]);
    expect(scene.messages()).toEqual([]);
  });

  test('is told of one of the last eight only', async () => {
    const by = await takeOver(true);
    for (let more = 0; more < 8; more++) await takeOver(true);
    expect(await comeBack(`superseded ${by}`)).toBeUndefined();
  });
});

test('a proof that its client has given up does not take the session over, however late the timers are', async () => {
  await scene.start();
  const tab = await scene.tab(identity);
  const late = await scene.connect();
  const now = performance.now.bind(performance);
  const { handshakeTimeoutMs } = DEFAULT_LIMITS;
  const clock = vi.spyOn(performance, 'now').mockImplementation(() => now() + handshakeTimeoutMs + 1);
  const claims = vi.spyOn(Sessions.prototype, 'claim');
  const findKey = vi.spyOn(MemoryStore.prototype, 'findKey');
  void late.enter(identity).catch(() => undefined);
  await until(() => findKey.mock.results.length > 0);
  await findKey.mock.results[0]!.value;
  await turn();
  expect(claims).not.toHaveBeenCalled();
  clock.mockRestore();
  expect(await tab.ask('incr', 1)).toBe(2);
});

describe('a link that has lived as long as it may', () => {
  test('is ended with a bye when no other has taken over', async () => {
    await scene.start({ limits: { maxLinkMs: 50, linkGraceMs: 50 } });
    let closed = 0;
    scene.server.on('$closed', () => (closed += 1));
    const tab = await scene.tab(identity);
    expect(await tab.link.next('bye')).toMatchObject({ reason: 'age' });
    expect(await tab.link.waitForClose()).toMatchObject({ code: CLOSE.deadline });
    const next = moved(tab, await scene.enter(identity));
    expect(await next.attach()).toMatchObject({ resumed: true });
    expect(closed).toBe(0);
  });

  test('is not ended before the grace is over', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    await scene.start({ limits: { maxLinkMs: 1, linkGraceMs: 60_000 } });
    const tab = await scene.tab(identity);
    vi.advanceTimersByTime(60_000);
    expect(await tab.ask('incr', 1)).toBe(2);
    vi.advanceTimersByTime(3);
    expect(await tab.link.next('bye')).toMatchObject({ reason: 'age' });
  });

  test('may be allowed to live longer than a timer of Node can wait', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    await scene.start({ limits: { maxLinkMs: 2 ** 40 } });
    const tab = await scene.tab(identity);
    vi.advanceTimersByTime(1_000_000_000);
    expect(await tab.ask('incr', 1)).toBe(2);
  });
});

describe('a newer link', () => {
  test('takes over without the conn noticing: nothing is lost, doubled or reordered', async () => {
    const server = await scene.start();
    const seen: unknown[] = [];
    const events: string[] = [];
    for (const event of ['$connect', '$session-active', '$closed'] as const) {
      server.on(event as '$closed', () => events.push(event));
    }
    let release = (): void => undefined;
    server.answer['slow'] = async (conn) => {
      await new Promise<void>((resolve) => (release = resolve));
      conn.send('from-slow');
      return 'slow';
    };
    server.on('note', (_conn, n) => seen.push(n));
    const tab = await scene.tab(identity);
    const [conn] = server.connections;
    const note = (n: number) => {
      tab.seq += 1;
      return { kind: 'send' as const, tab: 1, seq: tab.seq, ack: tab.received, type: 'note', args: [n] };
    };
    const first = [tab.askEnvelope('slow'), note(1), note(2)];
    tab.link.sendTogether(first);
    tab.link.send({ kind: 'ping', n: 1 });
    await tab.link.next('pong');

    const link = await scene.connect();
    const next = moved(tab, link);
    const attach = { ...next.attachEnvelope(), oldest: 1 } as (typeof first)[number];
    await link.enter(identity, [attach, ...first, note(3)]);
    expect(await tab.link.next('bye')).toMatchObject({ reason: 'superseded' });
    expect(await next.attached()).toMatchObject({ resumed: true, reason: 'resumed' });
    release();
    expect(await link.next('send')).toMatchObject({ type: 'from-slow' });
    expect(await next.answerTo(1)).toBe('slow');
    await expect.poll(() => seen).toEqual([1, 2, 3]);
    expect(events).toEqual(['$connect', '$session-active']);
    expect([...server.connections]).toEqual([conn]);
    expect(conn?.isOnline).toBe(true);
  });

  test('that was claimed by another node refuses the commits of this one, and no reply leaves', async () => {
    const store = new MemoryStore();
    scene.store = store;
    await scene.start();
    scene.server.answer['keep'] = async (conn) => {
      conn.sessionData['kept'] = true;
      await conn.save();
      return 'kept';
    };
    const tab = await scene.tab(identity);
    await store.claim(1, Date.now() + 1_000);
    const ask = tab.askEnvelope('keep');
    tab.link.send(ask);
    expect(await tab.link.next('bye')).toMatchObject({ reason: 'commit-refused' });
    await tab.link.waitForClose();
    expect(tab.link.received.join()).not.toContain('kept');
    expect((await store.load(1, 0))?.data).toBeUndefined();

    const link = await scene.connect();
    const next = moved(tab, link);
    await link.enter(identity, [{ ...next.attachEnvelope(), oldest: 1 } as typeof ask, ask]);
    expect(await next.answerTo(1)).toBe('kept');
    expect((await store.load(1, 0))?.data).toBe('1:{"kept":true}');
  });

  test('that comes while the server loads the session for another one can commit', async () => {
    const store = new LoadGatedStore();
    scene.store = store;
    await scene.start();
    await (await scene.enter(identity)).close();
    await scene.close();
    await scene.start();
    scene.server.answer['save'] = async (conn) => {
      conn.sessionData['x'] = 1;
      await conn.save();
      return true;
    };
    const release = store.shut();
    const claims = vi.spyOn(Sessions.prototype, 'claim');
    const first = scene.enter(identity).catch(() => undefined);
    await until(() => store.isLoading);
    const second = scene.enter(identity);
    await until(() => claims.mock.calls.length === 2);
    // The second waits for the load now.
    await turn();
    release();
    await first;
    const tab = new TestTab(await second);
    await tab.attach();
    expect(await tab.ask('save')).toBe(true);
    expect(scene.messages()).toEqual([]);
  });
});

import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { Conn } from './conn.ts';
import { splitOptions } from './delivery.ts';
import { concurrent } from './handlers.ts';
import type { LiveSession } from './live-session.ts';
import { Scene } from './testing/scene.ts';
import { TestTab, type TestIdentity, type TestLink } from './testing/test-client.ts';

let scene: Scene;
let identity: TestIdentity;
let link: TestLink;

beforeEach(async () => {
  scene = new Scene();
  identity = scene.identity();
});

afterEach(() => scene.close());

const session = (): LiveSession => scene.server.sessions.live.get(identity.sessionID!)!;

/** Tabs 1 to `count` on one link. */
async function tabs(count: number): Promise<TestTab[]> {
  link = await scene.enter(identity);
  const made = Array.from({ length: count }, (_, i) => new TestTab(link, i + 1));
  for (const tab of made) await tab.attach();
  return made;
}

function show(tab: TestTab, isVisible: boolean): void {
  tab.link.send({ kind: 'volatile', tab: tab.tab, type: '$visible', args: [isVisible] });
}

/** What was sent to tabs so far: `[tab, type, …args]`. */
async function sent(on = link): Promise<unknown[]> {
  on.send({ kind: 'ping', n: 7 });
  await on.next('pong');
  const all: unknown[] = [];
  for (const text of on.received.splice(0)) {
    for (const [kind, tab, , , ...message] of JSON.parse(text.slice(22)) as unknown[][]) {
      if (kind === 2) all.push([tab, ...message]);
    }
  }
  return all;
}

function detach(tab: TestTab): void {
  tab.link.send({ kind: 'detach', tab: tab.tab, counter: tab.counter, why: 'closed' });
}

describe('options behind the arguments', () => {
  test.each([
    [[1, { deliver: 'one' }], 'one', [1]],
    [[{ deliver: 'visible' }], 'visible', []],
    [[{ deliver: 'one' }, { deliver: 'all' }], 'all', [{ deliver: 'one' }]],
    [[{ deliver: 'pigeon' }], 'all', [{ deliver: 'pigeon' }]],
    [[{ deliver: 'one', to: 'Riga' }], 'all', [{ deliver: 'one', to: 'Riga' }]],
    [[null], 'all', [null]],
    [[], 'all', []],
  ])('of %j are %s', (args, deliver, rest) => {
    expect(splitOptions(args)).toEqual({ deliver, rest });
  });
});

describe('a message to a session', () => {
  test('reaches every tab, those that are seen, or one', async () => {
    await scene.start();
    const [first, second] = await tabs(3);
    expect(session().send('toast', 0, { deliver: 'visible' })).toBe(0);
    show(first!, true);
    show(second!, true);
    expect(await sent()).toEqual([]);
    expect([...session().conns].map(({ isVisible }) => isVisible)).toEqual([true, true, false]);
    expect(session().send('news')).toBe(3);
    expect(session().send('toast', 1, { deliver: 'visible' })).toBe(2);
    expect(session().send('print', 1, { deliver: 'one' })).toBe(1);
    show(second!, false);
    expect(await sent()).toEqual([
      [1, 'news'],
      [2, 'news'],
      [3, 'news'],
      [1, 'toast', 1],
      [2, 'toast', 1],
      [2, 'print', 1],
    ]);
    session().send('print', 2, { deliver: 'one' });
    expect(await sent()).toEqual([[1, 'print', 2]]);
  });

  test('for one is taken over when its tab ends without having acknowledged it, once', async () => {
    await scene.start();
    const [first, second, third] = await tabs(3);
    show(first!, true);
    await sent();
    session().send('news', 1);
    session().send('print', 1, { deliver: 'one' });
    expect(await sent()).toContainEqual([1, 'print', 1]);
    detach(first!);
    expect(await sent()).toEqual([[2, 'print', 1]]);
    // It was acknowledged there: nobody else gets it.
    link.send({ kind: 'ack', tab: 2, ack: { life: session().life, n: 2 } });
    detach(second!);
    detach(third!);
    expect(await sent()).toEqual([]);
    const next = new TestTab(link, 4);
    await next.attach();
    expect(await sent()).toEqual([]);
  });

  test('for one waits for the next tab where there is no other', async () => {
    await scene.start();
    const [only] = await tabs(1);
    session().send('print', 1, { deliver: 'one' });
    session().send('news');
    await sent();
    detach(only!);
    await sent();
    const next = new TestTab(link, 2);
    await next.attach();
    expect(await sent()).toEqual([[2, 'print', 1]]);
  });

  test('for one is taken over from a tab that the application closes, or that holds too much', async () => {
    await scene.start({ limits: { maxUnackedCount: 3 } });
    const [first, second] = await tabs(2);
    show(second!, true);
    show(first!, true);
    await sent();
    session().send('print', 1, { deliver: 'one' });
    const [conn] = [...session().conns] as [Conn];
    for (let n = 0; n < 3; n += 1) conn.send('news', n);
    expect((await sent()).filter((one) => (one as unknown[])[1] === 'print')).toEqual([
      [1, 'print', 1],
      [2, 'print', 1],
    ]);
    const third = new TestTab(link, 3);
    await third.attach();
    [...session().conns][0]!.close();
    expect(await sent()).toEqual([[3, 'print', 1]]);
  });

  test('for one is taken over from a tab that went without a word; when it comes back it gets nothing', async () => {
    let nowMs = Date.now();
    await scene.start({ clock: () => nowMs, retention: { streamGraceMs: 1_000 } });
    const [frozen] = await tabs(1);
    scene.server.on('send-both', async (conn) => {
      conn.session.send('print', 1, { deliver: 'one' });
      conn.send('after');
    });
    link.send({ ...frozen!.askEnvelope('send-both'), kind: 'send' } as never);
    expect(await sent()).toEqual([
      [1, 'print', 1],
      [1, 'after'],
    ]);
    const before = link;
    link = await scene.enter(identity);
    await before.waitForClose();
    const other = new TestTab(link, 5);
    await other.attach();
    expect(await sent()).toEqual([]);
    nowMs += 1_000;
    session().sweep();
    await expect.poll(() => sent()).toEqual([[5, 'print', 1]]);
    const back = new TestTab(link, 6, frozen!.tabID, 2);
    back.seq = 1;
    await back.attach();
    expect(await sent()).toEqual([[6, 'after']]);
  });

  test('for one survives the server, also where its tab does not', async () => {
    const server = await scene.start();
    server.on('print-one', (conn) => {
      conn.session.send('print', 1, { deliver: 'one' });
    });
    const [first] = await tabs(1);
    link.send({ ...first!.askEnvelope('print-one'), kind: 'send' } as never);
    expect(await sent()).toEqual([[1, 'print', 1]]);
    detach(first!);
    await sent();
    await server.close();
    await scene.start();
    link = await scene.enter(identity);
    await new TestTab(link, 1).attach();
    expect(await sent()).toEqual([[1, 'print', 1]]);
  });

  test('of a handler that chose a tab which has ended since goes to another', async () => {
    const server = await scene.start();
    let release = (): void => undefined;
    let began = (): void => undefined;
    const beginning = new Promise<void>((resolve) => (began = resolve));
    server.on('slow', async (conn) => {
      conn.session.send('print', 1, { deliver: 'one' });
      began();
      await new Promise<void>((resolve) => (release = resolve));
    });
    const [first, second] = await tabs(2);
    show(first!, true);
    link.send({ ...second!.askEnvelope('slow'), kind: 'send' } as never);
    await beginning;
    [...session().conns][0]!.close();
    release();
    await expect.poll(() => sent()).toEqual([[2, 'print', 1]]);
  });
});

describe('a message to a person', () => {
  async function loggedIn(account: string): Promise<TestTab> {
    const own = scene.identity();
    const first = await scene.tab(own);
    const conn = [...scene.server.connections].find((one) => one.session.sessionID === own.sessionID)!;
    const loggingIn = conn.login(account);
    await first.link.renew(own);
    await loggingIn;
    await first.link.waitForClose();
    const tab = new TestTab(await scene.enter(own), 1, first.tabID, 2);
    await tab.attach();
    return tab;
  }

  test('reaches the tabs of all his sessions and nobody else’s; one to the server reaches all', async () => {
    const server = await scene.start();
    const [phone, laptop, bob] = [await loggedIn('alice'), await loggedIn('alice'), await loggedIn('bob')];
    expect(server.account('alice').conns.size).toBe(2);
    expect(server.account('alice').send('hello', 1)).toBe(2);
    expect(server.account('nobody').send('hello', 1)).toBe(0);
    for (const { link: own } of [phone, laptop]) expect(await sent(own)).toEqual([[1, 'hello', 1]]);
    expect(await sent(bob.link)).toEqual([]);
    expect(server.send('maintenance')).toBe(3);
    for (const { link: own } of [phone, laptop, bob]) expect(await sent(own)).toEqual([[1, 'maintenance']]);
  });

  test('leaves behind the commit of the handler that sends it, and not at all when that throws', async () => {
    const server = await scene.start();
    server.answer['tell'] = async (conn, text) => {
      server.account('bob').send('hello', text);
      conn.sessionData['told'] = text as string;
      await conn.save();
      if (text === 'throw') throw new Error('behind');
    };
    const [alice, bob] = [await loggedIn('alice'), await loggedIn('bob')];
    await expect(alice.ask('tell', 'throw')).rejects.toMatchObject({ code: 'WEBGRAM_HANDLER_FAILED' });
    await alice.ask('tell', 'well');
    expect(await sent(bob.link)).toEqual([[1, 'hello', 'well']]);
  });

  test('of a transaction leaves behind that, whatever becomes of the concurrent handler around it', async () => {
    const server = await scene.start();
    server.answer['tell'] = concurrent(async (conn: Conn) => {
      // Nothing is under way behind it, so that the next transaction begins in this handler.
      await conn.save({ now: true });
      await conn.update(() => {
        server.account('bob').send('hello', 1);
      });
      throw new Error('behind');
    });
    const [alice, bob] = [await loggedIn('alice'), await loggedIn('bob')];
    await expect(alice.ask('tell')).rejects.toMatchObject({ code: 'WEBGRAM_HANDLER_FAILED' });
    expect(await sent(bob.link)).toEqual([[1, 'hello', 1]]);
  });
});

import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { CLOSE } from 'webgram';
import type { UpEnvelope } from 'webgram';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { Conn } from './conn.ts';
import { DEFAULT_RETENTION } from './session-context.ts';
import { LevelMedium } from './store/level-medium.ts';
import { Scene } from './testing/scene.ts';
import { TestTab, type TestIdentity, type TestLink } from './testing/test-client.ts';

const { write } = LevelMedium.prototype;
const { streamGraceMs, streamRetentionMs } = DEFAULT_RETENTION;
const QUEUE = 'UVVFVUVRVUVVRVFVRVVFUQ';
const OTHER_QUEUE = 'b3RoZXJvdGhlcm90aGVybw';

let folder: string;
let scene: Scene;
let identity: TestIdentity;
let nowMs: number;
/** What was handled, in order, over all lives of the server. */
let handled: unknown[];

beforeEach(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'webgram-queue-'));
  scene = new Scene();
  identity = scene.identity();
  nowMs = 1_700_000_000_000;
  handled = [];
  await start();
});

afterEach(async () => {
  LevelMedium.prototype.write = write;
  await scene.close();
  await rm(folder, { recursive: true });
});

async function start(limits = {}): Promise<void> {
  const server = await scene.start({ db: path.join(folder, 'db'), clock: () => nowMs, limits });
  // It neither saves nor sends.
  server.on('note', (_conn: Conn, x: unknown) => void handled.push(x));
}

async function restart(limits = {}): Promise<void> {
  await scene.close();
  await start(limits);
}

function attachOf(tabID: string, oldest = 1, seenMs = 0, counter = 1): UpEnvelope {
  return {
    kind: 'attach',
    tab: 0,
    tabID,
    counter,
    received: { life: 0, n: 0 },
    oldest,
    seen: { timeMs: seenMs, life: Math.sign(seenMs), commit: 0 },
    info: {},
  };
}

function sendOf(seq: number, type: string, ...args: unknown[]): UpEnvelope {
  return { kind: 'send', tab: 0, seq, ack: { life: 0, n: 0 }, type, args };
}

/** Attaches the queue over a link of its own. */
async function drain(tabID = QUEUE, oldest = 1, seenMs = 0) {
  const link = await scene.enter(identity);
  link.send(attachOf(tabID, oldest, seenMs));
  return { link, attached: await link.next('attached') };
}

/** Waits until everything through `seq` may be freed. */
async function freed(link: TestLink, seq: number): Promise<void> {
  for (;;) {
    if ((await link.next('ack')).ack === seq) return;
  }
}

async function gone({ socket, closed }: TestLink): Promise<void> {
  socket.terminate();
  await closed;
}

describe('the stream of a durable queue', () => {
  test('is handled once, although the acknowledgement is lost and the server restarts two days later', async () => {
    const { link, attached } = await drain();
    expect(attached).toMatchObject({ tab: 0, received: 0, outcome: { resumed: false } });
    for (const seq of [1, 2]) link.send(sendOf(seq, 'note', seq));
    await freed(link, 2);
    await gone(link);
    await restart();
    nowMs += 2 * streamRetentionMs;
    const again = await drain(QUEUE, 1, nowMs - 2 * streamRetentionMs);
    expect(again.attached).toMatchObject({ received: 2, outcome: { resumed: true } });
    for (const seq of [1, 2, 3]) again.link.send(sendOf(seq, 'note', seq));
    await freed(again.link, 3);
    expect(handled).toEqual([1, 2, 3]);
  });

  test('is remembered as long as the session lives, whoever sweeps', async () => {
    const { link } = await drain();
    link.send(sendOf(1, 'note', 1));
    await freed(link, 1);
    await gone(link);
    nowMs += 390 * 86_400_000;
    await restart();
    const tab = new TestTab(await scene.enter(identity));
    await tab.attach();
    for (const session of [...scene.server.sessions.live.values()]) {
      session.sweep();
      await session.update((data) => void (data['is'] = 'written'));
    }
    await restart();
    expect((await drain()).attached).toMatchObject({ received: 1 });
  });

  test('is handed over to a newer link, whatever the counters say', async () => {
    const { link: first } = await drain();
    first.send(attachOf(QUEUE, 1, 0, 7));
    await first.next('attached');
    first.send(sendOf(1, 'note', 1));
    await freed(first, 1);
    const { link: second, attached } = await drain();
    expect(attached).toMatchObject({ counter: 1, received: 1 });
    second.send(sendOf(1, 'note', 1));
    second.send(sendOf(2, 'note', 2));
    await freed(second, 2);
    expect(handled).toEqual([1, 2]);
  });

  test('takes no place of a tab', async () => {
    await restart({ maxTabs: 1 });
    const { link } = await drain();
    const tab = new TestTab(link, 1);
    await tab.attach();
    link.send(sendOf(1, 'note', 1));
    await freed(link, 1);
    await gone(link);
    const again = new TestTab(await scene.enter(identity), 1);
    await again.attach();
    again.link.send(attachOf(QUEUE, 2));
    expect(await again.link.next('attached')).toMatchObject({ received: 1 });
  });

  test('gives way after 24 h to the one that a browser has begun since', async () => {
    const { link } = await drain();
    link.send(sendOf(1, 'note', 1));
    await freed(link, 1);
    await gone(link);
    nowMs += 1;
    const { link: other } = await drain(OTHER_QUEUE);
    other.send(sendOf(1, 'note', 2));
    await freed(other, 1);
    await gone(other);
    nowMs += streamRetentionMs;
    const { link: third, attached } = await drain(OTHER_QUEUE);
    expect(attached).toMatchObject({ received: 1 });
    for (const session of [...scene.server.sessions.live.values()]) session.sweep();
    third.send(sendOf(2, 'note', 3));
    await freed(third, 2);
    await restart();
    const { attached: older } = await drain(QUEUE);
    expect(older).toMatchObject({ received: 0, outcome: { resumed: false } });
    expect((await drain(OTHER_QUEUE)).attached).toMatchObject({ received: 2 });
  });

  test('is acknowledged behind the commit of its marks, and handled again when that was refused', async () => {
    const { link } = await drain();
    LevelMedium.prototype.write = async () => {
      throw Object.assign(new Error('input/output error'), { code: 'EIO' });
    };
    link.send(sendOf(1, 'note', 1));
    // An acknowledgement would have come before the end.
    await expect(freed(link, 1)).rejects.toThrow('closed');
    LevelMedium.prototype.write = write;
    const { link: next, attached } = await drain();
    expect(attached).toMatchObject({ received: 0 });
    next.send(sendOf(1, 'note', 1));
    await freed(next, 1);
    expect(handled).toEqual([1, 1]);
  });

  test('marks what nobody handles or what throws, as for tabs, and says so in the log', async () => {
    scene.server.on('bad', (conn: Conn) => {
      conn.sessionData['bad'] = true;
      throw new Error('no');
    });
    const { link } = await drain();
    link.send(sendOf(1, 'unheard-of'));
    link.send(sendOf(2, 'bad'));
    link.send(sendOf(3, 'note', 3));
    await freed(link, 3);
    expect(scene.messages()).toEqual(['no handler for a message', 'a handler threw']);
    expect(scene.server.sessions.live.get(identity.sessionID!)!.sessionData['bad']).toBeUndefined();
    expect(handled).toEqual([3]);
  });

  test.each([
    ['an ask', { kind: 'ask', tab: 0, seq: 1, ack: { life: 0, n: 0 }, type: 'note', args: [] }],
    ['a volatile', { kind: 'volatile', tab: 0, type: 'note', args: [] }],
  ] as const)('refuses %s', async (_what, envelope) => {
    const { link } = await drain();
    link.send(envelope as unknown as UpEnvelope);
    expect(await link.waitForClose()).toMatchObject({ code: CLOSE.badFrame });
    expect(handled).toEqual([]);
  });

  test('is never that of a tab', async () => {
    const { link } = await drain();
    const tab = new TestTab(link, 1, QUEUE, 2);
    link.send(tab.attachEnvelope());
    expect(await link.waitForClose()).toMatchObject({ code: CLOSE.badFrame });

    const other = await scene.tab(identity);
    other.link.send(attachOf(other.tabID));
    expect(await other.link.waitForClose()).toMatchObject({ code: CLOSE.badFrame });
  });
});

describe('the conn of a durable message', () => {
  test('is no tab: sessions do not list it, and nobody is told that it came or went', async () => {
    const told: string[] = [];
    for (const event of ['$connect', '$session-active', '$closed'] as const) {
      scene.server.on(event, () => void told.push(event));
    }
    const seen: unknown[] = [];
    scene.server.on('look', (conn: Conn) => {
      seen.push([conn.isOnline, conn.session.conns.size, conn.session.sessionID, conn.messageId]);
      conn.close();
    });
    const { link } = await drain();
    for (const seq of [1, 2]) link.send(sendOf(seq, 'look'));
    await freed(link, 2);
    expect(seen).toEqual(
      [1, 2].map((seq) => [false, 0, identity.sessionID, `${identity.sessionID}/${QUEUE}/${seq}`]),
    );
    await gone(link);
    nowMs += streamGraceMs;
    await restart();
    await drain(QUEUE, 3);
    expect(told).toEqual([]);
  });

  test('sends to all tabs, behind the commit, and its data is that of the session', async () => {
    scene.server.on('order', async (conn: Conn, x: number) => {
      conn.sessionData['order'] = x;
      await conn.save();
      conn.send('ordered', x);
    });
    const { link } = await drain();
    const tabs = [new TestTab(link, 1), new TestTab(link, 2)];
    for (const tab of tabs) await tab.attach();
    link.send(sendOf(1, 'order', 7));
    const got = [await link.next('send'), await link.next('send')];
    expect(got.map(({ tab, type, args }) => [tab, type, args])).toEqual([
      [1, 'ordered', [7]],
      [2, 'ordered', [7]],
    ]);
    await restart();
    const tab = await scene.tab(identity);
    expect(scene.server.sessions.live.get(identity.sessionID!)!.sessionData['order']).toBe(7);
    expect(tab.link.isOpen).toBe(true);
  });
});

import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { Conn } from './conn.ts';
import { DEFAULT_RETENTION } from './session-context.ts';
import { Scene } from './testing/scene.ts';
import { TestTab, type TestIdentity, type TestLink } from './testing/test-client.ts';

const { streamGraceMs, streamRetentionMs } = DEFAULT_RETENTION;

let folder: string;
let scene: Scene;
let identity: TestIdentity;
let nowMs: number;
/** Calls of handlers and `$closed`, in order, over all lives of the server. */
let calls: [name: string, of: unknown][];

beforeEach(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'webgram-retention-'));
  scene = new Scene();
  identity = scene.identity();
  nowMs = 1_700_000_000_000;
  calls = [];
});

afterEach(async () => {
  await scene.close();
  await rm(folder, { recursive: true });
});

async function start(retention = {}): Promise<void> {
  const server = await scene.start({ db: path.join(folder, 'db'), clock: () => nowMs, retention });
  server.on('$closed', (_conn: Conn, why: string) => calls.push(['$closed', why]));
  server.answer['note'] = (_conn: Conn, x: number) => calls.push(['note', x]);
  server.answer['keep'] = async (conn: Conn, x: number) => {
    calls.push(['keep', x]);
    await conn.save();
  };
}

async function restart(retention = {}): Promise<void> {
  await scene.close();
  await start(retention);
}

/** The tab again, over a link of its own, with what it believes. @param oldest Lowest number that it still holds. */
async function again(
  tab: TestTab,
  seenMs: number,
  oldest = tab.seq + 1,
): Promise<{ tab: TestTab; outcome: unknown }> {
  const link = await scene.enter(identity);
  const next = new TestTab(link, 1, tab.tabID, tab.counter + 1);
  next.seq = oldest - 1;
  next.received = tab.received;
  link.send({ ...attachOf(next), seen: { timeMs: seenMs, life: 1, commit: 0 } });
  const { outcome } = await link.next('attached');
  return { tab: next, outcome };
}

function attachOf(tab: TestTab) {
  const attach = tab.attachEnvelope();
  if (attach.kind !== 'attach') throw new TypeError('no attach');
  return attach;
}

async function gone({ socket, closed }: TestLink): Promise<void> {
  const session = live();
  socket.terminate();
  await closed;
  await expect.poll(() => [...session.conns].some(({ isOnline }) => isOnline)).toBe(false);
}

const live = () => scene.server.sessions.live.get(identity.sessionID!)!;

/** What the sweeper does every now and then by itself. */
function sweep(): void {
  for (const session of [...scene.server.sessions.live.values()]) session.sweep();
}

const RESUMED = { resumed: true, reason: 'resumed', gap: { sent: 0, received: 0 } };

describe('a stream in memory only', () => {
  test('is kept for 120 s after its link has gone without a word, and its conn with it', async () => {
    await start();
    const tab = await scene.tab(identity);
    const [conn] = [...live().conns];
    await gone(tab.link);
    nowMs += streamGraceMs - 1;
    sweep();
    expect(calls).toEqual([]);
    const back = await again(tab, nowMs);
    expect(back.outcome).toEqual(RESUMED);
    expect([...live().conns]).toEqual([conn]);
    await gone(back.tab.link);
    const session = live();
    nowMs += streamGraceMs;
    sweep();
    expect(calls).toEqual([['$closed', 'lost']]);
    expect(session.isLive).toBe(false);
    expect(scene.server.sessions.live.size).toBe(0);
  });

  test('is kept for as long as is configured', async () => {
    await start({ streamGraceMs: 5_000 });
    const tab = await scene.tab(identity);
    await gone(tab.link);
    nowMs += 4_999;
    sweep();
    expect(calls).toEqual([]);
    nowMs += 1;
    sweep();
    expect(calls).toEqual([['$closed', 'lost']]);
  });

  test('is swept by itself, without anybody asking', async () => {
    await start({ streamGraceMs: 40 });
    const tab = await scene.tab(identity);
    await gone(tab.link);
    nowMs += 40;
    await expect.poll(() => scene.server.sessions.live.size).toBe(0);
    expect(calls).toEqual([['$closed', 'lost']]);
  });

  test('that nobody knows any more is taken up while its tab was here lately, and refused when it is old', async () => {
    await start();
    const tab = await scene.tab(identity);
    await gone(tab.link);
    await restart();
    const seenMs = nowMs;
    nowMs = seenMs + streamRetentionMs / 2;
    expect((await again(tab, seenMs)).outcome).toEqual(RESUMED);
    await restart();
    nowMs += 1;
    const { tab: late, outcome } = await again(tab, seenMs);
    expect(outcome).toBe('forgotten');
    expect(late.link.isOpen).toBe(true);
  });
});

describe('a committed stream', () => {
  test('is kept for 24 h, and what it has handled is not handled again', async () => {
    await start();
    const tab = await scene.tab(identity);
    await tab.ask('keep', 1);
    await gone(tab.link);
    const seenMs = nowMs;
    nowMs += streamRetentionMs - 1;
    await restart();
    const { tab: back, outcome } = await again(tab, seenMs, 1);
    expect(outcome).toEqual(RESUMED);
    back.link.send(back.askEnvelope('keep', 1));
    expect(await back.ask('note', 2)).toBeGreaterThan(0);
    expect(calls.filter(([name]) => name === 'keep')).toEqual([['keep', 1]]);
  });

  for (const [what, retention] of [
    ['24 h', {}],
    ['a configured time', { streamRetentionMs: 300_000 }],
  ] as const) {
    test(`is forgotten after ${what}, which its tab is told`, async () => {
      const keptMs = { ...DEFAULT_RETENTION, ...retention }.streamRetentionMs;
      await start(retention);
      const tab = await scene.tab(identity);
      await tab.ask('keep', 1);
      await gone(tab.link);
      const seenMs = nowMs;
      nowMs += keptMs;
      await restart(retention);
      const { tab: late, outcome } = await again(tab, seenMs);
      expect(outcome).toBe('forgotten');
      // It begins anew, as a tab that has heard of the present.
      const anew = new TestTab(late.link, 2);
      anew.link.send({ ...attachOf(anew), seen: { timeMs: nowMs, life: 1, commit: 0 } });
      expect(await anew.attached()).toEqual(RESUMED);
      await anew.ask('keep', 2);
      expect(calls.filter(([name]) => name === 'keep')).toEqual([
        ['keep', 1],
        ['keep', 2],
      ]);
    });
  }

  test('is as old as its last commit, however long ago it was attached', async () => {
    const retention = { streamRetentionMs: 300_000 };
    await start(retention);
    const tab = await scene.tab(identity);
    nowMs += 2 * retention.streamRetentionMs;
    await tab.ask('keep', 1);
    // The answer never came, as far as the tab knows, and the server is killed.
    await restart(retention);
    const { tab: back, outcome } = await again(tab, nowMs, 1);
    expect(outcome).toEqual(RESUMED);
    back.link.send(back.askEnvelope('keep', 1));
    await back.ask('note', 2);
    expect(calls.filter(([name]) => name === 'keep')).toEqual([['keep', 1]]);
  });
});

describe('a tab that is there all the time', () => {
  const retention = { streamRetentionMs: 800_000 };

  /** Twice the retention, in which nothing is said. @returns What the tab has heard last of the server's time. */
  async function idle({ link }: TestTab): Promise<number> {
    let seenMs = nowMs;
    for (let waited = 0; waited < 2 * retention.streamRetentionMs; waited += 100_000) {
      nowMs += 100_000;
      sweep();
      const ack = await link.next('ack');
      seenMs = ack.timeMs;
    }
    return seenMs;
  }

  test('is remembered after a restart, with what it has handled', async () => {
    await start(retention);
    const tab = await scene.tab(identity);
    await tab.ask('keep', 1);
    const seenMs = await idle(tab);
    expect(seenMs).toBe(nowMs);
    await restart(retention);
    const { tab: back, outcome } = await again(tab, seenMs, 1);
    expect(outcome).toEqual(RESUMED);
    back.link.send(back.askEnvelope('keep', 1));
    await back.ask('note', 2);
    expect(calls.filter(([name]) => name === 'keep')).toEqual([['keep', 1]]);
  });

  test('is taken up after a restart when nothing was committed of it', async () => {
    await start(retention);
    const tab = await scene.tab(identity);
    const seenMs = await idle(tab);
    await restart(retention);
    expect((await again(tab, seenMs)).outcome).toEqual(RESUMED);
  });

  test('costs no write before an eighth of the retention', async () => {
    await start(retention);
    const tab = await scene.tab(identity);
    nowMs += 99_999;
    sweep();
    await tab.ask('note', 1);
    nowMs += 1;
    sweep();
    const { com } = await tab.link.next('ack');
    expect(com).toEqual([live().life, 1]);
  });
});

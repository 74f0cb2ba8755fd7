import type { BrowserContext, Page } from '@playwright/test';
import { dataOf, statsOf, waitForSession } from '../kit/page.ts';
import { expect, openTab, test } from '../kit/test.ts';

/** How long tabs may take to have another leader when the one they had says nothing, in ms. */
const REPLACED_MS = 10_000;

async function roleOf(page: Page): Promise<string | undefined> {
  return page.evaluate(() => webgram.client!.host?.role);
}

async function openTabs(context: BrowserContext, url: string, count: number) {
  const pages: Page[] = [];
  for (let n = 0; n < count; n++) pages.push(await context.newPage());
  await Promise.all(pages.map((page) => page.goto(url)));
  await Promise.all(pages.map((page) => waitForSession(page)));
  return split(pages);
}

/** @returns The one that leads, and those that follow. */
async function split(pages: Page[]) {
  const roles = await Promise.all(pages.map(roleOf));
  expect([...roles].sort()).toEqual([...pages.slice(1).map(() => 'follower'), 'leader']);
  const leader = pages[roles.indexOf('leader')]!;
  return { leader, followers: pages.filter((page) => page !== leader) };
}

async function askCount(page: Page): Promise<number> {
  return page.evaluate(() => webgram.client!.with({ timeoutMs: 30_000 }).ask('count') as Promise<number>);
}

test('tabs that open together elect one leader @leader-tab', async ({ context, wire }) => {
  const { leader } = await openTabs(context, wire.url, 5);
  await expect.poll(() => statsOf(leader)).toEqual({ sockets: 1, sessions: 1, conns: 5 });
  expect(wire.webSockets).toHaveLength(1);
});

test('when the leader is closed another tab leads, and what it had sent arrives @leader-tab', async ({
  context,
  wire,
}) => {
  const { leader, followers } = await openTabs(context, wire.url, 4);
  // The server hears nothing of it as long as that tab lives.
  wire.mode = 'stall-websockets';
  await leader.evaluate(() => {
    for (let n = 0; n < 20; n++) void webgram.client!.ask('count').catch(() => undefined);
  });
  await leader.close({ runBeforeUnload: true });
  wire.cut();
  wire.mode = 'pass';
  const first = followers[0]!;
  await expect.poll(() => dataOf(first), { timeout: REPLACED_MS }).toEqual({ count: 20 });
  expect(await askCount(first)).toBe(21);
  await expect.poll(() => statsOf(first)).toEqual({ sockets: 1, sessions: 1, conns: 3 });
  await split(followers);
});

test('what a page sent just before it navigated arrives, with another tab open', async ({
  context,
  wire,
}) => {
  const leader = await openTab(context, wire.url);
  const other = await openTab(context, wire.url);
  await leader.evaluate(() => {
    for (let n = 0; n < 20; n++) void webgram.client!.ask('count').catch(() => undefined);
    location.href = 'about:blank';
  });
  await expect.poll(() => dataOf(other), { timeout: REPLACED_MS }).toEqual({ count: 20 });
  await expect.poll(() => statsOf(other)).toEqual({ sockets: 1, sessions: 1, conns: 1 });
});

test('when the leader crashes another tab leads, and what it had sent arrives @leader-tab @chromium', async ({
  context,
  wire,
}) => {
  const { leader, followers } = await openTabs(context, wire.url, 3);
  // The server hears nothing of it as long as that tab lives.
  wire.mode = 'stall-websockets';
  await leader.evaluate(() => {
    for (let n = 0; n < 20; n++) void webgram.client!.ask('count').catch(() => undefined);
  });
  await leader.goto('chrome://crash').catch(() => undefined);
  wire.cut();
  wire.mode = 'pass';
  const first = followers[0]!;
  await expect.poll(() => dataOf(first), { timeout: REPLACED_MS }).toEqual({ count: 20 });
  for (const page of followers) expect(await askCount(page)).toBeGreaterThan(20);
  await split(followers);
  await expect.poll(() => statsOf(first)).toEqual({ sockets: 1, sessions: 1, conns: 2 });
});

/** The page runs nothing for so long. */
function hang(page: Page, hangMs: number): Promise<void> {
  return page.evaluate((hangMs) => {
    setTimeout(() => {
      const endMs = performance.now() + hangMs;
      while (performance.now() < endMs);
    });
  }, hangMs);
}

/** The browser freezes the page: it is told, and runs nothing for so long. */
async function freeze(page: Page, frozenMs: number): Promise<void> {
  // Headless pages count as visible, so no browser freezes them by itself.
  await page.evaluate(() => document.dispatchEvent(new Event('freeze')));
  await hang(page, frozenMs);
}

test('a leader that is frozen is replaced, and follows when it thaws @leader-tab', async ({
  context,
  wire,
}) => {
  const { leader, followers } = await openTabs(context, wire.url, 3);
  const other = followers[0]!;
  await freeze(leader, REPLACED_MS);
  await expect.poll(() => Promise.all(followers.map(roleOf)), { timeout: REPLACED_MS }).toContain('leader');
  expect(await askCount(other)).toBe(1);
  expect(await askCount(leader)).toBe(2);
  await split([leader, ...followers]);
  await expect.poll(() => statsOf(other)).toEqual({ sockets: 1, sessions: 1, conns: 3 });
});

interface Work {
  answers: number[];
  /** Of asks that were rejected. */
  codes: string[];
}

/** From now on the page asks, one ask behind the other. @returns Ends it, with what has come of it. */
async function work(page: Page): Promise<() => Promise<Work>> {
  const worker = await page.evaluateHandle(() => {
    const client = webgram.client!.with({ timeoutMs: 40_000 });
    const done: Work = { answers: [], codes: [] };
    let isOver = false;
    const run = async (): Promise<Work> => {
      while (!isOver && done.codes.length === 0) {
        await client.ask('count').then(
          (count) => done.answers.push(count as number),
          ({ code }: { code: string }) => done.codes.push(code),
        );
      }
      return done;
    };
    const running = run();
    return {
      end: () => {
        isOver = true;
        return running;
      },
    };
  });
  return () => worker.evaluate(({ end }) => end());
}

test('a leader that hangs is replaced, and follows when it comes to itself @leader-tab', async ({
  context,
  wire,
}) => {
  const { leader, followers } = await openTabs(context, wire.url, 3);
  const pages = [leader, ...followers];
  const ends = await Promise.all(pages.map(work));
  await hang(leader, REPLACED_MS + 3_000);
  await expect.poll(() => Promise.all(followers.map(roleOf)), { timeout: 15_000 }).toContain('leader');
  const asked = await Promise.all(followers.map(askCount));
  expect(Math.min(...asked)).toBeGreaterThan(0);
  await expect.poll(() => roleOf(leader), { timeout: 20_000 }).toBe('follower');
  asked.push(await askCount(leader));

  const works = await Promise.all(ends.map((end) => end()));
  expect(works.flatMap(({ codes }) => codes)).toEqual([]);
  const answers = [...asked, ...works.flatMap((work) => work.answers)].sort((a, b) => a - b);
  expect(answers).toEqual(answers.map((_, n) => n + 1));
  expect(await dataOf(leader)).toEqual({ count: answers.length });
  await split(pages);
  await expect.poll(() => statsOf(leader)).toEqual({ sockets: 1, sessions: 1, conns: 3 });
});

import { crash, killWorker } from '../kit/chromium.ts';
import { askEach, dataOf, sessionIDOf, statsOf } from '../kit/page.ts';
import { expect, openTab, test } from '../kit/test.ts';

/** Navigations of the only tab. Each of them ends its host, or leaves it to the next page. */
const NAVIGATIONS = { 'shared-worker': 200, 'leader-tab': 60 };

test('tabs whose worker is killed have another, and nothing is lost or doubled @shared-worker @chromium', async ({
  context,
  browser,
  wire,
}) => {
  const pages = [await openTab(context, wire.url), await openTab(context, wire.url)];
  for (let round = 1; round <= 5; round++) {
    const counted = pages.map((page) => askEach(page, 'count', 10));
    await killWorker(browser);
    expect((await Promise.all(counted)).flat()).toHaveLength(20);
    expect(await dataOf(pages[0]!)).toEqual({ count: round * 20 });
  }
  await expect.poll(() => statsOf(pages[0]!)).toEqual({ sockets: 1, sessions: 1, conns: 2 });
  expect(await sessionIDOf(pages[1]!)).toBe(1);
});

test('the tab that has started the worker crashes: the others go on @shared-worker @chromium', async ({
  context,
  wire,
}) => {
  const creator = await openTab(context, wire.url);
  const others = [await openTab(context, wire.url), await openTab(context, wire.url)];
  await askEach(creator, 'count', 5);
  await crash(creator);
  await Promise.all(others.map((page) => askEach(page, 'count', 5)));
  expect(await dataOf(others[0]!)).toEqual({ count: 15 });
  await expect.poll(() => statsOf(others[0]!)).toEqual({ sockets: 1, sessions: 1, conns: 2 });
});

test('the only tab navigates again and again: one session, one socket at a time', async ({
  context,
  host,
  wire,
}) => {
  test.setTimeout(180_000);
  const page = await openTab(context, wire.url);
  for (let n = 1; n <= NAVIGATIONS[host]; n++) {
    await page.goto(`${wire.url}?${n}`);
    expect(await sessionIDOf(page)).toBe(1);
    if (n % 20 === 0) expect(await askEach(page, 'count', 1)).toEqual([n / 20]);
    expect(wire.openWebSockets).toBeLessThanOrEqual(2);
  }
  await expect.poll(() => statsOf(page)).toEqual({ sockets: 1, sessions: 1, conns: 1 });
});

import { sessionIDOf, statsOf } from '../kit/page.ts';
import { expect, openTab, test } from '../kit/test.ts';

const TABS = 20;

test(`${TABS} tabs opened together on a first visit are one session on one socket @chromium`, async ({
  context,
  browser,
  wire,
}) => {
  const pages = await Promise.all(Array.from({ length: TABS }, () => context.newPage()));
  await Promise.all(pages.map((page) => page.goto(wire.url)));

  const sessionIDs = await Promise.all(pages.map(sessionIDOf));
  expect(sessionIDs).toEqual(Array.from({ length: TABS }, () => 1));
  await expect(pages[0]!.locator('#tabs')).toHaveText(String(TABS));
  expect(await statsOf(pages[0]!)).toEqual({ sockets: 1, sessions: 1, conns: TABS });
  expect(wire.webSockets).toHaveLength(1);
  // One row: nothing between it and the next visitor's.
  const stranger = await browser.newContext();
  expect(await sessionIDOf(await openTab(stranger, wire.url))).toBe(2);
  await stranger.close();
});

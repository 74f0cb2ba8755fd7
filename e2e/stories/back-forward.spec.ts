import { askEach, sessionIDOf, statsOf } from '../kit/page.ts';
import { expect, openTab, test } from '../kit/test.ts';

test('a page that comes back from the back-forward cache goes on where it was @chromium', async ({
  profiles,
  wire,
}) => {
  // Playwright turns the cache off by default.
  const context = await profiles.open(await profiles.create(), ['--disable-back-forward-cache']);
  const page = await openTab(context, wire.url);
  const other = await openTab(context, wire.url);
  await page.evaluate(() => {
    addEventListener('pageshow', ({ persisted }) => {
      Object.assign(globalThis, { wasKept: persisted });
    });
  });
  expect(await askEach(page, 'count', 3)).toEqual([1, 2, 3]);
  for (let round = 1; round <= 3; round++) {
    await page.goto(`${wire.url}icon.svg`);
    // Nobody talks to a page that hears nothing.
    await expect.poll(() => statsOf(other)).toEqual({ sockets: 1, sessions: 1, conns: 1 });
    // It has been loaded before.
    await page.goBack({ waitUntil: 'commit' });
    expect(await askEach(page, 'count', 1)).toEqual([3 + round]);
    expect(await page.evaluate(() => Reflect.get(globalThis, 'wasKept') as unknown)).toBe(true);
    await expect.poll(() => statsOf(other)).toEqual({ sockets: 1, sessions: 1, conns: 2 });
  }
  expect(await sessionIDOf(page)).toBe(1);
  await expect.poll(() => wire.openWebSockets).toBe(1);
  await context.close();
});

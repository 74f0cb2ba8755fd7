import type { BrowserContext, Page } from '@playwright/test';
import { askEach, dataOf, sessionIDOf, statsOf } from '../kit/page.ts';
import { expect, openTab, test, type HostOptions } from '../kit/test.ts';

/** Frames that are open at the same time. */
const BATCH = 50;

/** How many are opened: where it is dearer, fewer show the same code. */
function amounts(browserName: string, host: HostOptions['host']) {
  const isWhole = browserName === 'chromium' && host === 'shared-worker';
  return isWhole ? { tabs: 100, ports: 1_000 } : { tabs: 20, ports: 300 };
}

/** Opens that many tabs at the same time. @returns Them, all in session. */
async function openTogether(context: BrowserContext, url: string, count: number): Promise<Page[]> {
  const pages = await Promise.all(Array.from({ length: count }, () => context.newPage()));
  await Promise.all(pages.map((page) => page.goto(url)));
  expect(new Set(await Promise.all(pages.map(sessionIDOf)))).toEqual(new Set([1]));
  return pages;
}

// A hundred of them would be most of the work.
test.use({ trace: 'off' });

test('tabs opened together on a first visit are one session on one socket', async ({
  context,
  browser,
  browserName,
  host,
  wire,
}) => {
  test.setTimeout(180_000);
  const { tabs: count } = amounts(browserName, host);
  const pages = await openTogether(context, wire.url, count);
  await expect(pages[0]!.locator('#tabs')).toHaveText(String(count));
  await expect.poll(() => statsOf(pages[0]!)).toEqual({ sockets: 1, sessions: 1, conns: count });
  expect(wire.webSockets).toHaveLength(1);
  // Each of them is heard, once.
  await Promise.all(pages.map((page) => askEach(page, 'count', 1)));
  expect(await dataOf(pages[0]!)).toEqual({ count });
  // One row: nothing between it and the next visitor's.
  const stranger = await browser.newContext();
  expect(await sessionIDOf(await openTab(stranger, wire.url))).toBe(2);
  await stranger.close();
});

test('tabs opened together on a return are one resume on one socket', async ({
  profiles,
  browserName,
  host,
  wire,
}) => {
  test.setTimeout(180_000);
  const profile = await profiles.create();
  const before = await profiles.open(profile);
  await openTab(before, wire.url);
  await before.close();

  const { tabs: count } = amounts(browserName, host);
  const after = await profiles.open(profile);
  const [first] = await openTogether(after, wire.url, count);
  // A tab is in session on its host's word, before the server has heard of it.
  await expect.poll(() => statsOf(first!)).toEqual({ sockets: 1, sessions: 1, conns: count });
  expect(wire.webSockets).toHaveLength(2);
  await after.close();
});

test('ports that come and go by the hundred leave nothing behind', async ({
  context,
  browserName,
  host,
  wire,
}) => {
  test.setTimeout(180_000);
  const page = await openTab(context, wire.url);
  for (let opened = 0; opened < amounts(browserName, host).ports; opened += BATCH) {
    await page.evaluate(openFrames, BATCH);
    // The host takes 256 at once and the server as many: who is gone must have made room.
    await expect.poll(() => statsOf(page)).toEqual({ sockets: 1, sessions: 1, conns: 1 + BATCH });
    await page.evaluate(() => {
      for (const frame of [...document.querySelectorAll('iframe')]) frame.remove();
    });
    await expect.poll(() => statsOf(page)).toEqual({ sockets: 1, sessions: 1, conns: 1 });
  }
  const locks = () =>
    page.evaluate(async () => {
      const { held = [], pending = [] } = await navigator.locks.query();
      return [...held, ...pending].filter(({ name }) => name!.startsWith('webgram-tab')).length;
    });
  // Of this page: the lock that it holds, and the request of the host that waits for its end.
  await expect.poll(locks).toBeLessThanOrEqual(2);
  expect(wire.webSockets).toHaveLength(1);
});

/** Opens so many frames with a client each. Runs in the page. @returns When all are in session. */
async function openFrames(count: number): Promise<void> {
  const script = document.querySelector<HTMLScriptElement>('script[src*="webgram"]')!.src;
  const frames = Array.from({ length: count }, async () => {
    const frame = document.createElement('iframe');
    frame.srcdoc = `<!doctype html><script src="${script}"></script>`;
    document.body.append(frame);
    await new Promise((resolve) => frame.addEventListener('load', resolve));
    await (frame.contentWindow as typeof globalThis & Window).webgram.client!.waitForSession();
  });
  await Promise.all(frames);
}

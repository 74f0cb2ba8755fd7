import type { BrowserContext, Page } from '@playwright/test';
import { statsOf } from '../kit/page.ts';
import { expect, openTab, test } from '../kit/test.ts';

/** Opens a tab that notes, where all tabs of the browser can read it, what it was told to print. */
async function openPrinter(context: BrowserContext, url: string): Promise<Page> {
  const page = await openTab(context, url);
  await page.evaluate(() => {
    let count = 0;
    const tab = crypto.randomUUID();
    Object.assign(globalThis, { tab });
    webgram.client!.on('print', (what: unknown) => {
      count += 1;
      localStorage.setItem(`${tab} ${count}`, String(what));
    });
  });
  return page;
}

/** What all tabs of this browser have printed since it was asked last. */
async function printedIn(page: Page, isOwn: boolean): Promise<string[]> {
  const printed = await page.evaluate((isOwn) => {
    const tab = Reflect.get(globalThis, 'tab') as string;
    return Object.entries(localStorage as Record<string, string>)
      .filter(([key]) => / \d+$/.test(key) && (!isOwn || key.startsWith(tab)))
      .map(([, what]) => what);
  }, isOwn);
  return printed.sort((a, b) => a.localeCompare(b, 'en', { numeric: true }));
}

const printedBy = (page: Page) => printedIn(page, true);
const printedInBrowserOf = (page: Page) => printedIn(page, false);

/** Headless pages count as visible, whatever is in front of them; so this one says what it would say itself. */
async function show(page: Page, isShown: boolean): Promise<void> {
  await page.evaluate(async (isShown) => {
    Object.defineProperty(document, 'hidden', { configurable: true, get: () => !isShown });
    document.dispatchEvent(new Event('visibilitychange'));
    // Behind it on the way: the server has heard it then.
    await webgram.client!.ask('stats');
  }, isShown);
}

function print(page: Page, deliver: 'all' | 'one' | 'visible'): Promise<unknown> {
  return page.evaluate(
    (deliver) => webgram.client!.with({ timeoutMs: 50_000 }).ask('print', deliver),
    deliver,
  );
}

test('an invoice is printed by one tab, the one that was shown last; others as was asked', async ({
  context,
  wire,
}) => {
  const tabs: Page[] = [];
  for (let i = 0; i < 3; i += 1) tabs.push(await openPrinter(context, wire.url));
  const [first, second, third] = tabs as [Page, Page, Page];
  const wanted: [string[], string[], string[]] = [[], [], []];
  const expectPrinted = async () => {
    for (const [i, tab] of tabs.entries()) await expect.poll(() => printedBy(tab)).toEqual(wanted[i]);
  };
  await show(second, false);
  await show(third, true);
  expect(await print(first, 'one')).toBe(1);
  wanted[2].push('1');
  await expectPrinted();

  await show(third, false);
  await show(first, true);
  expect(await print(second, 'one')).toBe(1);
  wanted[0].push('2');
  await expectPrinted();

  await show(second, true);
  expect(await print(third, 'visible')).toBe(2);
  wanted[0].push('3');
  wanted[1].push('3');
  await expectPrinted();

  expect(await print(third, 'all')).toBe(3);
  for (const list of wanted) list.push('4');
  await expectPrinted();

  for (const tab of tabs) await show(tab, false);
  expect(await print(first, 'visible')).toBe(0);
  expect(await print(first, 'one')).toBe(1);
  await expect
    .poll(async () => (await printedInBrowserOf(first)).filter((one) => one === '6'))
    .toHaveLength(1);
  expect(await printedInBrowserOf(first)).not.toContain('5');
});

test('each invoice is printed once, however many tabs are open and however often the server is killed', async ({
  context,
  server,
  wire,
}) => {
  const first = await openPrinter(context, wire.url);
  const second = await openPrinter(context, wire.url);
  const count = 12;
  const asked = Array.from({ length: count }, (_, i) => print(i % 2 === 0 ? first : second, 'one'));
  for (const done of [2, 7]) {
    await expect
      .poll(() => server.output.split('invoiced').length - 1, { timeout: 30_000 })
      .toBeGreaterThan(done);
    await server.kill();
    await server.start();
  }
  await Promise.all(asked);
  const all = Array.from({ length: count }, (_, i) => String(i + 1));
  await expect.poll(() => printedInBrowserOf(first), { timeout: 20_000 }).toEqual(all);
  // Nothing comes twice with what is sent afterwards.
  await print(second, 'one');
  await expect.poll(() => printedInBrowserOf(first)).toEqual([...all, String(count + 1)]);
});

test('an invoice for a tab that was closed just before is printed by another one', async ({
  context,
  wire,
}) => {
  const first = await openPrinter(context, wire.url);
  await show(first, false);
  const wanted: string[] = [];
  for (let n = 1; n <= 5; n += 1) {
    const closing = await openPrinter(context, wire.url);
    await show(closing, true);
    await closing.close();
    await print(first, 'one');
    wanted.push(String(n));
    await expect.poll(() => printedBy(first), { timeout: 20_000 }).toEqual(wanted);
  }
  expect(await printedInBrowserOf(first)).toEqual(wanted);
  await expect.poll(() => statsOf(first)).toMatchObject({ sessions: 1, conns: 1 });
});

test('what is for an account reaches its browsers, and one tab of each where one is enough', async ({
  browser,
  context,
  wire,
}) => {
  const other = await browser.newContext();
  const stranger = await browser.newContext();
  const tabs: Page[] = [];
  for (const [where, account] of [
    [context, 'alice'],
    [other, 'alice'],
    [stranger, 'bob'],
  ] as const) {
    const page = await openPrinter(where, wire.url);
    await page.evaluate((account) => webgram.client!.ask('login', account), account);
    tabs.push(page, await openPrinter(where, wire.url));
  }
  const [laptop, , phone, , bob] = tabs as [Page, Page, Page, Page, Page];
  const tell = (text: string, deliver: string) =>
    bob.evaluate(({ text, deliver }) => webgram.client!.ask('tell', 'alice', text, deliver), {
      text,
      deliver,
    });
  expect(await tell('one', 'one')).toBe(2);
  for (const page of [laptop, phone]) await expect.poll(() => printedInBrowserOf(page)).toEqual(['one']);
  expect(await tell('two', 'all')).toBe(4);
  for (const page of [laptop, phone]) {
    await expect.poll(() => printedInBrowserOf(page)).toEqual(['one', 'two', 'two']);
  }
  expect(await printedInBrowserOf(bob)).toEqual([]);
  await other.close();
  await stranger.close();
});

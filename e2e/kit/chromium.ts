import { expect, type Browser, type Page } from '@playwright/test';

// What only Chromium lets a test do.

/** The process that runs it ends it without a word to anybody. */
export async function killWorker(browser: Browser): Promise<void> {
  const session = await browser.newBrowserCDPSession();
  const { targetInfos } = await session.send('Target.getTargets');
  const workers = targetInfos.filter(({ type }) => type === 'shared_worker');
  expect(workers).toHaveLength(1);
  const { targetId } = workers[0]!;
  await session.send('Target.closeTarget', { targetId });
  const targets = async () =>
    (await session.send('Target.getTargets')).targetInfos.map((one) => one.targetId);
  await expect.poll(targets).not.toContain(targetId);
  await session.detach();
}

/** The page's process dies without a word to anybody. */
export async function crash(page: Page): Promise<void> {
  const crashed = page.waitForEvent('crash');
  await Promise.all([crashed, page.goto('chrome://crash').catch(() => undefined)]);
}

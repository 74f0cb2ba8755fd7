import type { Page } from '@playwright/test';
import { askEach, dataOf, waitForSession } from '../kit/page.ts';
import { expect, openTab, test } from '../kit/test.ts';

/** The page sends three messages, and is closed as a user closes it. */
async function sendAndClose(page: Page): Promise<void> {
  await page.evaluate(() => {
    for (const n of [1, 2, 3]) webgram.client!.send('note', n);
  });
  const closed = page.waitForEvent('close');
  await page.close({ runBeforeUnload: true });
  await closed;
}

/** What pages have noted for the next one. */
function notesOf(page: Page): Promise<string[]> {
  return page.evaluate(() => Object.keys(localStorage).filter((name) => name.startsWith('webgram-left')));
}

test('what the only page had sent while the server was away is reported to the next page, once @leader-tab', async ({
  context,
  server,
  wire,
}) => {
  const only = await openTab(context, wire.url);
  await askEach(only, 'count', 2);
  await server.kill();
  await sendAndClose(only);
  await server.start();

  const next = await openTab(context, wire.url);
  expect(await waitForSession(next)).toMatchObject({ sessionID: 1, gap: { sent: 3, received: 0 } });
  expect(await dataOf(next)).toEqual({ count: 2 });
  expect(await notesOf(next)).toEqual([]);
  const later = await openTab(context, wire.url);
  expect(await waitForSession(later)).toMatchObject({ gap: { sent: 0, received: 0 } });
});

test('what a page had sent while the server was away arrives with another tab open, and nothing is reported', async ({
  context,
  wire,
}) => {
  const [page, other] = [await openTab(context, wire.url), await openTab(context, wire.url)];
  // So that the server has heard of both.
  await Promise.all([page, other].map((tab) => askEach(tab, 'count', 1)));
  wire.mode = 'stall-websockets';
  await sendAndClose(page);
  // Firefox shows it to another process a little later.
  await expect.poll(() => notesOf(other)).toHaveLength(1);
  wire.cut();
  wire.mode = 'pass';
  await expect.poll(() => dataOf(other)).toEqual({ count: 2, notes: [1, 2, 3] });

  const next = await openTab(context, wire.url);
  expect(await waitForSession(next)).toMatchObject({ gap: { sent: 0, received: 0 } });
  const gaps = await next.evaluateHandle(() => {
    const sent: number[] = [];
    webgram.client!.on('$session-active', ({ gap }) => sent.push(gap.sent));
    return sent;
  });
  await expect.poll(() => notesOf(next)).toEqual([]);
  await askEach(next, 'count', 1);
  expect((await gaps.jsonValue()).filter((sent) => sent > 0)).toEqual([]);
  expect(await dataOf(next)).toMatchObject({ notes: [1, 2, 3] });
});

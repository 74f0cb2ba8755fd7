import type { Page } from '@playwright/test';
import { dataOf, sessionIDOf, waitForState } from '../kit/page.ts';
import { expect, openTab, test } from '../kit/test.ts';

/** Sends durable messages, and waits until all are stored. @returns The codes of what was refused. */
function sendDurably(page: Page, from: number, through: number): Promise<(string | undefined)[]> {
  return page.evaluate(
    ({ from, through }) =>
      Promise.all(
        Array.from({ length: through - from + 1 }, (_, i) =>
          webgram.client!.durable.send('note', from + i).then(
            () => undefined,
            (error: { code: string }) => error.code,
          ),
        ),
      ),
    { from, through },
  );
}

/** What the server has noted in this session, in order. */
async function notesOf(page: Page): Promise<unknown> {
  return (await dataOf(page))['notes'];
}

const queueOf = (page: Page) =>
  page.evaluate(() => {
    const { count, bytes, oldestMs } = webgram.client!.queue;
    return { count, bytes, oldestMs };
  });

const upTo = (last: number): number[] => Array.from({ length: last }, (_, i) => i + 1);

test('what was sent durably without a server arrives once when browser and server are there again', async ({
  profiles,
  server,
  wire,
}) => {
  const profile = await profiles.create();
  const before = await profiles.open(profile);
  const first = await openTab(before, wire.url);
  expect(await sendDurably(first, 1, 2)).toEqual([undefined, undefined]);
  await expect.poll(() => notesOf(first)).toEqual([1, 2]);
  await server.kill();
  await waitForState(first, 'waiting');
  expect(new Set(await sendDurably(first, 3, 20))).toEqual(new Set([undefined]));
  expect(await queueOf(first)).toMatchObject({ count: 18 });
  await before.close();
  await server.start();

  const after = await profiles.open(profile);
  const second = await openTab(after, wire.url);
  expect(await sessionIDOf(second)).toBe(1);
  await expect.poll(() => notesOf(second)).toEqual(upTo(20));
  await expect.poll(() => queueOf(second)).toEqual({ count: 0, bytes: 0, oldestMs: undefined });
  await after.close();
});

test('the first durable message of a browser can be sent while the server is away', async ({
  context,
  server,
  wire,
}) => {
  const page = await openTab(context, wire.url);
  // What keeps it is loaded behind the first link.
  await expect.poll(() => page.evaluate(() => webgram.client!.queue.list())).toEqual([]);
  await server.kill();
  await waitForState(page, 'waiting');
  expect(await sendDurably(page, 1, 1)).toEqual([undefined]);
  await server.start();
  await expect.poll(() => notesOf(page), { timeout: 30_000 }).toEqual([1]);
});

test('a server that is killed in the middle handles every durable message once, in order', async ({
  context,
  server,
  wire,
}) => {
  const page = await openTab(context, wire.url);
  const sent = sendDurably(page, 1, 150);
  for (const count of [20, 80]) {
    await expect
      .poll(() => server.output.split('noted').length - 1, { timeout: 30_000 })
      .toBeGreaterThan(count);
    await server.kill();
    await server.start();
  }
  expect(new Set(await sent)).toEqual(new Set([undefined]));
  await expect.poll(() => notesOf(page), { timeout: 30_000 }).toEqual(upTo(150));
});

test('two tabs see one queue, either can clear it, and what comes behind arrives', async ({
  context,
  server,
  wire,
}) => {
  const first = await openTab(context, wire.url);
  const second = await openTab(context, wire.url);
  await sendDurably(first, 1, 1);
  await expect.poll(() => notesOf(second)).toEqual([1]);
  await server.kill();
  await waitForState(first, 'waiting');
  await sendDurably(first, 100, 102);
  await sendDurably(second, 103, 104);
  await expect.poll(() => queueOf(first)).toMatchObject({ count: 5 });
  const list = await second.evaluate(() => webgram.client!.queue.list());
  expect(list.map(({ type }) => type)).toEqual(Array.from({ length: 5 }, () => 'note'));
  expect(await second.evaluate(() => webgram.client!.queue.clear())).toBe(5);
  await expect.poll(() => queueOf(first)).toMatchObject({ count: 0 });
  await sendDurably(first, 2, 2);
  await server.start();
  await expect.poll(() => notesOf(second), { timeout: 30_000 }).toEqual([1, 2]);
});

test('a queue that is full says so, and keeps what it has promised', async ({ context, server, wire }) => {
  const page = await openTab(context, wire.url);
  await page.evaluate(() => webgram.client!.queue.list());
  await server.kill();
  await waitForState(page, 'waiting');
  const codes = await page.evaluate(async () => {
    const send = (size: number) =>
      webgram.client!.durable.send('size', 'x'.repeat(size)).then(
        () => 'kept',
        (error: { code: string }) => error.code,
      );
    const all: string[] = [];
    for (const size of [900_000, 900_000, 900_000, 900_000, 900_000, 900_000, 1]) all.push(await send(size));
    return all;
  });
  expect(codes).toEqual(['kept', 'kept', 'kept', 'kept', 'kept', 'WEBGRAM_QUEUE_FULL', 'kept']);
  await server.start();
  const sizes = [900_000, 900_000, 900_000, 900_000, 900_000, 1];
  await expect.poll(async () => (await dataOf(page))['sizes'], { timeout: 30_000 }).toEqual(sizes);
});

test('what is sent durably just before the page navigates arrives', async ({ context, wire }) => {
  const page = await openTab(context, wire.url);
  const loaded = page.waitForEvent('load');
  await page.evaluate(async () => {
    await webgram.client!.durable.send('note', 1);
    location.reload();
  });
  await loaded;
  await expect.poll(() => notesOf(page)).toEqual([1]);
});

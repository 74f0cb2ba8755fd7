import { addOne, dataOf, sessionIDOf, statsOf } from '../kit/page.ts';
import { expect, openTab, test } from '../kit/test.ts';

test('a reload of the only tab keeps the session', async ({ context, wire }) => {
  const page = await openTab(context, wire.url);
  await expect(page.locator('#visitor-kind')).toHaveText('New');
  await addOne(page, 999);
  await expect(page.locator('#result')).toHaveText('1000');

  await page.reload();
  expect(await sessionIDOf(page)).toBe(1);
  await expect(page.locator('#visitor-kind')).toHaveText('Repeat');
  await expect(page.locator('#visitor')).toHaveText('Welcome back. Your previous result was 1000.');
  await expect(page.locator('#tabs')).toHaveText('1');
  await expect.poll(() => statsOf(page)).toEqual({ sockets: 1, sessions: 1, conns: 1 });
});

test('twenty reloads of the only tab keep the session, and leave no socket behind', async ({
  context,
  wire,
}) => {
  const page = await openTab(context, wire.url);
  for (let count = 1; count <= 20; count++) {
    await addOne(page, count);
    await expect(page.locator('#result')).toHaveText(String(count + 1));
    await page.reload();
    expect(await sessionIDOf(page)).toBe(1);
    await expect(page.locator('#visitor')).toHaveText(`Welcome back. Your previous result was ${count + 1}.`);
  }
  await expect.poll(() => statsOf(page)).toEqual({ sockets: 1, sessions: 1, conns: 1 });
});

test('a browser that was closed comes back to its session', async ({ profiles, wire }) => {
  const profile = await profiles.create();
  const before = await profiles.open(profile);
  const first = await openTab(before, wire.url);
  expect(await sessionIDOf(first)).toBe(1);
  await addOne(first, 41);
  await expect(first.locator('#result')).toHaveText('42');
  await before.close();

  const after = await profiles.open(profile);
  const second = await openTab(after, wire.url);
  expect(await sessionIDOf(second)).toBe(1);
  await expect(second.locator('#visitor')).toHaveText('Welcome back. Your previous result was 42.');
  expect(await dataOf(second)).toEqual({ lastValue: 42 });
  await after.close();
});

test('browser and server that were both killed come back to their session @chromium', async ({
  profiles,
  server,
  wire,
}) => {
  const profile = await profiles.create();
  const before = await profiles.open(profile);
  const first = await openTab(before, wire.url);
  await addOne(first, 41);
  await expect(first.locator('#result')).toHaveText('42');
  await server.kill();
  await before.close();
  await server.start();

  const after = await profiles.open(profile);
  const second = await openTab(after, wire.url);
  expect(await sessionIDOf(second)).toBe(1);
  await expect(second.locator('#visitor')).toHaveText('Welcome back. Your previous result was 42.');
  await after.close();
});

test('another profile is another session', async ({ context, browser, wire }) => {
  expect(await sessionIDOf(await openTab(context, wire.url))).toBe(1);
  const stranger = await browser.newContext();
  const page = await openTab(stranger, wire.url);
  expect(await sessionIDOf(page)).toBe(2);
  await expect(page.locator('#visitor-kind')).toHaveText('New');
  await expect(page.locator('#tabs')).toHaveText('1');
  await stranger.close();
});

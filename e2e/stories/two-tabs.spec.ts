import { addOne, enterNumber, statsOf, sessionIDOf, waitForSession } from '../kit/page.ts';
import { expect, openTab, test } from '../kit/test.ts';

test('two tabs are one session and two connections on one socket', async ({ context, wire }) => {
  const first = await openTab(context, wire.url);
  const second = await openTab(context, wire.url);

  expect(await sessionIDOf(first)).toBe(1);
  expect(await sessionIDOf(second)).toBe(1);
  expect(await statsOf(second)).toEqual({ sockets: 1, sessions: 1, conns: 2 });
  expect(wire.webSockets).toHaveLength(1);
  expect(wire.openWebSockets).toBe(1);
});

test('what one tab does shows in the other', async ({ context, wire }) => {
  const first = await openTab(context, wire.url);
  const second = await openTab(context, wire.url);

  await addOne(first, 999);
  await expect(second.locator('#result')).toHaveText('1000');
  await expect(first.locator('#result')).toHaveText('1000');

  await addOne(second, 41);
  await expect(first.locator('#result')).toHaveText('42');
});

test('tabs know how many they are, as they come and go', async ({ context, wire }) => {
  const first = await openTab(context, wire.url);
  await expect(first.locator('#tabs')).toHaveText('1');
  const second = await openTab(context, wire.url);
  await expect(first.locator('#tabs')).toHaveText('2');
  await expect(second.locator('#tabs')).toHaveText('2');

  await first.close({ runBeforeUnload: true });
  await expect(second.locator('#tabs')).toHaveText('1');
  await expect.poll(() => statsOf(second)).toEqual({ sockets: 1, sessions: 1, conns: 1 });
});

test('an answer goes to the tab that has asked', async ({ context, wire }) => {
  const first = await openTab(context, wire.url);
  const second = await openTab(context, wire.url);
  await enterNumber(first, 6);
  await first.getByRole('button', { name: 'Ask' }).click();
  await expect(first.locator('#answer')).toHaveText('7');
  await expect(second.locator('#answer')).toHaveText('–');
});

test('a second tab is in session without any network round trip', async ({ context, wire }) => {
  const first = await openTab(context, wire.url);
  await addOne(first, 999);
  await expect(first.locator('#result')).toHaveText('1000');

  // From here on nothing passes over any WebSocket; only pages still load.
  wire.mode = 'stall-websockets';
  const second = await context.newPage();
  await second.goto(wire.url);
  expect(await waitForSession(second)).toMatchObject({ sessionID: 1, resumed: true, reason: 'joined' });
  await expect(second.locator('#link-state')).toHaveText('Connected');
  await expect(second.locator('#session')).toHaveText('No. 1');
  await expect(second.locator('#tabs')).toHaveText('–');

  wire.mode = 'pass';
  await expect(second.locator('#result')).toHaveText('1000');
  await expect(second.locator('#tabs')).toHaveText('2');
  expect(wire.webSockets).toHaveLength(1);
});

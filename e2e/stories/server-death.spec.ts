import { addOne, askEach, dataOf, sessionIDOf, stateOf, statsOf } from '../kit/page.ts';
import { randomFor } from '../kit/random.ts';
import { expect, openTab, test } from '../kit/test.ts';

test('kill -9 and restart: tabs resume by themselves, in the same session, with all it has saved', async ({
  context,
  server,
  wire,
}) => {
  const first = await openTab(context, wire.url);
  const second = await openTab(context, wire.url);
  await expect(first.locator('#visitor-kind')).toHaveText('New');
  await addOne(first, 999);
  await expect(second.locator('#result')).toHaveText('1000');

  await server.kill();
  for (const page of [first, second]) {
    await expect(page.locator('#link-state')).toHaveText('Server out of reach');
    await expect(page.locator('#link')).toHaveAttribute('data-state', 'waiting');
  }
  await server.start();

  for (const page of [first, second]) {
    await expect(page.locator('#link-state')).toHaveText('Connected', { timeout: 25_000 });
    expect(await sessionIDOf(page)).toBe(1);
    await expect(page.locator('#visitor-kind')).toHaveText('Repeat');
    await expect(page.locator('#visitor')).toHaveText('Welcome back. Your previous result was 1000.');
  }
  await expect(first.locator('#tabs')).toHaveText('2');
  expect(await dataOf(first)).toEqual({ lastValue: 1000 });
  await expect.poll(() => statsOf(first)).toEqual({ sockets: 1, sessions: 1, conns: 2 });
});

test('what is sent while the server is down arrives when it is back', async ({ context, server, wire }) => {
  const page = await openTab(context, wire.url);
  await server.kill();
  await expect(page.locator('#link')).toHaveAttribute('data-state', 'waiting');
  await addOne(page, 6);
  await page.getByRole('button', { name: 'Ask' }).click();
  await expect(page.locator('#result')).toHaveText('…');
  await server.start();
  await expect(page.locator('#result')).toHaveText('7', { timeout: 25_000 });
  await expect(page.locator('#answer')).toHaveText('7');
});

test('asks in flight when the server is killed work once and are answered once', async ({
  context,
  server,
  wire,
}, testInfo) => {
  const random = randomFor(testInfo);
  const each = 8;
  const first = await openTab(context, wire.url);
  const second = await openTab(context, wire.url);

  const asked = [askEach(first, 'countSlowly', each), askEach(second, 'countSlowly', each)];
  // Killed twice in the middle, wherever that is.
  for (const share of [0.1 + 0.3 * random(), 0.5 + 0.3 * random()]) {
    await expect
      .poll(() => server.output.split('counted').length - 1, { timeout: 40_000, intervals: [20] })
      .toBeGreaterThanOrEqual(Math.floor(2 * each * share));
    await server.kill();
    await expect.poll(async () => (await stateOf(first)).name).not.toBe('active');
    await server.start();
  }

  const answers = await Promise.all(asked);
  for (const ofTab of answers) expect(ofTab).toEqual([...ofTab].sort((a, b) => a - b));
  expect(answers.flat().sort((a, b) => a - b)).toEqual(Array.from({ length: 2 * each }, (_, i) => i + 1));
  expect(await dataOf(first)).toEqual({ count: 2 * each });
});

test('asks in flight when the connection is cut work once and are answered once', async ({
  context,
  wire,
}, testInfo) => {
  const random = randomFor(testInfo);
  const each = 100;
  const first = await openTab(context, wire.url);
  const second = await openTab(context, wire.url);
  // Frames fall apart, so that cuts hit them in the middle as well.
  wire.sliceBytes = 200;
  wire.delayMs = 1;

  const asked = [askEach(first, 'count', each), askEach(second, 'count', each)];
  for (let cuts = 0; cuts < 4; cuts++) {
    const seen = wire.bytes;
    const after = Math.floor(200 + 6_000 * random());
    await expect.poll(() => wire.bytes, { timeout: 20_000, intervals: [5] }).toBeGreaterThan(seen + after);
    wire.cut();
  }
  wire.sliceBytes = Number.POSITIVE_INFINITY;
  wire.delayMs = 0;

  const answers = await Promise.all(asked);
  expect(answers.flat().sort((a, b) => a - b)).toEqual(Array.from({ length: 2 * each }, (_, i) => i + 1));
  expect(await dataOf(first)).toEqual({ count: 2 * each });
  await expect.poll(() => statsOf(first)).toEqual({ sockets: 1, sessions: 1, conns: 2 });
});

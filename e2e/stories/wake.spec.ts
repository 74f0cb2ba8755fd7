import { stateOf, waitForState } from '../kit/page.ts';
import { expect, openTab, test } from '../kit/test.ts';

/** A wait that is clearly longer than what a wake may take, in ms. */
const LONG_MS = 6_000;

for (const event of ['focus', 'online']) {
  test(`a window that gets '${event}' does not wait for the end of a long back-off`, async ({
    context,
    wire,
  }) => {
    // Back-off is random: a long wait can take a while to come.
    test.setTimeout(210_000);
    const page = await openTab(context, wire.url);
    wire.mode = 'refuse';
    wire.cut();
    const { retryAtMs } = await waitForState(page, 'waiting', { leftMs: LONG_MS, timeoutMs: 120_000 });
    await expect(page.locator('#countdown')).toHaveText(/^again in \d+ s$/);
    wire.mode = 'pass';
    expect(await stateOf(page)).toMatchObject({ name: 'waiting', retryAtMs });

    const connecting = waitForState(page, 'connecting', { timeoutMs: LONG_MS });
    await page.evaluate((name) => dispatchEvent(new Event(name)), event);
    await connecting;
    expect(Date.now()).toBeLessThan(retryAtMs);
    // Firefox holds sockets back that have failed before, for up to a minute (network.websocket.delay-failed-reconnects).
    await expect(page.locator('#link-state')).toHaveText('Connected', { timeout: 65_000 });
  });
}

test('a half-open connection is noticed within seconds of a focus', async ({ context, wire }) => {
  const page = await openTab(context, wire.url);
  // Swallows everything; nothing ever closes by itself.
  wire.mode = 'stall';
  await page.evaluate(() => dispatchEvent(new Event('focus')));
  await expect(page.locator('#link')).not.toHaveAttribute('data-state', 'active', { timeout: 8_000 });
  wire.cut();
  wire.mode = 'pass';
  await expect(page.locator('#link-state')).toHaveText('Connected', { timeout: 25_000 });
});

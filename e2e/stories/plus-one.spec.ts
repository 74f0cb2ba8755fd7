import { axe, widthsOf } from '../kit/axe.ts';
import { addOne, enterNumber } from '../kit/page.ts';
import { expect, openTab, test } from '../kit/test.ts';

test('shows everything that the session is', async ({ context, wire, host }) => {
  const page = await openTab(context, wire.url);
  await expect(page.locator('#session')).toHaveText('No. 1');
  await expect(page.locator('#visitor-kind')).toHaveText('New');
  await expect(page.locator('#visitor')).toHaveText('Welcome. This is your first visit.');
  await expect(page.locator('#tabs')).toHaveText('1');
  await expect(page.locator('#host')).toHaveText(host.replace('-', ' '));
  await expect(page.locator('#link-state')).toHaveText('Connected');
  await expect(page.locator('#countdown')).toBeEmpty();

  await addOne(page, 999);
  await expect(page.locator('#result')).toHaveText('1000');
  await enterNumber(page, -2.5);
  await page.getByRole('button', { name: 'Ask' }).click();
  await expect(page.locator('#answer')).toHaveText('-1.5');
});

test('an ask that cannot be answered is refused with the code of the application', async ({
  context,
  wire,
}) => {
  const page = await openTab(context, wire.url);
  const error = await page.evaluate(() =>
    webgram
      .client!.ask('incr', 'one')
      .catch(({ name, code, message }: Error & { code: string }) => ({ name, code, message })),
  );
  expect(error).toEqual({ name: 'AskError', code: 'not-a-number', message: 'one can be added to a number' });
});

test('its link opens a second tab of the same session', async ({ context, wire }) => {
  const page = await openTab(context, wire.url);
  const opened = context.waitForEvent('page');
  await page.getByRole('link', { name: 'Open a second tab' }).click();
  const second = await opened;
  await expect(second.locator('#session')).toHaveText('No. 1');
  await expect(page.locator('#tabs')).toHaveText('2');
});

test('works by keyboard alone', async ({ context, wire }) => {
  const page = await openTab(context, wire.url);
  await page.getByRole('spinbutton').focus();
  await page.keyboard.press('ControlOrMeta+A');
  await page.keyboard.type('6');
  await page.keyboard.press('Enter');
  await expect(page.locator('#result')).toHaveText('7');
  for (const name of ['Add one', 'Ask', 'Open a second tab']) {
    await page.keyboard.press('Tab');
    const focused = page.locator(':focus-visible');
    await expect(focused).toHaveText(name);
    await expect(focused).toHaveCSS('outline-style', 'solid');
  }
  await page.keyboard.press('Shift+Tab');
  await page.keyboard.press('Enter');
  await expect(page.locator('#answer')).toHaveText('7');
});

test("loads nothing from elsewhere and offends nothing under default-src 'self'", async ({
  context,
  wire,
}) => {
  const page = await context.newPage();
  const troubles: string[] = [];
  const origins = new Set<string>();
  page.on('console', (message) => troubles.push(message.text()));
  page.on('pageerror', (error) => troubles.push(error.message));
  page.on('requestfailed', (request) => troubles.push(request.url()));
  page.on('request', (request) => origins.add(new URL(request.url()).origin));
  // The server of the tests sends the policy with every file, the worker's script as well.
  const response = await page.goto(wire.url);
  expect(await response?.headerValue('content-security-policy')).toBe("default-src 'self'");
  const policy = page.locator('meta[http-equiv="Content-Security-Policy"]');
  await expect(policy).toHaveAttribute('content', "default-src 'self'");
  await addOne(page, 1);
  await expect(page.locator('#result')).toHaveText('2');
  expect([...origins]).toEqual([new URL(wire.url).origin]);
  expect(troubles).toEqual([]);
});

for (const colorScheme of ['light', 'dark'] as const) {
  test(`has nothing that axe finds wrong, in ${colorScheme}`, async ({ context, wire }) => {
    const page = await openTab(context, wire.url);
    await page.emulateMedia({ colorScheme, reducedMotion: 'reduce' });
    await addOne(page, 999);
    await expect(page.locator('#result')).toHaveText('1000');
    for (const width of [1280, 320]) {
      await page.setViewportSize({ width, height: 800 });
      expect(await axe(page)).toEqual([]);
      const { scrollWidth, clientWidth } = await widthsOf(page);
      expect(scrollWidth).toBe(clientWidth);
    }
    wire.mode = 'refuse';
    wire.cut();
    await expect(page.locator('#countdown')).toHaveText(/again in/);
    expect(await axe(page)).toEqual([]);
  });
}

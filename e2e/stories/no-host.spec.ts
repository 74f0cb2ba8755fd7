import { stateOf } from '../kit/page.ts';
import { expect, test } from '../kit/test.ts';

test('without SharedWorker the client says so by name, and the page shows it', async ({
  context,
  server,
  wire,
}) => {
  await context.addInitScript(() => {
    Reflect.deleteProperty(globalThis, 'SharedWorker');
  });
  const page = await context.newPage();
  await page.goto(wire.url);
  await expect(page.locator('#link-state')).toHaveText('Not connected');
  await expect(page.locator('#visitor')).toContainText('WEBGRAM_NO_HOST');
  expect(await stateOf(page)).toMatchObject({ name: 'closed', code: 'WEBGRAM_NO_HOST' });

  const codes = await page.evaluate(async () => {
    const code = ({ code }: { code: string }) => code;
    const client = webgram.client!;
    return [
      await client.ask('incr', 1).catch(code),
      await client.waitForSession().catch(code),
      await webgram.ready.catch(code),
    ];
  });
  expect(codes).toEqual(['WEBGRAM_NO_HOST', 'WEBGRAM_NO_HOST', 'WEBGRAM_NO_HOST']);

  await page.getByRole('button', { name: 'Ask' }).click();
  await expect(page.getByRole('alert')).toContainText('no SharedWorker');
  expect(wire.webSockets).toHaveLength(0);
  expect(server.isRunning).toBe(true);
});

test('a worker script that cannot be had is a missing host as well @chromium', async ({ context, wire }) => {
  await context.route('**/.well-known/webgram/worker-*.js', (route) => route.fulfill({ status: 404 }));
  const page = await context.newPage();
  await page.goto(wire.url);
  await expect(page.locator('#visitor')).toContainText('WEBGRAM_NO_HOST');
});

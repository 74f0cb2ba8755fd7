import type { BrowserContext, Page } from '@playwright/test';
import { PORT_PROTOCOL } from '../../worker/host/port-protocol.ts';
import { stateOf, statsOf, waitForSession } from '../kit/page.ts';
import { expect, openTab, test } from '../kit/test.ts';

const WORKER = '**/.well-known/webgram/worker-*.js';
const LEADER_TAB = '**/.well-known/webgram/leader-tab-*.js';

/** What a browser may get in place of the worker, and what the client then says of it. */
const UNFIT = [
  { name: 'that is not there', status: 404, why: /cannot be run|is silent/ },
  { name: 'that throws at its start', body: 'throw new Error("broken")', why: /cannot be run|is silent/ },
  { name: 'that never speaks', body: '', why: /is silent/ },
  { name: 'that cannot keep a key', body: refusingWorker(), why: /cannot keep a key/ },
];

for (const { name, status = 200, body, why } of UNFIT) {
  test(`a worker ${name} leaves it to a tab @chromium @shared-worker`, async ({ context, wire }) => {
    await context.route(WORKER, (route) =>
      route.fulfill({ status, contentType: 'text/javascript', body: body ?? '' }),
    );
    const first = await openTab(context, wire.url);
    const second = await openTab(context, wire.url);
    const hosts = [];
    for (const page of [first, second]) hosts.push(await page.evaluate(() => webgram.client!.host!));
    expect(hosts.map(({ kind }) => kind)).toEqual(['leader-tab', 'leader-tab']);
    expect(hosts.map(({ role }) => role).sort()).toEqual(['follower', 'leader']);
    for (const host of hosts) expect(host.why).toMatch(why);
    expect(wire.openWebSockets).toBe(1);
  });
}

test('without any host the client says so by name, and the page shows it', async ({
  context,
  server,
  wire,
}) => {
  await withoutHosts(context);
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
  await expect(page.getByRole('alert')).toHaveText(/^No answer: .*leader-tab.* \(WEBGRAM_NO_HOST\)\.$/);
  expect(wire.webSockets).toHaveLength(0);
  expect(server.isRunning).toBe(true);
});

async function withoutHosts(context: BrowserContext): Promise<void> {
  await withoutWorker(context);
  await context.route(LEADER_TAB, (route) => route.fulfill({ status: 404 }));
}

async function withoutWorker(where: BrowserContext | Page): Promise<void> {
  await where.addInitScript(() => {
    Reflect.deleteProperty(globalThis, 'SharedWorker');
  });
}

/** Says what ours says in WebKitGTK, where no worker can keep a key. */
function refusingWorker(): string {
  return `onconnect = ({ ports: [port] }) => {
    const say = (message) => port.postMessage({ incarnation: 'webgram-host-x', ...message })
    port.onmessage = ({ data }) => {
      if (data.kind === 'hello') say({ kind: 'moved', script: '', build: '', why: 'the worker cannot keep a key here' })
    }
    say({ kind: 'welcome', protocol: ${PORT_PROTOCOL}, build: self.name, host: { kind: 'shared-worker' } })
  }`;
}

test('where only some pages can have a worker, all come together at one host @shared-worker', async ({
  context,
  wire,
}) => {
  const able = await openTab(context, wire.url);
  expect(await able.evaluate(() => webgram.client!.host!.kind)).toBe('shared-worker');
  const unable = await context.newPage();
  await withoutWorker(unable);
  await unable.goto(wire.url);
  expect(await waitForSession(unable)).toMatchObject({ sessionID: 1 });
  await expect.poll(() => able.evaluate(() => webgram.client!.host!.kind)).toBe('leader-tab');
  for (const page of [able, unable])
    expect(await page.evaluate(() => webgram.client!.ask('incr', 1))).toBe(2);
  await expect.poll(() => statsOf(able)).toEqual({ sockets: 1, sessions: 1, conns: 2 });

  // The one that leads goes; the other has a worker again, or leads itself.
  await unable.close({ runBeforeUnload: true });
  expect(await able.evaluate(() => webgram.client!.with({ timeoutMs: 30_000 }).ask('incr', 2))).toBe(3);
  await expect.poll(() => statsOf(able)).toEqual({ sockets: 1, sessions: 1, conns: 1 });
});

import type { BrowserContext, Page } from '@playwright/test';
import { identityOf, sessionIDOf, statsOf, waitForSession } from '../kit/page.ts';
import { expect, openTab, test } from '../kit/test.ts';

const WORKER = '**/.well-known/webgram/worker-*.js';

/** What a browser's storage may be like, as a script that makes it so. */
const FAULTS = [
  {
    name: 'that may not be opened',
    script: `IDBFactory.prototype.open = () => { throw new DOMException('no', 'SecurityError') };`,
  },
  { name: 'that hangs', script: 'IDBFactory.prototype.open = () => new EventTarget();' },
  {
    name: 'that takes no keys',
    script: `{
      const { put } = IDBObjectStore.prototype;
      IDBObjectStore.prototype.put = function (value, key) {
        if (value.privateKey !== undefined) throw new DOMException('no', 'DataCloneError');
        return put.call(this, value, key);
      };
    }`,
  },
  {
    name: 'that is full',
    script: `IDBObjectStore.prototype.put = () => { throw new DOMException('full', 'QuotaExceededError') };`,
  },
];

for (const { name, script } of FAULTS) {
  test(`with a storage ${name} all tabs are one session in memory @leader-tab`, async ({
    context,
    server,
    wire,
  }) => {
    await context.addInitScript(script);
    await expectMemory(await openTab(context, wire.url), await openTab(context, wire.url));
    await server.kill();
    await server.start();
    const third = await openTab(context, wire.url);
    expect(await waitForSession(third)).toMatchObject({ sessionID: 1, resumed: true });
    await expect.poll(() => wire.openWebSockets).toBe(1);
  });

  test(`a worker with a storage ${name} leaves it to a tab @shared-worker @chromium`, async ({
    context,
    wire,
  }) => {
    await context.addInitScript(script);
    await breakWorker(context, script);
    const first = await openTab(context, wire.url);
    await expectMemory(first, await openTab(context, wire.url));
    expect(await first.evaluate(() => webgram.client!.host!.kind)).toBe('leader-tab');
    await expect.poll(() => wire.openWebSockets).toBe(1);
  });
}

async function breakWorker(context: BrowserContext, script: string): Promise<void> {
  await context.route(WORKER, async (route) => {
    const response = await route.fetch();
    await route.fulfill({ response, body: script + (await response.text()) });
  });
}

/** Two tabs are in the one session there is, and say that it ends with them. */
async function expectMemory(...pages: Page[]): Promise<void> {
  for (const page of pages) {
    expect(await sessionIDOf(page)).toBe(1);
    expect(await identityOf(page)).toEqual({ sessionID: 1, storage: 'memory' });
  }
  await expect.poll(() => statsOf(pages[0]!)).toEqual({ sockets: 1, sessions: 1, conns: pages.length });
}

test('a key that is gone is told by name, once', async ({ profiles, wire }) => {
  const profile = await profiles.create();
  const before = await profiles.open(profile);
  const page = await openTab(before, wire.url);
  await expect.poll(() => identityOf(page)).toEqual({ sessionID: 1, storage: 'persistent' });
  await before.close();

  const after = await profiles.open(profile);
  const bare = await after.newPage();
  await bare.goto(`${wire.url}icon.svg`);
  await bare.evaluate(loseIdentities);
  const first = await openTab(after, wire.url);
  expect(await waitForSession(first)).toMatchObject({ sessionID: 2, resumed: false, reason: 'key-lost' });
  const second = await openTab(after, wire.url);
  expect(await waitForSession(second)).toMatchObject({ sessionID: 2, resumed: true, reason: 'joined' });
  await after.close();
});

test('site data that is cleared under open tabs costs them nothing @chromium', async ({ context, wire }) => {
  const page = await openTab(context, wire.url);
  const client = await context.newCDPSession(page);
  await client.send('Storage.clearDataForOrigin', {
    origin: new URL(wire.url).origin,
    storageTypes: 'indexeddb',
  });
  wire.cut();
  await expect.poll(() => identityOf(page)).toEqual({ sessionID: 1, storage: 'memory' });
  const second = await openTab(context, wire.url);
  expect(await sessionIDOf(second)).toBe(1);
  expect(await second.evaluate(() => webgram.client!.ask('count'))).toBe(1);
  await expect.poll(() => statsOf(page)).toEqual({ sockets: 1, sessions: 1, conns: 2 });
});

/** Removes every identity, and leaves the rest. Runs in the page. */
async function loseIdentities(): Promise<void> {
  const opened = indexedDB.open('webgram-sessions');
  await new Promise((resolve) => opened.addEventListener('success', resolve));
  const transaction = opened.result.transaction('identities', 'readwrite');
  const store = transaction.objectStore('identities');
  const keys = store.getAllKeys();
  keys.addEventListener('success', () => {
    for (const key of keys.result as string[]) if (key.includes(' identity ')) store.delete(key);
  });
  await new Promise((resolve) => transaction.addEventListener('complete', resolve));
  opened.result.close();
}

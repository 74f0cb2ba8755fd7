import type { ClientHost, SessionActive } from 'webgram-sessions';
// Types of the global `webgram`.
import type {} from '../../client/script-tag/script-tag.ts';
import { WebKit, type WebKitTab } from '../engines/webkit.ts';
import { expect, test as base } from '../kit/test.ts';
import type { Stats, TestServer } from '../kit/test-server.ts';

const test = base.extend<{ webkit: WebKit }>({
  webkit: async ({}, use) => {
    const webkit = await WebKit.start();
    await use(webkit);
    await webkit.close();
  },
});

async function openTab(webkit: WebKit, url: string): Promise<WebKitTab> {
  const tab = await webkit.open(url);
  await sessionOf(tab);
  return tab;
}

function sessionOf(tab: WebKitTab): Promise<SessionActive> {
  return tab.evaluate(() => webgram.client!.waitForSession());
}

function hostOf(tab: WebKitTab): Promise<ClientHost> {
  return tab.evaluate(() => webgram.client!.waitForHost());
}

function ask(tab: WebKitTab, ...asked: [type: string, ...args: unknown[]]): Promise<unknown> {
  return tab.evaluate((asked) => webgram.client!.with({ timeoutMs: 30_000 }).ask(...asked), asked);
}

/** What a page keeps of asks whose answers are looked at later. */
type Asking = typeof globalThis & { answers: Promise<unknown[]> };

/** Asks so many times at once, and does not wait: tabs have only one driver. @returns Waits for the answers. */
async function askEach(tab: WebKitTab, type: string, times: number): Promise<() => Promise<unknown[]>> {
  await tab.evaluate(
    ({ type, times }) => {
      const client = webgram.client!.with({ timeoutMs: 50_000 });
      (globalThis as Asking).answers = Promise.all(Array.from({ length: times }, () => client.ask(type)));
    },
    { type, times },
  );
  return () => tab.evaluate(() => (globalThis as Asking).answers);
}

/** Waits until the tab has no link. */
async function isCut(tab: WebKitTab): Promise<void> {
  await expect.poll(() => tab.evaluate(() => webgram.client!.state.name)).not.toBe('active');
}

/** Sends durable messages, and waits until all are stored. @returns The codes of what was refused. */
function sendDurably(tab: WebKitTab, from: number, through: number): Promise<(string | null)[]> {
  return tab.evaluate(
    ({ from, through }) =>
      Promise.all(
        Array.from({ length: through - from + 1 }, (_, i) =>
          webgram.client!.durable.send('note', from + i).then(
            () => null,
            (error: { code: string }) => error.code,
          ),
        ),
      ),
    { from, through },
  );
}

/** What the server has noted in this session, in order. */
async function notesOf(tab: WebKitTab): Promise<unknown> {
  return ((await ask(tab, 'data')) as { notes?: unknown }).notes;
}

/** Adds a page to the server's own whose browser takes no keys. @returns Its name. */
async function writeKeyless(server: TestServer): Promise<string> {
  await server.write(
    'no-keys.js',
    `const { put } = IDBObjectStore.prototype;
    IDBObjectStore.prototype.put = function (value, key) {
      if (value.privateKey !== undefined) throw new DOMException('no', 'DataCloneError');
      return put.call(this, value, key);
    };`,
  );
  const scripts = ['/no-keys.js', '/.well-known/webgram/webgram.js'].map(
    (src) => `<script src="${src}" defer></script>`,
  );
  await server.write('no-keys.html', `<!doctype html><title>x</title>${scripts.join('')}`);
  return 'no-keys.html';
}

test('no worker can keep a key, so a tab is the host, and two tabs are one session on one socket', async ({
  webkit,
  wire,
}) => {
  const first = await openTab(webkit, wire.url);
  const second = await openTab(webkit, wire.url);
  const hosts = [await hostOf(first), await hostOf(second)];
  expect(hosts.map(({ kind }) => kind)).toEqual(['leader-tab', 'leader-tab']);
  expect(hosts.map(({ role }) => role)).toEqual(['leader', 'follower']);
  expect(hosts[0]!.why).toContain('cannot keep a key');
  expect((await sessionOf(first)).sessionID).toBe(1);
  expect((await sessionOf(second)).sessionID).toBe(1);
  const stats = (await ask(second, 'stats')) as Stats;
  expect(stats).toEqual({ sockets: 1, sessions: 1, conns: 2 });
  expect(wire.openWebSockets).toBe(1);
});

test('what one tab does shows in the other', async ({ webkit, wire }) => {
  const first = await openTab(webkit, wire.url);
  const second = await openTab(webkit, wire.url);
  await first.evaluate(() => webgram.client!.send('add-one', 999));
  await expect.poll(() => second.evaluate(() => document.querySelector('#result')!.textContent)).toBe('1000');
});

test('a reload keeps the session', async ({ webkit, wire }) => {
  const tab = await openTab(webkit, wire.url);
  expect(await ask(tab, 'count')).toBe(1);
  await tab.reload();
  expect(await sessionOf(tab)).toMatchObject({ sessionID: 1, resumed: true });
  expect(await ask(tab, 'count')).toBe(2);
  await expect.poll(() => ask(tab, 'stats')).toEqual({ sockets: 1, sessions: 1, conns: 1 });
});

test('kill -9 and restart of the server: tabs resume by themselves', async ({ webkit, server, wire }) => {
  const tab = await openTab(webkit, wire.url);
  expect(await ask(tab, 'count')).toBe(1);
  await server.kill();
  await isCut(tab);
  const answer = ask(tab, 'count');
  await server.start();
  expect(await answer).toBe(2);
  expect((await sessionOf(tab)).sessionID).toBe(1);
});

test('asks in flight when the server is killed work once and are answered once', async ({
  webkit,
  server,
  wire,
}) => {
  const each = 8;
  const tabs = [await openTab(webkit, wire.url), await openTab(webkit, wire.url)];
  const asked = [];
  for (const tab of tabs) asked.push(await askEach(tab, 'countSlowly', each));
  // Killed twice in the middle.
  for (const counted of [3, 10]) {
    await expect
      .poll(() => server.output.split('counted').length - 1, { timeout: 40_000, intervals: [20] })
      .toBeGreaterThanOrEqual(counted);
    await server.kill();
    await isCut(tabs[0]!);
    await server.start();
  }
  const answers = [];
  for (const answersOf of asked) answers.push(...(await answersOf()));
  expect(answers.map(Number).sort((a, b) => a - b)).toEqual(
    Array.from({ length: 2 * each }, (_, i) => i + 1),
  );
  expect(await ask(tabs[1]!, 'data')).toEqual({ count: 2 * each });
  await expect.poll(() => ask(tabs[0]!, 'stats')).toEqual({ sockets: 1, sessions: 1, conns: 2 });
});

test('when the leader is closed another tab leads, and what it had sent arrives', async ({
  webkit,
  wire,
}) => {
  const leader = await openTab(webkit, wire.url);
  const other = await openTab(webkit, wire.url);
  const third = await openTab(webkit, wire.url);
  // The server hears nothing of it as long as that tab lives.
  wire.mode = 'stall-websockets';
  await leader.evaluate(() => {
    for (let n = 0; n < 20; n++) void webgram.client!.ask('count').catch(() => undefined);
  });
  await leader.close();
  wire.cut();
  wire.mode = 'pass';
  await expect.poll(() => ask(other, 'data'), { timeout: 15_000 }).toEqual({ count: 20 });
  expect(await ask(third, 'count')).toBe(21);
  const roles = [(await hostOf(other)).role, (await hostOf(third)).role];
  expect(roles.sort()).toEqual(['follower', 'leader']);
  await expect.poll(() => ask(other, 'stats')).toEqual({ sockets: 1, sessions: 1, conns: 2 });
});

test('what the leader sent durably without a server arrives once, in order, when both were gone', async ({
  webkit,
  server,
  wire,
}) => {
  const leader = await openTab(webkit, wire.url);
  const other = await openTab(webkit, wire.url);
  expect(await sendDurably(leader, 1, 2)).toEqual([null, null]);
  await expect.poll(() => notesOf(other)).toEqual([1, 2]);
  await server.kill();
  await isCut(leader);
  expect(new Set(await sendDurably(leader, 3, 20))).toEqual(new Set([null]));
  await expect.poll(() => other.evaluate(() => webgram.client!.queue.count)).toBe(18);
  await leader.close();
  // No tab of this origin is left.
  await other.goto('about:blank');
  await server.start();

  const later = await openTab(webkit, wire.url);
  expect(await sessionOf(later)).toMatchObject({ sessionID: 1, resumed: true });
  await expect.poll(() => notesOf(later)).toEqual(Array.from({ length: 20 }, (_, i) => i + 1));
  await expect.poll(() => later.evaluate(() => webgram.client!.queue.count)).toBe(0);
});

test.describe('where no tab can keep a key either', () => {
  test.use({ serverOptions: { ownPage: true } });

  test('a durable message is refused by name, and a plain one arrives', async ({ webkit, server, wire }) => {
    const url = wire.url + (await writeKeyless(server));
    const first = await openTab(webkit, url);
    const second = await openTab(webkit, url);
    expect(await second.evaluate(() => webgram.client!.identity!.storage)).toBe('memory');
    for (const tab of [first, second]) {
      expect(await sendDurably(tab, 1, 1)).toEqual(['WEBGRAM_STORAGE_FAILED']);
      await tab.evaluate(() => webgram.client!.send('note', 2));
    }
    await expect.poll(() => notesOf(first)).toEqual([2, 2]);
  });
});

for (const storage of ['persistent', 'memory'] as const) {
  test.describe(`identities in ${storage === 'memory' ? storage : 'the storage'}`, () => {
    test.use({ serverOptions: { ownPage: true } });

    test('two accounts work side by side in two tabs', async ({ webkit, server, wire }) => {
      const url = storage === 'memory' ? wire.url + (await writeKeyless(server)) : wire.url;
      const alice = await openTab(webkit, url);
      const bob = await openTab(webkit, url);
      await ask(alice, 'login', 'alice');
      await alice.evaluate(() => webgram.client!.pin('alice'));
      await bob.evaluate(async () => {
        const address = '/.well-known/webgram/identities.js';
        const { Identities } = (await import(address)) as typeof import('webgram-sessions/identities');
        await new Identities(webgram.client!).add();
      });
      await ask(bob, 'login', 'bob');
      await expectAccounts(storage, { alice, bob });
      await expect.poll(() => ask(bob, 'stats')).toEqual({ sockets: 2, sessions: 2, conns: 2 });

      const asked = [await askEach(alice, 'count', 10), await askEach(bob, 'count', 10)];
      for (const answersOf of asked)
        expect(await answersOf()).toEqual(Array.from({ length: 10 }, (_, i) => i + 1));

      await server.kill();
      await isCut(bob);
      await server.start();
      await expectAccounts(storage, { alice, bob });
      expect([await ask(alice, 'count'), await ask(bob, 'count')]).toEqual([11, 11]);
    });
  });
}

/** Each tab is with the account that it is named by. */
async function expectAccounts(
  storage: 'persistent' | 'memory',
  tabs: Record<string, WebKitTab>,
): Promise<void> {
  for (const [account, tab] of Object.entries(tabs)) {
    expect(await ask(tab, 'account')).toBe(account);
    expect(await tab.evaluate(() => webgram.client!.identity)).toMatchObject({ account, storage });
  }
}

test('the identity is kept as a key that cannot be exported', async ({ webkit, wire }) => {
  const tab = await openTab(webkit, wire.url);
  const stored = await tab.evaluate(async () => {
    const open = indexedDB.open('webgram-sessions');
    const database = await new Promise<IDBDatabase>(
      (resolve) => (open.onsuccess = () => resolve(open.result)),
    );
    const all = database.transaction('identities').objectStore('identities').getAll();
    const records = await new Promise<unknown[]>((resolve) => (all.onsuccess = () => resolve(all.result)));
    const keys: CryptoKey[] = [];
    const look = (value: unknown): void => {
      if (value instanceof CryptoKey) keys.push(value);
      else if (typeof value === 'object' && value !== null) Object.values(value).forEach(look);
    };
    look(records);
    return keys.map(({ type, extractable, usages }) => ({ type, extractable, usages: [...usages] }));
  });
  expect(stored).toEqual([{ type: 'private', extractable: false, usages: ['sign'] }]);
});

test.describe('the script tag', () => {
  const TRUSTED = "require-trusted-types-for 'script'; trusted-types webgram";
  const tag = (src: string) => `<!doctype html><title>x</title><script src="${src}" defer></script>`;
  test.use({ serverOptions: { ownPage: true, policy: `default-src 'self'; ${TRUSTED}` } });

  test('works under Trusted Types, below the path of a proxy', async ({ webkit, server, startFront }) => {
    await server.write('bare.html', tag('./.well-known/webgram/webgram.js'));
    const front = await startFront({ prefix: '/app/', target: () => server.port });
    const tab = await openTab(webkit, `${front.url}app/bare.html`);
    expect((await hostOf(tab)).why).toContain('cannot keep a key');
    expect(await ask(tab, 'count')).toBe(1);
  });

  test('works from a page of another origin', async ({ webkit, server, startFront }) => {
    const api = `http://127.0.0.1:${server.port}`;
    const front = await startFront({
      pages: { '/': tag(`${api}/.well-known/webgram/webgram.js`) },
      policy: `default-src 'self' ${api} ${api.replace('http', 'ws')}; ${TRUSTED}`,
    });
    const tab = await openTab(webkit, front.url);
    expect((await hostOf(tab)).kind).toBe('leader-tab');
    expect(await ask(tab, 'count')).toBe(1);
  });
});

test('the elements have what they need: the list of devices comes, and the panel opens below its button', async ({
  webkit,
  wire,
}) => {
  const tab = await openTab(webkit, wire.url);
  // Who is not signed in has no menu.
  await ask(tab, 'login', 'alice');
  await tab.evaluate(() => {
    for (const name of ['accounts', 'devices']) {
      const script = document.createElement('script');
      script.type = 'module';
      script.src = `/.well-known/webgram/${name}-define.js`;
      document.head.append(script);
      document.querySelector('main')!.append(document.createElement(`webgram-${name}`));
    }
  });
  await expect
    .poll(() =>
      tab.evaluate(
        () => document.querySelector('webgram-devices')!.shadowRoot?.querySelector('li')?.textContent ?? '',
      ),
    )
    .toContain('This device');
  // It opens once it knows what to show.
  const openPanel = (): Promise<number> =>
    tab.evaluate(() => {
      const { shadowRoot } = document.querySelector('webgram-accounts')!;
      const panel = shadowRoot!.querySelector<HTMLElement>('#panel')!;
      if (panel.getBoundingClientRect().width === 0)
        shadowRoot!.querySelector<HTMLElement>('#button')!.click();
      return panel.getBoundingClientRect().width;
    });
  await expect.poll(openPanel).toBeGreaterThan(200);
  const [colour, button, isBeside] = await tab.evaluate(() => {
    const { shadowRoot } = document.querySelector('webgram-accounts')!;
    const button = shadowRoot!.querySelector<HTMLElement>('#button')!;
    const panel = shadowRoot!.querySelector<HTMLElement>('#panel')!;
    const [above, below] = [button.getBoundingClientRect(), panel.getBoundingClientRect()];
    const isBeside = below.top >= above.bottom || below.bottom <= above.top;
    return [getComputedStyle(panel).backgroundColor, above.width, isBeside] as const;
  });
  expect(colour).toMatch(/^rgb\((255, 255, 255|29, 31, 43)\)$/);
  expect(button).toBeGreaterThanOrEqual(44);
  expect(isBeside).toBe(true);
});

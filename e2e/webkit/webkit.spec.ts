import type { ClientHost, SessionActive } from 'webgram-sessions';
// Types of the global `webgram`.
import type {} from '../../client/script-tag/script-tag.ts';
import { WebKit, type WebKitTab } from '../engines/webkit.ts';
import { expect, test as base } from '../kit/test.ts';
import type { Stats } from '../kit/test-server.ts';

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

function ask(tab: WebKitTab, type: string): Promise<unknown> {
  return tab.evaluate((asked) => webgram.client!.with({ timeoutMs: 30_000 }).ask(asked), type);
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
  await expect.poll(() => tab.evaluate(() => webgram.client!.state.name)).not.toBe('active');
  const answer = ask(tab, 'count');
  await server.start();
  expect(await answer).toBe(2);
  expect((await sessionOf(tab)).sessionID).toBe(1);
});

test('when the leader is closed another tab leads, and what it had sent arrives', async ({
  webkit,
  wire,
}) => {
  const leader = await openTab(webkit, wire.url);
  const other = await openTab(webkit, wire.url);
  await leader.evaluate(() => {
    for (let n = 0; n < 20; n++) void webgram.client!.ask('count').catch(() => undefined);
  });
  await leader.close();
  await expect.poll(() => ask(other, 'data'), { timeout: 15_000 }).toEqual({ count: 20 });
  expect((await hostOf(other)).role).toBe('leader');
  await expect.poll(() => ask(other, 'stats')).toEqual({ sockets: 1, sessions: 1, conns: 1 });
});

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
  const [colour, button, panel, isBeside] = await tab.evaluate(() => {
    const { shadowRoot } = document.querySelector('webgram-accounts')!;
    const button = shadowRoot!.querySelector<HTMLElement>('#button')!;
    const panel = shadowRoot!.querySelector<HTMLElement>('#panel')!;
    button.click();
    const [above, below] = [button.getBoundingClientRect(), panel.getBoundingClientRect()];
    const isBeside = below.top >= above.bottom || below.bottom <= above.top;
    return [getComputedStyle(panel).backgroundColor, above.width, below.width, isBeside] as const;
  });
  expect(colour).toMatch(/^rgb\((255, 255, 255|29, 31, 43)\)$/);
  expect(button).toBeGreaterThanOrEqual(44);
  expect(panel).toBeGreaterThan(200);
  expect(isBeside).toBe(true);
});

import { cp } from 'node:fs/promises';
import { codeOf, identityOf, sessionIDOf, stateOf, waitForSession } from '../kit/page.ts';
import { expect, openTab, test } from '../kit/test.ts';
import type { Page } from '@playwright/test';

function ask(page: Page, type: string, ...args: unknown[]): Promise<unknown> {
  return page.evaluate(({ type, args }) => webgram.client!.ask(type, ...args), { type, args });
}

/** Notes every change of state and every session from now on. */
async function watch(page: Page): Promise<void> {
  await page.evaluate(() => {
    const seen: string[] = ((globalThis as unknown as { seen: string[] }).seen = []);
    webgram.client!.on('$state', ({ name }) => seen.push(name));
    webgram.client!.on('$session-active', ({ reason }) => seen.push(reason));
  });
}

function seenBy(page: Page): Promise<string[]> {
  return page.evaluate(() => (globalThis as unknown as { seen: string[] }).seen);
}

test('a login keeps the session, binds the account and is there after a reload; no tab notices', async ({
  context,
  wire,
}) => {
  const page = await openTab(context, wire.url);
  const other = await openTab(context, wire.url);
  expect(await ask(page, 'account')).toBeNull();
  expect(await identityOf(page)).toEqual({ sessionID: 1, storage: 'persistent' });
  for (const tab of [page, other]) await watch(tab);

  await ask(page, 'login', 'alice');
  const alice = { sessionID: 1, account: 'alice', label: 'Dear alice', storage: 'persistent' };
  for (const tab of [page, other]) {
    expect(await ask(tab, 'account')).toBe('alice');
    expect(await identityOf(tab)).toEqual(alice);
    expect(await stateOf(tab)).toEqual({ name: 'active' });
    expect(await seenBy(tab)).toEqual([]);
  }

  await page.reload();
  expect(await sessionIDOf(page)).toBe(1);
  expect(await ask(page, 'account')).toBe('alice');
  expect(await identityOf(page)).toEqual(alice);

  await ask(page, 'logout');
  expect(await ask(page, 'account')).toBeNull();
  expect(await sessionIDOf(page)).toBe(1);
  await page.reload();
  expect(await sessionIDOf(page)).toBe(1);
  expect(await identityOf(page)).toEqual({ sessionID: 1, storage: 'persistent' });
});

test('a browser that was closed comes back logged in; its profile of before the login is refused', async ({
  profiles,
  wire,
}) => {
  const profile = await profiles.create();
  const before = await profiles.open(profile);
  expect(await sessionIDOf(await openTab(before, wire.url))).toBe(1);
  await before.close();
  const copy = await profiles.create();
  await cp(profile, copy, { recursive: true });

  const owner = await profiles.open(profile);
  await ask(await openTab(owner, wire.url), 'login', 'alice');
  await owner.close();
  const again = await profiles.open(profile);
  const page = await openTab(again, wire.url);
  expect(await sessionIDOf(page)).toBe(1);
  expect(await ask(page, 'account')).toBe('alice');

  const thief = await profiles.open(copy);
  const stranger = await openTab(thief, wire.url);
  expect(await waitForSession(stranger)).toMatchObject({ sessionID: 2, resumed: false, reason: 'key-lost' });
  expect(await ask(stranger, 'account')).toBeNull();
  // The owner is not even disturbed.
  expect(await stateOf(page)).toEqual({ name: 'active' });
  expect(await ask(page, 'account')).toBe('alice');
});

test('a login whose code cannot be loaded is refused and nothing is lost; the next one loads it @shared-worker', async ({
  context,
  server,
  startFront,
}) => {
  let isAway = true;
  const tries: string[] = [];
  const front = await startFront({
    prefix: '/',
    target: () => server.port,
    breaks: (path) => path.includes('/queue-') && (tries.push(path), isAway),
  });
  const page = await openTab(context, front.url);
  expect(await codeOf(page, 'login', 'alice')).toBe('WEBGRAM_HANDLER_FAILED');
  await waitForSession(page);
  expect(await ask(page, 'account')).toBeNull();
  expect(await sessionIDOf(page)).toBe(1);
  expect(tries).not.toEqual([]);

  isAway = false;
  await ask(page, 'login', 'alice');
  expect(await ask(page, 'account')).toBe('alice');
  expect(await sessionIDOf(page)).toBe(1);
});

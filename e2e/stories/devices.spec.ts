import type { Page } from '@playwright/test';
import type { DeviceSession } from 'webgram-sessions/devices';
import { codeOf, sessionIDOf, stateOf, waitForState } from '../kit/page.ts';
import { expect, openTab, test } from '../kit/test.ts';

function login(page: Page, account: string): Promise<unknown> {
  return page.evaluate((account) => webgram.client!.ask('login', account), account);
}

/** Calls `Devices` as a page without a bundler does. */
function devices<T>(page: Page, call: 'list' | 'revoke' | 'revokeOthers' | 'rename', ...args: unknown[]) {
  return page.evaluate(
    async ({ call, args }) => {
      const address: string = '/.well-known/webgram/devices.js';
      const { Devices } = (await import(address)) as typeof import('webgram-sessions/devices');
      const list = new Devices(webgram.client!);
      return (list[call] as (...args: unknown[]) => Promise<unknown>)(...args);
    },
    { call, args },
  ) as Promise<T>;
}

/** Notes from now on when the tab is denied, by the clock that all browsers of this machine share. */
async function noteDenial(page: Page): Promise<void> {
  await page.evaluate(() => {
    const deniedAt = new Promise<number>((resolve) => {
      webgram.client!.on('$state', ({ name }) => {
        if (name === 'denied') resolve(Date.now());
      });
    });
    Object.assign(globalThis, { deniedAt });
  });
}

function deniedAt(page: Page): Promise<number> {
  return page.evaluate(() => Reflect.get(globalThis, 'deniedAt') as Promise<number>);
}

test('the phone logs the laptop out: every tab of it is told within a second, and nothing comes back', async ({
  profiles,
  wire,
}) => {
  const laptop = await profiles.open(await profiles.create());
  const phone = await profiles.open(await profiles.create());
  const tabs = [await openTab(laptop, wire.url), await openTab(laptop, wire.url)];
  const mobile = await openTab(phone, wire.url);
  await login(tabs[0]!, 'alice');
  await login(mobile, 'alice');
  const laptopID = await sessionIDOf(tabs[0]!);

  await devices(mobile, 'rename', laptopID, 'Laptop');
  const list = await devices<DeviceSession[]>(mobile, 'list');
  expect(list.map(({ label, isCurrent, isOnline }) => [label, isCurrent, isOnline])).toEqual([
    ['Laptop', false, true],
    [expect.stringMatching(/^\w+ on \w+$/), true, true],
  ]);

  await Promise.all(tabs.map(noteDenial));
  const revokedAtMs = Date.now();
  expect(await devices(mobile, 'revoke', laptopID)).toBe(true);
  for (const atMs of await Promise.all(tabs.map(deniedAt))) expect(atMs - revokedAtMs).toBeLessThan(1_000);
  for (const tab of tabs) expect(await stateOf(tab)).toEqual({ name: 'denied', reason: 'revoked' });
  expect(await devices<DeviceSession[]>(mobile, 'list')).toHaveLength(1);
  expect(await stateOf(mobile)).toEqual({ name: 'active' });

  // Whoever opens it again is somebody new.
  const again = await openTab(laptop, wire.url);
  expect(await sessionIDOf(again)).toBeGreaterThan(laptopID);
  expect(await again.evaluate(() => webgram.client!.ask('account'))).toBeNull();
});

test('who ends everything else stays; who ends himself is told so', async ({ profiles, wire }) => {
  const laptop = await profiles.open(await profiles.create());
  const phone = await profiles.open(await profiles.create());
  const page = await openTab(laptop, wire.url);
  const mobile = await openTab(phone, wire.url);
  await login(page, 'alice');
  await login(mobile, 'alice');
  const gone = waitForState(page, 'denied');
  expect(await devices(mobile, 'revokeOthers')).toBe(1);
  expect(await gone).toEqual({ name: 'denied', reason: 'revoked' });
  await expect(devices(mobile, 'rename', 2, 'x'.repeat(65))).rejects.toThrow('64 characters');
  const own = await sessionIDOf(mobile);
  expect(await codeOf(mobile, '$devices', 'revoke', own, null)).toBe('WEBGRAM_DENIED');
});

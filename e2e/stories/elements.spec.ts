import { readFileSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import path from 'node:path';
import type { Page } from '@playwright/test';
import type { AxeResults } from 'axe-core';
import type {} from '../../client/elements/devices-define.ts';
import { sessionIDOf, stateOf, waitForState } from '../kit/page.ts';
import { expect, openTab, test } from '../kit/test.ts';

const AXE = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');

/** Puts in what a page without a bundler has: the tag, and the script that defines it. */
async function addElement(page: Page, name: 'accounts' | 'devices'): Promise<void> {
  await page.evaluate((name) => {
    const script = document.createElement('script');
    script.type = 'module';
    script.src = `/.well-known/webgram/${name}-define.js`;
    document.head.append(script);
    document.querySelector('main')!.append(document.createElement(`webgram-${name}`));
  }, name);
}

async function violations(page: Page): Promise<string[]> {
  await page.evaluate(AXE);
  return page.evaluate(async () => {
    const { axe } = globalThis as unknown as { axe: { run(on: string): Promise<AxeResults> } };
    const { violations } = await axe.run('webgram-accounts, webgram-devices');
    return violations.flatMap(({ id, nodes }) => nodes.map(({ target }) => `${id}: ${String(target)}`));
  });
}

test('the phone names the laptop and logs it out, in the list of devices that a tag makes', async ({
  profiles,
  wire,
}) => {
  const laptop = await openTab(await profiles.open(await profiles.create()), wire.url);
  const phone = await openTab(await profiles.open(await profiles.create()), wire.url);
  for (const page of [laptop, phone]) await page.evaluate(() => webgram.client!.ask('login', 'alice'));
  await addElement(phone, 'devices');
  const items = phone.locator('webgram-devices').getByRole('listitem');
  await expect(items).toHaveCount(2);
  await expect(items.nth(0)).toContainText('This device');
  expect(await violations(phone)).toEqual([]);

  await items.nth(1).getByRole('button', { name: 'Rename' }).click();
  await phone.getByRole('textbox', { name: 'Name of this device' }).fill('Laptop');
  await phone.keyboard.press('Enter');
  await expect(items.nth(1)).toContainText('Laptop');

  const gone = waitForState(laptop, 'denied');
  await phone.getByRole('button', { name: 'Sign out Laptop' }).click();
  await phone.getByRole('dialog').getByRole('button', { name: 'Sign out' }).click();
  expect(await gone).toEqual({ name: 'denied', reason: 'revoked' });
  await expect(items).toHaveCount(1);
  expect(await stateOf(phone)).toEqual({ name: 'active' });
});

test('the list is there again when the server is, and cannot be changed before', async ({
  context,
  wire,
}) => {
  const page = await openTab(context, wire.url);
  await addElement(page, 'devices');
  const rename = page.getByRole('button', { name: /^Rename/ });
  await expect(rename).toBeEnabled();
  wire.mode = 'refuse';
  wire.cut();
  await expect(rename).toBeDisabled();
  await expect(page.getByText('The server cannot be reached.')).toBeVisible();
  wire.mode = 'pass';
  await page.evaluate(() => dispatchEvent(new Event('online')));
  await expect(rename).toBeEnabled();
  expect(await sessionIDOf(page)).toBe(1);
});

test.describe('a page of its own', () => {
  test.use({ serverOptions: { ownPage: true } });

  for (const place of ['before', 'behind'] as const) {
    test(`may have the element ${place} the client`, async ({ context, wire, server }) => {
      const client = '<script src="/.well-known/webgram/webgram.js" defer></script>';
      const define = '<script type="module" src="/.well-known/webgram/devices-define.js"></script>';
      const [first, second] = place === 'before' ? [define, client] : [client, define];
      const html = `<!doctype html><html lang="en"><title>x</title>${first}${second}<webgram-devices></webgram-devices>`;
      await writeFile(path.join(server.root, 'devices.html'), html);
      const page = await context.newPage();
      await page.goto(new URL('devices.html', wire.url).href);
      await expect(page.getByRole('listitem')).toContainText('This device');
    });
  }

  test('may demand trusted types, and allow those of Lit alone', async ({ context, wire, server }) => {
    const policy =
      "default-src 'self'; style-src 'self'; require-trusted-types-for 'script'; trusted-types lit-html";
    const tags = ['accounts', 'devices'].map(
      (name) =>
        `<script type="module" src="/.well-known/webgram/${name}-define.js"></script><webgram-${name}></webgram-${name}>`,
    );
    await writeFile(
      path.join(server.root, 'strict.html'),
      `<!doctype html><meta http-equiv="Content-Security-Policy" content="${policy}">${tags.join('')}`,
    );
    const page = await context.newPage();
    const errors: string[] = [];
    page.on('console', (message) => {
      // Browsers ask for an icon that nobody has named.
      if (message.type() === 'error' && !message.location().url.endsWith('favicon.ico'))
        errors.push(message.text());
    });
    page.on('pageerror', ({ message }) => errors.push(message));
    await page.goto(new URL('strict.html', wire.url).href);
    const button = page.getByRole('button', { name: /^Account/ });
    await button.click();
    await expect(page.getByRole('group', { name: 'Accounts' })).toBeVisible();
    await expect(page.locator('webgram-devices [aria-busy]')).toBeVisible();
    // Styled: the element's own rules are in force.
    expect((await button.boundingBox())?.width).toBeGreaterThanOrEqual(44);
    expect(errors).toEqual([]);
  });
});

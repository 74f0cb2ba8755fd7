import path from 'node:path';
import type { BrowserContext, Page } from '@playwright/test';
import { axe, widthsOf } from '../kit/axe.ts';
import { waitForState } from '../kit/page.ts';
import { ROOT } from '../kit/readme.ts';
import { expect, test } from '../kit/test.ts';

const PASSWORD = 'correct horse';

// What `npm start` serves, with the page's policy in the page.
test.use({
  serverOptions: {
    command: ['dist/cli.js', 'serve', 'dist/examples/server.js', '--root', 'dist/examples'].map((word) =>
      word.startsWith('dist/') ? path.join(ROOT, word) : word,
    ),
  },
});

const titleOf = (page: Page) => page.getByLabel('Title');
const textOf = (page: Page) => page.getByLabel('Text');
const formOf = (page: Page) => page.getByRole('form', { name: 'Your notebook' });
const statusOf = (page: Page) => page.locator('#link');
const titlesOf = (page: Page) => page.locator('#notes strong');

async function openNotebook(context: BrowserContext, url: string): Promise<Page> {
  const page = await context.newPage();
  await page.goto(`${url}accounts/`);
  return page;
}

async function enter(
  page: Page,
  how: 'Sign in' | 'Sign up',
  name: string,
  password = PASSWORD,
): Promise<void> {
  await page.getByLabel('Name', { exact: true }).fill(name);
  await page.getByLabel('Password').fill(password);
  await formOf(page).getByRole('button', { name: how }).click();
}

/** A tab in which somebody has just signed up or signed in. */
async function tabOf(context: BrowserContext, url: string, how: 'Sign in' | 'Sign up', name: string) {
  const page = await openNotebook(context, url);
  await enter(page, how, name);
  await expect(page.getByRole('button', { name: 'New note' })).toBeVisible();
  return page;
}

async function addNote(page: Page, title: string, text: string): Promise<void> {
  await page.getByRole('button', { name: 'New note' }).click();
  await expect(titleOf(page)).toHaveValue('');
  await titleOf(page).fill(title);
  await textOf(page).fill(text);
}

/** The browser stores nothing more. @returns The function that lets it again. */
async function failToStore(page: Page): Promise<() => Promise<void>> {
  await page.evaluate(() => {
    const { durable } = webgram.client!;
    const { send } = durable;
    durable.send = () => Promise.reject(new Error('The storage is full.'));
    Object.assign(globalThis, { storeAgain: () => (durable.send = send) });
  });
  return () => page.evaluate(() => void (Reflect.get(globalThis, 'storeAgain') as () => unknown)());
}

async function isSaved(page: Page): Promise<void> {
  await expect(page.locator('#saved')).toHaveText(/^Saved/);
}

async function openNote(page: Page, title: string): Promise<void> {
  await page.getByRole('navigation').getByRole('link', { name: title }).click();
}

async function shareWith(page: Page, name: string): Promise<void> {
  await page.getByRole('button', { name: 'Share' }).click();
  await page.getByLabel('User name').fill(name);
  await page.getByRole('dialog').getByRole('button', { name: 'Share', exact: true }).click();
}

const accountOf = (page: Page, name: string) => page.getByRole('button', { name: `Account: ${name}` });

/** Of the only account of the browser. */
async function signOut(page: Page, name: string): Promise<void> {
  await accountOf(page, name).click();
  await page.getByRole('button', { name: 'Sign out' }).click();
}

/** Signs in with one more account, beside those that are signed in. */
async function addAccount(page: Page, how: 'Sign in' | 'Sign up', from: string, name: string): Promise<void> {
  // Firefox gives the focus to the tab in front alone.
  await page.bringToFront();
  await accountOf(page, from).click();
  await page.getByRole('button', { name: 'Add account' }).click();
  await expect(page.getByLabel('Name', { exact: true })).toBeFocused();
  await enter(page, how, name);
  await expect(accountOf(page, name)).toBeVisible();
}

async function switchTo(page: Page, from: string, to: string): Promise<void> {
  await accountOf(page, from).click();
  await page.getByRole('group', { name: 'Accounts' }).getByRole('button', { name: to, exact: true }).click();
  await expect(accountOf(page, to)).toBeVisible();
}

/** Fails when something of a user is anywhere in the page, shown or not, once the page shows it no more. */
async function hasNothingOf(page: Page, words: RegExp): Promise<void> {
  await expect(textOf(page)).toHaveValue('');
  const held = await page.evaluate(() => {
    const fields = [...document.querySelectorAll('input, textarea')] as (
      HTMLInputElement | HTMLTextAreaElement
    )[];
    return [document.body.outerHTML, document.title, location.href, ...fields.map(({ value }) => value)].join(
      '\n',
    );
  });
  expect(held).not.toMatch(words);
}

test('what one device writes stands on the other at once, and in every tab', async ({
  browser,
  context,
  wire,
}) => {
  const laptop = await tabOf(context, wire.url, 'Sign up', 'ada');
  const phone = await browser.newContext();
  const mobile = await tabOf(phone, wire.url, 'Sign in', 'Ada');
  await expect(laptop.locator('#news')).toContainText('another device');

  await addNote(laptop, 'Trip', 'Train at 7:42');
  await expect(titlesOf(mobile)).toHaveText(['Trip']);
  await openNote(mobile, 'Trip');
  await expect(textOf(mobile)).toHaveValue('Train at 7:42');
  await textOf(mobile).fill('Train at 8:42');
  await expect(textOf(laptop)).toHaveValue('Train at 8:42');

  // A second tab of the laptop is signed in already, and opens the note by its address.
  const second = await context.newPage();
  await second.goto(laptop.url());
  await expect(textOf(second)).toHaveValue('Train at 8:42');

  await mobile.getByRole('button', { name: 'Delete' }).click();
  await mobile.getByRole('dialog').getByRole('button', { name: 'Delete' }).click();
  for (const page of [laptop, second, mobile]) await expect(titlesOf(page)).toHaveCount(0);
  await phone.close();
});

test('what was written without a server is there once when page, browser and server have been away', async ({
  profiles,
  server,
  wire,
}) => {
  const profile = await profiles.create();
  const before = await profiles.open(profile);
  const first = await tabOf(before, wire.url, 'Sign up', 'ada');
  await addNote(first, 'Trip', 'Train');
  await isSaved(first);
  await server.kill();
  await waitForState(first, 'waiting');
  await textOf(first).fill('Train at 7');
  await expect(statusOf(first)).toHaveText(/, 1 change waiting$/);
  await textOf(first).fill('Train at 7:42');
  await expect(statusOf(first)).toHaveText(/, 2 changes waiting$/);
  await addNote(first, 'Books', 'To return');
  await expect(statusOf(first)).toHaveText(/, [34] changes waiting$/);
  await first.close();
  await before.close();
  await server.start();

  const after = await profiles.open(profile);
  const second = await openNotebook(after, wire.url);
  await expect(titlesOf(second)).toHaveText(['Books', 'Trip']);
  await openNote(second, 'Trip');
  await expect(textOf(second)).toHaveValue('Train at 7:42');
  await second.reload();
  await isSaved(second);
  await expect(titlesOf(second)).toHaveText(['Books', 'Trip']);
  await after.close();
});

test('a page that stays open goes on by itself, and what two wrote at once stands side by side', async ({
  browser,
  context,
  server,
  wire,
}) => {
  const laptop = await tabOf(context, wire.url, 'Sign up', 'ada');
  await addNote(laptop, 'Trip', 'Train');
  await isSaved(laptop);
  const phone = await browser.newContext();
  // Not by the wire, which is to be cut.
  const mobile = await tabOf(phone, server.url, 'Sign in', 'ada');
  await openNote(mobile, 'Trip');

  wire.mode = 'refuse';
  wire.cut();
  await waitForState(laptop, 'waiting');
  await textOf(laptop).fill('Train of the laptop');
  await expect(statusOf(laptop)).toHaveText(/, 1 change waiting$/);
  await textOf(mobile).fill('Train of the phone');
  await isSaved(mobile);
  wire.mode = 'pass';
  await isSaved(laptop);

  // What came second has become a note of its own, and whoever wrote it is still in it.
  await expect(textOf(laptop)).toHaveValue('Train of the laptop');
  await expect(laptop.locator('#conflict')).toContainText('both texts are kept');
  await expect(mobile.locator('#conflict')).toContainText('edited in two places at once');
  for (const page of [laptop, mobile]) await expect(titlesOf(page)).toHaveText(['Trip', 'Trip']);
  await textOf(laptop).fill('Train of the laptop, at 7:42');
  await isSaved(laptop);
  await mobile.getByRole('link', { name: 'Open the other one' }).click();
  await expect(textOf(mobile)).toHaveValue('Train of the laptop, at 7:42');
  await laptop.getByRole('link', { name: 'Open the other one' }).click();
  await expect(textOf(laptop)).toHaveValue('Train of the phone');
  await phone.close();
});

test('two users share a note, until it is taken back', async ({ browser, context, wire }) => {
  const ada = await tabOf(context, wire.url, 'Sign up', 'ada');
  const other = await browser.newContext();
  const grace = await tabOf(other, wire.url, 'Sign up', 'grace');
  await addNote(ada, 'Secret', 'mine');
  await addNote(ada, 'Trip', 'Train');
  await isSaved(ada);
  await shareWith(ada, 'nobody');
  await expect(ada.getByRole('alert')).toHaveText('There is no user nobody.');
  await ada.getByLabel('User name').fill('Grace');
  await ada.keyboard.press('Enter');
  await expect(ada.locator('#sharing-people li')).toHaveText([/grace/]);
  await ada.keyboard.press('Escape');

  await expect(titlesOf(grace)).toHaveText(['Trip']);
  await openNote(grace, 'Trip');
  await textOf(grace).fill('Train, and the map');
  await expect(textOf(ada)).toHaveValue('Train, and the map');
  await expect(ada.locator('#people')).toHaveText(/With grace\. Last edited by grace\.$/);

  await ada.getByRole('button', { name: 'Share' }).click();
  await ada.getByRole('button', { name: 'Remove grace' }).click();
  await expect(titlesOf(grace)).toHaveCount(0);
  await expect(textOf(grace)).toBeHidden();
  await other.close();
});

test('after signing out nothing of the user is left in any tab, and the next one sees only his own', async ({
  context,
  wire,
}) => {
  const page = await tabOf(context, wire.url, 'Sign up', 'ada');
  const other = await openNotebook(context, wire.url);
  await addNote(page, 'Secret of ada', 'words of ada');
  await expect(titlesOf(other)).toHaveText(['Secret of ada']);
  // Not yet sent when the user signs out.
  await textOf(page).fill('last words of ada');
  await signOut(page, 'ada');
  for (const tab of [page, other]) {
    await expect(formOf(tab)).toBeVisible();
    await hasNothingOf(tab, /of ada/);
  }

  await enter(other, 'Sign in', 'ada', 'wrong horse');
  await expect(other.getByRole('alert')).toHaveText('Name or password is wrong.');
  await enter(other, 'Sign up', 'grace');
  for (const tab of [page, other]) {
    await expect(accountOf(tab, 'grace')).toBeVisible();
    await expect(titlesOf(tab)).toHaveCount(0);
  }
  await signOut(page, 'grace');
  await enter(page, 'Sign in', 'ada');
  await openNote(page, 'Secret of ada');
  await expect(textOf(page)).toHaveValue('last words of ada');
});

test('one click switches accounts in every tab, and leaves nothing of the other one', async ({
  context,
  wire,
}) => {
  const page = await tabOf(context, wire.url, 'Sign up', 'ada');
  const other = await openNotebook(context, wire.url);
  await addNote(page, 'Secret of ada', 'words of ada');
  await isSaved(page);
  await openNote(other, 'Secret of ada');
  // In one of them the other is in the middle of something.
  await other.getByRole('button', { name: 'Delete' }).click();
  await addAccount(page, 'Sign up', 'ada', 'grace');
  await addNote(page, 'Plan of grace', 'words of grace');
  await isSaved(page);
  for (const tab of [page, other]) {
    await expect(titlesOf(tab)).toHaveText(['Plan of grace']);
    await expect(tab.getByRole('dialog')).toHaveCount(0);
  }
  await hasNothingOf(other, /of ada/);

  // Not yet sent when the user switches.
  await textOf(page).fill('last words of grace');
  await addAccount(page, 'Sign up', 'grace', 'alan');
  await hasNothingOf(page, /of (ada|grace)/);
  await switchTo(page, 'alan', 'ada');
  for (const tab of [page, other]) {
    await expect(titlesOf(tab)).toHaveText(['Secret of ada']);
    await hasNothingOf(tab, /of grace/);
  }
  await switchTo(other, 'ada', 'grace');
  await openNote(page, 'Plan of grace');
  await expect(textOf(page)).toHaveValue('last words of grace');
  await hasNothingOf(other, /of ada/);
  expect(new Set(await Promise.all([page, other].map((tab) => tab.locator('#news').textContent())))).toEqual(
    new Set(['']),
  );
});

test('what was not kept is there again when its account is, and goes on', async ({ context, wire }) => {
  const page = await tabOf(context, wire.url, 'Sign up', 'ada');
  const isRefused = () =>
    expect(page.locator('#editor-problem')).toHaveText('Not kept: The storage is full.');
  const storeAgain = await failToStore(page);
  await addNote(page, 'Heading of ada', 'words of ada');
  await isRefused();
  await addAccount(page, 'Sign up', 'ada', 'grace');
  await hasNothingOf(page, /of ada/);
  await switchTo(page, 'grace', 'ada');
  await openNote(page, 'Heading of ada');
  await expect(titleOf(page)).toHaveValue('Heading of ada');
  await expect(textOf(page)).toHaveValue('words of ada');
  await isRefused();
  await storeAgain();
  await textOf(page).fill('more words of ada');
  await isSaved(page);

  // Whoever signs out leaves nothing, whatever was not kept.
  await failToStore(page);
  await addNote(page, 'Last heading of ada', 'last words of ada');
  await isRefused();
  await accountOf(page, 'ada').click();
  await page.getByRole('button', { name: 'Options for ada' }).click();
  await page.getByRole('button', { name: 'Sign out', exact: true }).click();
  await enter(page, 'Sign in', 'ada');
  await expect(titlesOf(page)).toHaveText(['Heading of ada']);
  await openNote(page, 'Heading of ada');
  await expect(textOf(page)).toHaveValue('more words of ada');
});

test('what is not yet sent when another tab switches arrives for whom it was written', async ({
  context,
  wire,
}) => {
  const page = await tabOf(context, wire.url, 'Sign up', 'grace');
  await addAccount(page, 'Sign up', 'grace', 'ada');
  const kept = await openNotebook(context, wire.url);
  await accountOf(kept, 'ada').click();
  await kept.getByRole('button', { name: 'Options for ada' }).click();
  await kept.getByRole('button', { name: 'Use in this tab only' }).click();
  await addNote(page, 'Heading of ada', 'words of ada');
  await isSaved(page);
  await openNote(kept, 'Heading of ada');
  // No pause after the last key, and no field that is left.
  const switched = await page.evaluate(async () => {
    const address: string = '/.well-known/webgram/identities.js';
    const { Identities } = (await import(address)) as typeof import('webgram-sessions/identities');
    const identities = new Identities(webgram.client!);
    const grace = (await identities.list()).find(({ account }) => account === 'grace')!;
    const field = document.querySelector<HTMLTextAreaElement>('#text')!;
    field.value = 'last words of ada';
    field.dispatchEvent(new Event('input', { bubbles: true }));
    await identities.switchTo(grace.id);
    return webgram.client!.identity?.account;
  });
  expect(switched).toBe('grace');
  await expect(textOf(kept)).toHaveValue('last words of ada');
  await expect(titlesOf(page)).toHaveCount(0);
  await hasNothingOf(page, /of ada/);
  await switchTo(page, 'grace', 'ada');
  await expect(titlesOf(page)).toHaveText(['Heading of ada']);
  await openNote(page, 'Heading of ada');
  await expect(textOf(page)).toHaveValue('last words of ada');
  await isSaved(page);
});

test('two tabs have an account each at once, also after a reload, until that one is signed out', async ({
  context,
  wire,
}) => {
  const left = await tabOf(context, wire.url, 'Sign up', 'ada');
  await addNote(left, 'Secret of ada', 'words of ada');
  await isSaved(left);
  await addAccount(left, 'Sign up', 'ada', 'grace');
  const right = await openNotebook(context, wire.url);
  await accountOf(right, 'grace').click();
  await right.getByRole('button', { name: 'Options for ada' }).click();
  await right.getByRole('button', { name: 'Use in this tab only' }).click();
  await expect(accountOf(right, 'ada')).toBeVisible();
  await right.keyboard.press('Escape');
  await right.reload();

  await addNote(left, 'Plan of grace', 'words of grace');
  await isSaved(left);
  await openNote(right, 'Secret of ada');
  await textOf(right).fill('more words of ada');
  await isSaved(right);
  await expect(titlesOf(left)).toHaveText(['Plan of grace']);
  await expect(titlesOf(right)).toHaveText(['Secret of ada']);

  await accountOf(left, 'grace').click();
  await left.getByRole('button', { name: 'Options for ada' }).click();
  await left.getByRole('button', { name: 'Sign out', exact: true }).click();
  await expect(right.locator('#ended-why')).toHaveText('The account that this tab was for was signed out.');
  await hasNothingOf(right, /of ada/);
  await right.getByRole('button', { name: 'Begin again' }).click();
  await expect(titlesOf(right)).toHaveText(['Plan of grace']);
});

test('the page of devices names them, renames one, and signs one out', async ({ browser, context, wire }) => {
  const laptop = await tabOf(context, wire.url, 'Sign up', 'ada');
  const phone = await browser.newContext();
  const mobile = await tabOf(phone, wire.url, 'Sign in', 'ada');
  await mobile.getByRole('link', { name: 'Devices' }).click();
  const devices = mobile.locator('webgram-devices li');
  await expect(devices).toHaveCount(2);
  await expect(devices.first()).toContainText('This device');
  await devices.nth(1).getByRole('button', { name: 'Rename' }).click();
  await devices.nth(1).getByRole('textbox').fill('Laptop');
  await mobile.keyboard.press('Enter');
  await expect(devices.nth(1)).toContainText('Laptop');
  await mobile.getByRole('button', { name: 'Sign out Laptop' }).click();
  await mobile.getByRole('dialog').getByRole('button', { name: 'Sign out' }).click();
  await expect(devices).toHaveCount(1);
  await expect(laptop.locator('#ended-why')).toHaveText('This browser was signed out from another device.');
  await laptop.getByRole('button', { name: 'Begin again' }).click();
  await expect(formOf(laptop)).toBeVisible();
  await phone.close();
});

test('works by keyboard alone', async ({ context, wire }) => {
  const page = await openNotebook(context, wire.url);
  await expect(page.getByLabel('Name', { exact: true })).toBeVisible();
  await page.getByLabel('Name', { exact: true }).focus();
  await page.keyboard.type('ada');
  await page.keyboard.press('Tab');
  await page.keyboard.type(PASSWORD);
  for (const key of ['Tab', 'Tab', 'Enter']) await page.keyboard.press(key);
  await page.getByRole('button', { name: 'New note' }).focus();
  await page.keyboard.press('Enter');
  await expect(titleOf(page)).toBeFocused();
  await page.keyboard.type('Trip');
  await page.keyboard.press('Enter');
  await expect(textOf(page)).toBeFocused();
  await page.keyboard.type('Train');
  await isSaved(page);
  await accountOf(page, 'ada').focus();
  await page.keyboard.press('ArrowDown');
  await expect(page.getByRole('button', { name: 'ada', exact: true })).toBeFocused();
  await page.keyboard.press('Escape');
  await expect(page.getByRole('group', { name: 'Accounts' })).toBeHidden();
  await expect(accountOf(page, 'ada')).toBeFocused();
});

for (const colorScheme of ['light', 'dark'] as const) {
  test(`has nothing that axe finds wrong, in ${colorScheme}`, async ({ browser, context, wire }) => {
    const other = await browser.newContext();
    await tabOf(other, wire.url, 'Sign up', 'grace');
    const page = await openNotebook(context, wire.url);
    await page.emulateMedia({ colorScheme, reducedMotion: 'reduce' });
    const look = async () => {
      for (const width of [1280, 320]) {
        await page.setViewportSize({ width, height: 800 });
        expect(await axe(page)).toEqual([]);
        const { scrollWidth, clientWidth } = await widthsOf(page);
        expect(scrollWidth).toBe(clientWidth);
      }
      await page.setViewportSize({ width: 1280, height: 800 });
    };
    await enter(page, 'Sign in', 'ada');
    await expect(page.getByRole('alert')).not.toBeEmpty();
    await look();
    await enter(page, 'Sign up', 'ada');
    await addNote(page, 'Trip', 'Train');
    await isSaved(page);
    await shareWith(page, 'grace');
    await expect(page.locator('#sharing-people li')).toHaveCount(1);
    await look();
    await page.keyboard.press('Escape');
    await look();
    await accountOf(page, 'ada').click();
    await look();
    await page.keyboard.press('Escape');
    await page.getByRole('link', { name: 'Devices' }).click();
    await expect(page.locator('webgram-devices li')).toHaveCount(1);
    await look();
    await page.goBack();
    wire.mode = 'refuse';
    wire.cut();
    await waitForState(page, 'waiting');
    await textOf(page).fill('Train at 7:42');
    await expect(statusOf(page)).toHaveText(/waiting$/);
    await look();
    await other.close();
  });
}

test('what a newcomer is shown first leads to both examples', async ({ page, wire }) => {
  await page.goto(wire.url);
  expect(await axe(page)).toEqual([]);
  await page.getByRole('link', { name: 'Plus one' }).click();
  await expect(page.locator('#session')).toHaveText('No. 1');
  await page.goto(wire.url);
  await page.getByRole('link', { name: 'Notebook' }).click();
  await expect(formOf(page)).toBeVisible();
});

import { WebgramError } from 'webgram';
import { beforeEach, describe, expect, test } from 'vitest';
import { page, userEvent } from 'vitest/browser';
import './accounts-define.ts';
import type { AccountsElement } from './accounts.ts';
import {
  LOOKS,
  emulate,
  fits,
  focused,
  heard,
  show,
  smallTargets,
  status,
  violations,
} from './testing/page.ts';
import { TestClient } from './testing/test-client.ts';
import { TestIdentities, type Given } from './testing/test-identities.ts';

const ALICE: Given = { id: 'a', account: 'alice@example.org', label: 'Alice Meyer' };
const BOB: Given = { id: 'b', account: 'bob@example.org', label: 'Bob Baker' };
const CAROL: Given = { id: 'c', account: 'carol@example.org' };

const panel = page.getByRole('group', { name: 'Accounts' });
const trigger = page.getByRole('button', { name: /^Account: / });
const command = (name: string | RegExp) => panel.getByRole('button', { name });
const row = (name: string) =>
  page.getByRole('listitem').getByRole('button', { name: new RegExp(`^(?!Options).*${name}`) });
const dialog = page.getByRole('dialog');
const fault = () => new WebgramError('WEBGRAM_STORAGE_FAILED', 'the disk is full');

function open(given: Given[]): { element: AccountsElement; client: TestClient; identities: TestIdentities } {
  const client = new TestClient();
  const identities = new TestIdentities(given);
  return { element: show<AccountsElement>('webgram-accounts', { client, identities }), client, identities };
}

/** Unfolds what can be done with an account. */
async function unfold(name: string): Promise<void> {
  await userEvent.click(trigger);
  await userEvent.click(panel.getByRole('button', { name: `Options for ${name}` }));
}

beforeEach(() => emulate({}));

describe('the button', () => {
  test('shows the initials of the account of this tab, and says its name', async () => {
    open([ALICE, BOB]);
    await expect.element(trigger).toHaveAccessibleName('Account: Alice Meyer');
    await expect.element(trigger).toHaveTextContent('AM');
    await expect.element(trigger).toHaveAttribute('aria-expanded', 'false');
    await expect.element(panel).not.toBeInTheDocument();
  });

  test('opens and closes the panel by pointer', async () => {
    open([ALICE]);
    await userEvent.click(trigger);
    await expect.element(panel).toBeVisible();
    await expect.element(trigger).toHaveAttribute('aria-expanded', 'true');
    await userEvent.click(trigger);
    await expect.element(panel).not.toBeInTheDocument();
    await userEvent.click(trigger);
    await userEvent.click(page.getByRole('heading'));
    await expect.element(panel).not.toBeInTheDocument();
    await expect.element(trigger).toHaveAttribute('aria-expanded', 'false');
  });

  test('opens by Enter with the focus on it, from where Tab leads into the panel; Escape leads back', async () => {
    const { element } = open([ALICE]);
    await expect.element(trigger).toBeVisible();
    element.focus();
    await userEvent.keyboard('{Enter}');
    await expect.element(panel).toBeVisible();
    expect(focused(element)).toBe('Account: Alice Meyer');
    await userEvent.keyboard('{Tab}');
    expect(focused(element)).toContain('alice@example.org');
    await userEvent.keyboard('{Escape}');
    await expect.element(panel).not.toBeInTheDocument();
    expect(focused(element)).toBe('Account: Alice Meyer');
  });

  test('shows the picture, and the initials where there is none to be had', async () => {
    const { element, identities } = open([{ ...ALICE, picture: 'data:image/gif;base64,broken' }]);
    await expect.element(trigger).toBeVisible();
    const img = () => element.shadowRoot!.querySelector<HTMLImageElement>('#button img')!;
    await expect.poll(() => img().hidden).toBe(true);
    const picture = 'data:image/svg+xml,<svg xmlns="http://www.w3.org/2000/svg" width="1" height="1"/>';
    identities.change('a', { picture });
    await expect.poll(() => img().hidden).toBe(false);
    expect(img().src).toBe(picture);
  });
});

describe('the keyboard', () => {
  test('goes up and down through accounts and commands, and round', async () => {
    const { element } = open([ALICE, BOB]);
    await expect.element(trigger).toBeVisible();
    element.focus();
    const order = [];
    for (const key of [
      'ArrowDown',
      'ArrowDown',
      'ArrowDown',
      'ArrowUp',
      'End',
      'ArrowDown',
      'ArrowUp',
      'Home',
    ]) {
      await userEvent.keyboard(`{${key}}`);
      order.push(focused(element));
    }
    expect(order).toEqual([
      'Alice Meyer alice@example.org',
      'Bob Baker bob@example.org',
      'Add account',
      'Bob Baker bob@example.org',
      'Sign out of all accounts',
      'Alice Meyer alice@example.org',
      'Sign out of all accounts',
      'Alice Meyer alice@example.org',
    ]);
  });

  test('goes on from a button beside a row as from the row', async () => {
    const { element } = open([ALICE, BOB]);
    await expect.element(trigger).toBeVisible();
    element.focus();
    await userEvent.keyboard('{ArrowDown}{Tab}');
    expect(focused(element)).toBe('Options for Alice Meyer');
    await userEvent.keyboard('{ArrowDown}');
    expect(focused(element)).toContain('Bob Baker');
  });

  test('moves inside the field for a name, and nowhere else', async () => {
    const { element } = open([ALICE, BOB]);
    await unfold('Bob Baker');
    await userEvent.click(command('Rename'));
    await userEvent.keyboard('{End}{Home}{ArrowDown}');
    expect(element.shadowRoot!.activeElement?.tagName).toBe('INPUT');
  });
});

describe('switching', () => {
  test('closes the panel, tells the page and a screen reader', async () => {
    const { element, identities } = open([ALICE, BOB]);
    const switched = heard('webgram-switched');
    await expect.element(trigger).toBeVisible();
    element.focus();
    await userEvent.keyboard('{ArrowDown}{ArrowDown}{Enter}');
    await expect.element(panel).not.toBeInTheDocument();
    expect(identities.calls).toContainEqual(['switchTo', 'b']);
    await expect.element(trigger).toHaveAccessibleName('Account: Bob Baker');
    expect(switched.map(({ detail }) => detail.identity.id)).toEqual(['b']);
    await expect.element(status()).toHaveTextContent('This is Bob Baker now.');
    expect(focused(element)).toBe('Account: Bob Baker');
  });

  test('to the account of this tab only closes the panel', async () => {
    const { identities } = open([ALICE, BOB]);
    await userEvent.click(trigger);
    await expect.element(row('Alice Meyer')).toHaveAttribute('aria-current', 'true');
    await userEvent.click(row('alice@'));
    await expect.element(panel).not.toBeInTheDocument();
    expect(identities.calls).toEqual([]);
  });

  test('is one thing at a time', async () => {
    const { identities } = open([ALICE, BOB, CAROL]);
    await userEvent.click(trigger);
    const go = identities.gate.close();
    await userEvent.click(row('bob@'));
    await expect.element(row('carol@')).toHaveAttribute('aria-disabled', 'true');
    await expect.element(panel).toHaveAttribute('aria-busy', 'true');
    // Playwright would wait until it is enabled.
    await userEvent.click(row('carol@'), { force: true });
    go();
    await expect.element(trigger).toHaveAccessibleName('Account: Bob Baker');
    expect(identities.calls).toEqual([['switchTo', 'b']]);
  });

  test('that fails says so with the code, and can be tried again', async () => {
    const { identities } = open([ALICE, BOB]);
    const switched = heard('webgram-switched');
    await userEvent.click(trigger);
    identities.fault = fault();
    await userEvent.click(row('bob@'));
    const alert = panel.getByRole('alert');
    await expect
      .element(alert)
      .toHaveTextContent('The storage of this browser failed. WEBGRAM_STORAGE_FAILED');
    expect(switched).toEqual([]);
    await userEvent.click(command('Dismiss'));
    await expect.element(alert).not.toHaveTextContent('WEBGRAM');
    await userEvent.click(row('bob@'));
    await expect.element(trigger).toHaveAccessibleName('Account: Bob Baker');
  });

  test('in another tab shows here', async () => {
    const { identities } = open([ALICE, BOB]);
    await expect.element(trigger).toHaveAccessibleName('Account: Alice Meyer');
    identities.change('a', { name: 'Boss' });
    await expect.element(trigger).toHaveAccessibleName('Account: Boss');
  });
});

describe('signing in', () => {
  test('is all that the button does where there is no account', async () => {
    const { identities } = open([{ id: 'x' }]);
    const added = heard('webgram-add');
    const button = page.getByRole('button', { name: 'Sign in' });
    await expect.element(button).not.toHaveAttribute('aria-expanded');
    await userEvent.click(button);
    await expect.poll(() => added.map(({ detail }) => detail.identity.id)).toEqual(['x']);
    expect(identities.calls).toEqual([['add']]);
    await expect.element(panel).not.toBeInTheDocument();
  });

  test('that fails opens the panel to say so', async () => {
    const { identities } = open([{ id: 'x' }]);
    const added = heard('webgram-add');
    const button = page.getByRole('button', { name: 'Sign in' });
    await expect.element(button).toBeVisible();
    identities.fault = fault();
    await userEvent.click(button);
    await expect.element(panel.getByRole('alert')).toHaveTextContent('WEBGRAM_STORAGE_FAILED');
    expect(added).toEqual([]);
  });

  test('with another account adds an identity, closes the panel and tells the page', async () => {
    const { element } = open([ALICE]);
    const added = heard('webgram-add');
    await userEvent.click(trigger);
    await userEvent.click(command('Add account'));
    await expect.element(panel).not.toBeInTheDocument();
    expect(added.map(({ detail }) => detail.identity.account)).toEqual([undefined]);
    const button = page.getByRole('button', { name: 'Sign in' });
    await userEvent.click(button);
    // There is somebody to go back to.
    await expect.element(row('alice@')).toBeVisible();
    await expect.element(command('Sign in')).toBeVisible();
    expect(element.shadowRoot!.querySelectorAll('li')).toHaveLength(2);
  });
});

describe('renaming', () => {
  test('is by Enter, and the focus stays where it was', async () => {
    const { element, identities } = open([ALICE, BOB]);
    await unfold('Bob Baker');
    await userEvent.click(command('Rename'));
    const field = page.getByRole('textbox', { name: 'Name in this browser' });
    await expect.poll(() => element.shadowRoot!.activeElement).toBe(field.element());
    await userEvent.keyboard(' Work {Enter}');
    await expect.element(row('Work')).toBeVisible();
    expect(identities.calls).toContainEqual(['rename', 'b', 'Work']);
    await expect.element(status()).toHaveTextContent('Renamed to Work.');
    expect(focused(element)).toBe('Rename');
  });

  test('is left by Escape, which leaves the panel open, and by Cancel', async () => {
    const { element, identities } = open([ALICE, BOB]);
    await unfold('Bob Baker');
    await userEvent.click(command('Rename'));
    await userEvent.keyboard('Work{Escape}');
    await expect.poll(() => focused(element)).toBe('Rename');
    await userEvent.click(command('Rename'));
    await userEvent.click(command('Cancel'));
    await expect.element(panel).toBeVisible();
    expect(focused(element)).toBe('Rename');
    expect(identities.calls).toEqual([]);
  });

  test('to nothing takes the name away', async () => {
    const { identities } = open([{ ...ALICE, name: 'Boss' }]);
    await unfold('Boss');
    await userEvent.click(command('Rename'));
    await userEvent.keyboard('{Delete}{Enter}');
    await expect.element(trigger).toHaveAccessibleName('Account: Alice Meyer');
    expect(identities.calls).toContainEqual(['rename', 'a', '']);
    await expect.element(status()).toHaveTextContent('Renamed to Alice Meyer.');
  });

  test('that fails keeps what was typed', async () => {
    const { identities } = open([ALICE]);
    await unfold('Alice Meyer');
    await userEvent.click(command('Rename'));
    identities.fault = new WebgramError('WEBGRAM_BAD_REQUEST', 'too long');
    await userEvent.keyboard('Boss{Enter}');
    await expect
      .element(panel.getByRole('alert'))
      .toHaveTextContent('at most 64 characters. WEBGRAM_BAD_REQUEST');
    await expect.element(page.getByRole('textbox')).toHaveValue('Boss');
  });
});

describe('a tab of its own', () => {
  test('keeps the account of this tab, and lets it go again', async () => {
    const { identities } = open([ALICE, BOB]);
    const switched = heard('webgram-switched');
    await unfold('Alice Meyer');
    const pin = command('Use in this tab only');
    await expect.element(pin).toHaveAttribute('aria-pressed', 'false');
    await userEvent.click(pin);
    await expect.element(pin).toHaveAttribute('aria-pressed', 'true');
    await expect.element(row('Only in this tab')).toBeVisible();
    await expect.element(status()).toHaveTextContent('This tab stays with Alice Meyer.');
    await userEvent.click(pin);
    await expect.element(pin).toHaveAttribute('aria-pressed', 'false');
    expect(identities.calls).toEqual([
      ['pin', 'a'],
      ['pin', undefined],
    ]);
    expect(switched).toEqual([]);
  });

  test('shows, whatever the page has pinned it by, and goes back to the others', async () => {
    const { element, identities } = open([BOB, ALICE]);
    await identities.pin('a');
    identities.pinned = 'alice@example.org';
    element.identities = identities;
    await unfold('Alice Meyer');
    await expect.element(row('Only in this tab')).toBeVisible();
    await userEvent.click(command('Use in this tab only'));
    await expect.element(trigger).toHaveAccessibleName('Account: Bob Baker');
    expect(identities.calls.at(-1)).toEqual(['pin', undefined]);
  });

  test('can be another account, and tells the page of the switch there and back', async () => {
    open([ALICE, BOB]);
    const switched = heard('webgram-switched');
    await unfold('Bob Baker');
    await userEvent.click(command('Use in this tab only'));
    await expect.element(trigger).toHaveAccessibleName('Account: Bob Baker');
    await expect.element(row('alice@example.org In the other tabs')).toBeVisible();
    await userEvent.click(command('Use in this tab only'));
    await expect.element(trigger).toHaveAccessibleName('Account: Alice Meyer');
    expect(switched.map(({ detail }) => detail.identity.id)).toEqual(['b', 'a']);
  });
});

describe('signing out', () => {
  test('of another account hands the focus to what stands in its place', async () => {
    const { element, identities } = open([ALICE, BOB, CAROL]);
    const signedOut = heard('webgram-signed-out');
    await unfold('Bob Baker');
    await userEvent.click(command('Sign out').first());
    await expect.element(row('bob@')).not.toBeInTheDocument();
    expect(identities.calls).toContainEqual(['signOut', 'b']);
    expect(focused(element)).toContain('carol@example.org');
    await expect.element(status()).toHaveTextContent('Signed out of Bob Baker.');
    expect(signedOut.map(({ detail }) => detail.identities.map(({ id }) => id))).toEqual([['b']]);
  });

  test('of the only account is a command of its own, after which there is only signing in', async () => {
    const { element } = open([ALICE]);
    await userEvent.click(trigger);
    await userEvent.click(command('Sign out'));
    await expect.poll(() => focused(element)).toBe('Sign in');
    await expect.element(panel).not.toBeInTheDocument();
    expect(element.shadowRoot!.activeElement?.id).toBe('button');
  });

  test('without the server says when that will know', async () => {
    const { client } = open([ALICE, BOB]);
    client.become({ name: 'waiting', retryAtMs: 0, reason: 'lost' });
    await userEvent.click(
      page.getByRole('button', { name: 'Account: Alice Meyer The server cannot be reached.' }),
    );
    await userEvent.click(panel.getByRole('button', { name: 'Options for Bob Baker' }));
    await userEvent.click(command('Sign out').first());
    await expect.element(status()).toHaveTextContent('as soon as it can be reached');
  });

  test('of all is asked before, and not done unless it is wanted', async () => {
    const { element, identities } = open([ALICE, BOB]);
    const signedOut = heard('webgram-signed-out');
    for (const answer of ['{Escape}', '{Enter}']) {
      await userEvent.click(trigger);
      await userEvent.click(command('Sign out of all accounts'));
      await expect.element(dialog).toHaveAccessibleName('Sign out of all accounts?');
      await expect.element(dialog).toHaveAccessibleDescription(/signed out of all 2 accounts/);
      await expect.poll(() => focused(element)).toBe('Cancel');
      await userEvent.keyboard(answer);
      await expect.element(dialog).not.toBeInTheDocument();
      expect(focused(element)).toBe('Account: Alice Meyer');
    }
    expect(identities.calls).toEqual([]);
    await userEvent.click(trigger);
    await userEvent.click(command('Sign out of all accounts'));
    await userEvent.click(dialog.getByRole('button', { name: 'Sign out' }));
    await expect.poll(() => focused(element)).toBe('Sign in');
    expect(identities.calls).toEqual([['signOutAll']]);
    expect(signedOut.map(({ detail }) => detail.identities.map(({ id }) => id))).toEqual([['a', 'b']]);
  });

  test('of all that fails opens the panel again to say so', async () => {
    const { identities } = open([ALICE, BOB]);
    await userEvent.click(trigger);
    await userEvent.click(command('Sign out of all accounts'));
    identities.fault = fault();
    await userEvent.click(dialog.getByRole('button', { name: 'Sign out' }));
    await expect.element(panel.getByRole('alert')).toHaveTextContent('WEBGRAM_STORAGE_FAILED');
  });

  test('is not done when the element goes while it asks', async () => {
    const { element, identities } = open([ALICE, BOB]);
    await userEvent.click(trigger);
    await userEvent.click(command('Sign out of all accounts'));
    await expect.element(dialog).toBeVisible();
    const closed = new Promise((resolve) =>
      element.shadowRoot!.querySelector('dialog')!.addEventListener('close', resolve),
    );
    element.remove();
    await closed;
    expect(identities.calls).toEqual([]);
  });
});

describe('what it shows', () => {
  test('is the trouble of the client, until that is over', async () => {
    const { client } = open([ALICE]);
    await userEvent.click(trigger);
    client.become({ name: 'denied', reason: 'revoked' });
    await expect.element(panel.getByText('The server has ended this session.')).toBeVisible();
    client.become({ name: 'closed', code: 'WEBGRAM_NO_HOST', reason: 'no' });
    await expect.element(panel.getByText('Not connected (WEBGRAM_NO_HOST).')).toBeVisible();
    client.become({ name: 'active' });
    await expect.element(trigger).toHaveAccessibleName('Account: Alice Meyer');
  });

  test('is why there is no list, with another try', async () => {
    const identities = new TestIdentities([ALICE]);
    identities.fault = fault();
    show<AccountsElement>('webgram-accounts', { client: new TestClient(), identities });
    await userEvent.click(trigger);
    await expect.element(panel.getByRole('alert')).toHaveTextContent('WEBGRAM_STORAGE_FAILED');
    await userEvent.click(command('Try again'));
    await expect.element(row('alice@')).toBeVisible();
    await expect.element(panel.getByRole('alert')).not.toHaveTextContent('WEBGRAM');
  });

  test('is the newer list when the first comes late', async () => {
    const identities = new TestIdentities([ALICE]);
    const old = await identities.list();
    let answer: (entries: typeof old) => void = () => undefined;
    const late = new Promise<typeof old>((resolve) => (answer = resolve));
    identities.list = () => late;
    const element = show<AccountsElement>('webgram-accounts', { identities });
    await expect.poll(() => identities.listeners).toBe(1);
    identities.change('a', { name: 'Newer' });
    await expect.element(trigger).toHaveAccessibleName('Account: Newer');
    answer(old);
    await new Promise(requestAnimationFrame);
    expect(element.shadowRoot!.querySelector('#button')!.textContent).toContain('Newer');
  });

  test('ends when it is removed, and comes back with it', async () => {
    const { element, client, identities } = open([ALICE]);
    await expect.element(trigger).toBeVisible();
    const parent = element.parentElement!;
    element.remove();
    expect([client.listeners, identities.listeners]).toEqual([0, 0]);
    parent.append(element);
    await expect.poll(() => [client.listeners, identities.listeners]).toEqual([1, 1]);
    const other = new TestIdentities([BOB]);
    element.identities = other;
    await expect.element(trigger).toHaveAccessibleName('Account: Bob Baker');
    expect(identities.listeners).toBe(0);
  });

  test('is nothing before the page has it, and nothing that throws', () => {
    const element = document.createElement('webgram-accounts');
    element.show();
    element.hide();
    element.focus();
    expect(element.shadowRoot).toBeNull();
  });

  test('speaks the language of the page', async () => {
    const { element } = open([ALICE, BOB]);
    element.labels = {
      button: 'Konto: {name}',
      add: 'Konto hinzufügen',
      errors: { WEBGRAM_STORAGE_FAILED: 'Der Speicher ist voll.' },
    };
    const button = page.getByRole('button', { name: 'Konto: Alice Meyer' });
    await userEvent.click(button);
    await expect.element(command('Konto hinzufügen')).toBeVisible();
    // What is not translated stays as it is.
    await expect.element(command('Sign out of all accounts')).toBeVisible();
  });

  test('fits a window of 320 px with twelve accounts, and every target can be hit', async () => {
    await page.viewport(320, 480);
    const many = Array.from({ length: 12 }, (_, i) => ({
      id: String(i),
      account: `a-rather-long-account-name-${i}@department.university.example`,
    }));
    const { element } = open(many);
    await userEvent.click(trigger);
    await userEvent.click(panel.getByRole('button', { name: /^Options/ }).first());
    await expect.element(command('Rename')).toBeVisible();
    const { top, bottom, left, right } = (panel.element() as HTMLElement).getBoundingClientRect();
    expect(top).toBeGreaterThanOrEqual(0);
    expect(left).toBeGreaterThanOrEqual(0);
    expect(bottom).toBeLessThanOrEqual(480);
    expect(right).toBeLessThanOrEqual(320);
    expect(fits()).toBe(true);
    expect(smallTargets(element)).toEqual([]);
    const list = element.shadowRoot!.querySelector('ul')!;
    list.scrollTop = list.scrollHeight;
    expect(list.scrollTop).toBeGreaterThan(0);
    expect(list.scrollWidth).toBe(list.clientWidth);
    await page.viewport(414, 896);
  });
});

describe.each(LOOKS)('axe finds nothing, in %s,', (_name, media, dir) => {
  test('in any state', async () => {
    await emulate(media);
    document.documentElement.dir = dir;
    const { identities, client } = open([ALICE, { ...BOB, name: 'Work' }, CAROL, { id: 'x' }]);
    await expect.element(trigger).toBeVisible();
    expect(await violations()).toEqual([]);
    await unfold('Work');
    expect(await violations()).toEqual([]);
    await userEvent.click(command('Use in this tab only'));
    await userEvent.click(command('Rename'));
    identities.fault = fault();
    client.become({ name: 'waiting', retryAtMs: 0, reason: 'lost' });
    await userEvent.keyboard('{Enter}');
    await expect.element(panel.getByRole('alert')).toHaveTextContent('WEBGRAM');
    expect(await violations()).toEqual([]);
    await userEvent.click(command('Sign out of all accounts'));
    await expect.element(dialog).toBeVisible();
    expect(await violations()).toEqual([]);
    await userEvent.click(dialog.getByRole('button', { name: 'Sign out' }));
    const button = page.getByRole('button', { name: /^Sign in/ });
    await expect.element(button).toBeVisible();
    expect(await violations()).toEqual([]);
    document.documentElement.dir = 'ltr';
  });
});

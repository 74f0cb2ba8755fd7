import { AskError, WebgramError } from 'webgram';
import { beforeEach, describe, expect, onTestFinished, test } from 'vitest';
import { page, userEvent } from 'vitest/browser';
import './devices-define.ts';
import type { DevicesElement, DeviceSession } from './devices.ts';
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

const HOUR_MS = 3_600_000;

const items = page.getByRole('listitem');
const item = (name: string | RegExp) => items.filter({ hasText: name });
const button = (name: string | RegExp) => page.getByRole('button', { name });
const dialog = page.getByRole('dialog');
const alert = page.getByRole('alert');

function session(sessionID: number, more: Partial<DeviceSession> = {}): DeviceSession {
  return {
    sessionID,
    created: new Date(2026, 0, 15),
    lastUsed: new Date(Date.now() - sessionID * HOUR_MS),
    label: `Device ${sessionID}`,
    device: { name: `Device ${sessionID}`, browser: 'Firefox', platform: 'Linux' },
    isOnline: false,
    isCurrent: false,
    forked: false,
    ...more,
  };
}

/** Device 1 is an old one, 2 this one, 3 a phone that is online. */
function usual(): DeviceSession[] {
  const phone = { browser: 'Chrome', platform: 'Android', location: { city: 'Berlin', country: 'Germany' } };
  return [
    session(1, { lastUsed: new Date(Date.now() - 49 * HOUR_MS) }),
    session(2, { isCurrent: true, isOnline: true }),
    session(3, { isOnline: true, label: 'Chrome on Android', device: phone }),
  ];
}

function open(sessions = usual()): { element: DevicesElement; client: TestClient } {
  const client = new TestClient();
  client.sessions = sessions;
  return { element: show<DevicesElement>('webgram-devices', { client }), client };
}

/** Says yes to what is asked. */
async function agree(): Promise<void> {
  await userEvent.click(dialog.getByRole('button', { name: 'Sign out' }));
}

beforeEach(() => emulate({}));

describe('the list', () => {
  test('has this device first, then those that were used last', async () => {
    open();
    await expect.element(items.nth(0)).toHaveTextContent('Device 2 This device Active now');
    await expect
      .element(items.nth(1))
      .toHaveTextContent('Chrome on Android Active now Berlin, Germany Since Jan 15, 2026');
    await expect.element(items.nth(2)).toHaveTextContent('Device 1 Last used 2 days ago Firefox on Linux');
    expect(items.elements()).toHaveLength(3);
  });

  test('cannot end the device that it is shown on', async () => {
    open();
    await expect.element(button('Sign out Device 1')).toBeVisible();
    await expect.element(button('Sign out Device 2')).not.toBeInTheDocument();
  });

  test('marks a device of which a copy is in use, in words of the page', async () => {
    const { element } = open([
      session(2, { isCurrent: true }),
      session(3, { forked: true }),
      session(4, { forked: false }),
    ]);
    await expect.element(item('Device 3')).toHaveTextContent('Device 3 A copy is in use Last used');
    await expect.element(page.getByText('A copy is in use')).toBeVisible();
    expect(page.getByText('A copy is in use').elements()).toHaveLength(1);
    for (const scheme of ['light', 'dark']) {
      await emulate({ 'prefers-color-scheme': scheme });
      expect(await violations()).toEqual([]);
    }
    element.labels = { forked: 'Eine Kopie ist in Gebrauch' };
    await expect.element(item('Device 3')).toHaveTextContent('Device 3 Eine Kopie ist in Gebrauch');
  });

  test('of one account is gone at once when the tab goes over to another', async () => {
    const { client } = open();
    await expect.element(items.nth(2)).toBeVisible();
    client.switch([session(7, { isCurrent: true })]);
    await expect.element(items.first()).not.toBeInTheDocument();
    await expect.element(page.getByText('Loading…')).toBeInTheDocument();
    client.become({ name: 'active' });
    await expect.element(items).toHaveTextContent('Device 7');
  });

  test('of one has nothing to sign out', async () => {
    open([session(2, { isCurrent: true })]);
    await expect.element(items.first()).toBeVisible();
    await expect.element(button(/^Sign out/)).not.toBeInTheDocument();
  });

  test('is loaded visibly, and says why it cannot be, with another try', async () => {
    const client = new TestClient();
    client.sessions = usual();
    client.fault = new WebgramError('WEBGRAM_TIMEOUT', 'no answer');
    const go = client.gate.close();
    show<DevicesElement>('webgram-devices', { client });
    await expect.element(page.getByText('Loading…')).toBeInTheDocument();
    go();
    await expect.element(alert).toHaveTextContent('The server did not answer in time. WEBGRAM_TIMEOUT');
    await userEvent.click(button('Try again'));
    await expect.element(items.first()).toBeVisible();
    await expect.element(alert).not.toHaveTextContent('WEBGRAM');
  });

  test('that cannot be asked for again says why until it can be; what else went wrong stays', async () => {
    const { element, client } = open();
    await expect.element(items.nth(2)).toBeVisible();
    client.fault = new WebgramError('WEBGRAM_TIMEOUT', 'no answer');
    await element.refresh();
    await expect.element(alert).toHaveTextContent('WEBGRAM_TIMEOUT');
    await element.refresh();
    await expect.element(alert).not.toHaveTextContent('WEBGRAM');

    await userEvent.click(button('Sign out Device 1'));
    client.fault = new AskError('locked', 'Your account is locked.');
    await agree();
    await expect.element(alert).toHaveTextContent('locked');
    await element.refresh();
    await expect.element(alert).toHaveTextContent('locked');
  });

  test('is asked for again when the client is back, when the page is seen, and when it is wanted', async () => {
    const { element, client } = open();
    await expect.element(items.nth(2)).toBeVisible();
    const came = (id: number) => client.sessions.push(session(id));
    came(4);
    client.become({ name: 'active' });
    await expect.element(item('Device 4')).toBeVisible();
    came(5);
    document.dispatchEvent(new Event('visibilitychange'));
    await expect.element(item('Device 5')).toBeVisible();
    came(6);
    await element.refresh();
    await expect.element(item('Device 6')).toBeVisible();
  });

  test('is the one that was asked for last', async () => {
    const { element, client } = open([session(2, { isCurrent: true })]);
    await expect.element(items.first()).toBeVisible();
    const go = client.gate.close();
    const { ask } = client;
    let answer: (sessions: DeviceSession[]) => void = () => undefined;
    Object.assign(client, { ask: () => new Promise((resolve) => (answer = resolve)) });
    const first = element.refresh();
    Object.assign(client, { ask });
    const second = element.refresh();
    client.sessions.push(session(7));
    go();
    await second;
    answer([session(2, { isCurrent: true })]);
    await first;
    await expect.element(item('Device 7')).toBeVisible();
  });

  test('cannot be changed while the server cannot be reached', async () => {
    const { client } = open();
    await expect.element(items.first()).toBeVisible();
    client.become({ name: 'waiting', retryAtMs: 0, reason: 'lost' });
    await expect.element(page.getByText('The server cannot be reached.')).toBeVisible();
    for (const name of ['Sign out Device 1', 'Rename Device 1', 'Sign out all other devices']) {
      await expect.element(button(name)).toHaveAttribute('aria-disabled', 'true');
      await userEvent.click(button(name), { force: true });
    }
    await expect.element(dialog).not.toBeInTheDocument();
    await expect.element(page.getByRole('textbox')).not.toBeInTheDocument();
    expect(client.asked.every(([what]) => what === 'list')).toBe(true);
  });
});

describe('renaming', () => {
  test('is by the keyboard alone', async () => {
    const { element, client } = open();
    await expect.element(items.first()).toBeVisible();
    element.focus();
    expect(focused(element)).toBe('Rename Device 2');
    await userEvent.keyboard('{Enter}');
    await expect.poll(() => element.shadowRoot!.activeElement?.tagName).toBe('INPUT');
    await userEvent.keyboard('Kitchen{Enter}');
    await expect.element(status()).toHaveTextContent('Renamed to Kitchen.');
    await expect.element(item('Kitchen')).toHaveTextContent('Firefox on Linux');
    expect(client.asked).toContainEqual(['rename', 2, 'Kitchen']);
    await expect.poll(() => focused(element)).toBe('Rename Kitchen');
  });

  test('is left by Escape', async () => {
    const { element, client } = open();
    await userEvent.click(button('Rename Device 1'));
    await userEvent.keyboard('x{Escape}');
    await expect.poll(() => focused(element)).toBe('Rename Device 1');
    expect(client.asked).toEqual([['list', 0]]);
  });

  test('that fails keeps what was typed', async () => {
    const { client } = open();
    await userEvent.click(button('Rename Device 1'));
    client.fault = new AskError('WEBGRAM_BAD_REQUEST', 'too long');
    await userEvent.keyboard('Kitchen{Enter}');
    await expect.element(alert).toHaveTextContent('at most 64 characters. WEBGRAM_BAD_REQUEST');
    await expect.element(page.getByRole('textbox')).toHaveValue('Kitchen');
  });

  test('of a device that has gone says so', async () => {
    const { client } = open();
    await userEvent.click(button('Rename Device 1'));
    client.sessions = client.sessions.filter(({ sessionID }) => sessionID !== 1);
    await userEvent.keyboard('Kitchen{Enter}');
    await expect.element(status()).toHaveTextContent('Device 1 was signed out already.');
    await expect.element(item('Device 1')).not.toBeInTheDocument();
  });
});

describe('logging out', () => {
  test('is asked before; then the focus goes to what stands in its place', async () => {
    const { element, client } = open();
    const revoked = heard('webgram-revoked');
    await userEvent.click(button('Sign out Chrome on Android'));
    await expect.element(dialog).toHaveAccessibleName('Sign out Chrome on Android?');
    expect(focused(element)).toBe('Cancel');
    await userEvent.keyboard('{Escape}');
    await expect.element(dialog).not.toBeInTheDocument();
    expect(focused(element)).toBe('Sign out Chrome on Android');
    expect(client.asked).toEqual([['list', 0]]);

    await userEvent.keyboard('{Enter}');
    await agree();
    await expect.element(status()).toHaveTextContent('Chrome on Android is signed out.');
    expect(items.elements()).toHaveLength(2);
    expect(client.asked).toContainEqual(['revoke', 3, null]);
    expect(revoked.map(({ detail }) => detail.devices.map(({ sessionID }) => sessionID))).toEqual([[3]]);
    expect(focused(element)).toBe('Rename Device 1');
  });

  test('is one thing at a time', async () => {
    const { client } = open();
    await userEvent.click(button('Sign out Device 1'));
    const go = client.gate.close();
    await agree();
    await expect.element(button('Sign out Chrome on Android')).toHaveAttribute('aria-disabled', 'true');
    await userEvent.click(button('Sign out Chrome on Android'), { force: true });
    await expect.element(dialog).not.toBeInTheDocument();
    go();
    await expect.element(status()).toHaveTextContent('Device 1 is signed out.');
  });

  test('of one that has gone says so, and tells no event', async () => {
    const { client } = open();
    const revoked = heard('webgram-revoked');
    await userEvent.click(button('Sign out Device 1'));
    client.sessions = client.sessions.filter(({ sessionID }) => sessionID !== 1);
    await agree();
    await expect.element(status()).toHaveTextContent('Device 1 was signed out already.');
    expect(revoked).toEqual([]);
  });

  test('of all others leaves this one', async () => {
    const { element, client } = open();
    const revoked = heard('webgram-revoked');
    await userEvent.click(button('Sign out all other devices'));
    await expect.element(dialog).toHaveAccessibleDescription(/signed out: 2/);
    await agree();
    await expect.element(status()).toHaveTextContent('Devices signed out: 2.');
    expect(items.elements()).toHaveLength(1);
    expect(client.asked).toContainEqual(['revoke-others', null]);
    expect(revoked.map(({ detail }) => detail.devices.length)).toEqual([2]);
    expect(focused(element)).toBe('Rename Device 2');
  });

  test('is not asked any more, and not done, when the tab has gone over to another account', async () => {
    const { client } = open();
    await userEvent.click(button('Sign out all other devices'));
    await expect.element(dialog).toBeVisible();
    client.switch([session(5, { isCurrent: true }), session(6)]);
    await expect.element(dialog).not.toBeInTheDocument();
    client.become({ name: 'active' });
    await expect.element(button('Sign out Device 6')).not.toHaveAttribute('aria-disabled');
    expect(client.asked.map(([what]) => what)).not.toContain('revoke-others');
  });

  test('is not asked any more when the page shows the devices of another client', async () => {
    const { element } = open();
    const other = new TestClient();
    other.sessions = [session(5, { isCurrent: true }), session(6)];
    await userEvent.click(button('Sign out all other devices'));
    await expect.element(dialog).toBeVisible();
    element.client = other;
    await expect.element(dialog).not.toBeInTheDocument();
    await expect.element(item('Device 6')).toBeVisible();
    expect(other.asked).toEqual([['list', 0]]);
  });

  test("that fails shows the application's own words and code", async () => {
    const { client } = open();
    await userEvent.click(button('Sign out Device 1'));
    client.fault = new AskError('locked', 'Your account is locked.');
    await agree();
    await expect.element(alert).toHaveTextContent('Your account is locked. locked');
    await userEvent.click(button('Dismiss'));
    await expect.element(alert).not.toHaveTextContent('locked');
  });
});

describe('another proof', () => {
  /** Answers each `webgram-step-up` with what the next of these returns. */
  function answer(element: DevicesElement, ...proofs: (() => unknown)[]) {
    const attempts: unknown[] = [];
    element.addEventListener('webgram-step-up', (event) => {
      attempts.push([event.action, event.sessionID, event.attempt]);
      event.respondWith(proofs[event.attempt - 1]?.());
    });
    return attempts;
  }

  test('is asked of the page until it is good enough', async () => {
    const { element, client } = open();
    client.proof = 'secret';
    const attempts = answer(
      element,
      () => 'wrong',
      async () => 'secret',
    );
    await userEvent.click(button('Sign out Device 1'));
    await agree();
    await expect.element(status()).toHaveTextContent('Device 1 is signed out.');
    expect(attempts).toEqual([
      ['revoke', 1, 1],
      ['revoke', 1, 2],
    ]);
    expect(client.asked.filter(([what]) => what === 'revoke').map(([, , proof]) => proof)).toEqual([
      null,
      'wrong',
      'secret',
    ]);
  });

  test('that the user does not give changes nothing', async () => {
    const { element, client } = open();
    client.proof = 'secret';
    const attempts = answer(element, () => undefined);
    await userEvent.click(button('Sign out all other devices'));
    await agree();
    await expect.element(status()).toHaveTextContent('Nothing has changed.');
    expect(attempts).toEqual([['revoke-others', undefined, 1]]);
    expect(items.elements()).toHaveLength(3);
  });

  test('that is given for another account than it was asked for changes nothing', async () => {
    const { element, client } = open();
    client.proof = 'secret';
    let give!: (proof: string) => void;
    const attempts = answer(element, () => new Promise((resolve) => (give = resolve)));
    await userEvent.click(button('Sign out all other devices'));
    await agree();
    await expect.poll(() => attempts.length).toBe(1);
    client.switch([session(5, { isCurrent: true }), session(6)]);
    client.become({ name: 'active' });
    give('secret');
    await expect.element(status()).toHaveTextContent('Nothing has changed.');
    await expect.element(item('Device 6')).toBeVisible();
    expect(client.asked.filter(([what]) => what === 'revoke-others')).toEqual([['revoke-others', null]]);
  });

  test('that nobody asks for, or that cannot be asked for, is an error', async () => {
    const { element, client } = open();
    client.proof = 'secret';
    await userEvent.click(button('Sign out Device 1'));
    await agree();
    await expect.element(alert).toHaveTextContent('WEBGRAM_STEP_UP_REQUIRED');
    answer(element, async () => {
      throw new Error('no authenticator');
    });
    await userEvent.click(button('Sign out Device 1'));
    await agree();
    await expect.element(alert).toHaveTextContent('no authenticator');
  });
});

describe('the page', () => {
  test('may make its client after the element', async () => {
    const client = new TestClient();
    client.sessions = usual();
    const element = show<DevicesElement>('webgram-devices', {});
    await expect.element(page.getByText('Loading…')).toBeInTheDocument();
    Object.assign(globalThis, { webgram: { client } });
    onTestFinished(() => void Reflect.deleteProperty(globalThis, 'webgram'));
    const script = document.createElement('script');
    script.src = URL.createObjectURL(new Blob([''], { type: 'text/javascript' }));
    element.after(script);
    await expect.element(items.nth(2)).toBeVisible();
    expect(client.listeners).toBe(2);
    element.remove();
    expect(client.listeners).toBe(0);
  });

  test('may speak another language, and write from right to left', async () => {
    const { element } = open();
    element.lang = 'de';
    element.labels = {
      lastUsed: 'Zuletzt {when}',
      current: 'Dieses Gerät',
      kind: '{browser} unter {platform}',
    };
    await expect.element(item('Device 1')).toHaveTextContent('Zuletzt vorgestern Firefox unter Linux');
    await expect.element(item('Dieses Gerät')).toHaveTextContent('Since 15.01.2026');
  });

  test('may be 320 px wide, and every target can be hit', async () => {
    await page.viewport(320, 640);
    const long = { name: 'x'.repeat(64), browser: 'Firefox', platform: 'Linux' };
    const { element } = open([...usual(), session(4, { device: long })]);
    await userEvent.click(button('Rename Device 2'));
    await expect.element(page.getByRole('textbox')).toBeVisible();
    expect(fits()).toBe(true);
    expect(smallTargets(element)).toEqual([]);
    await page.viewport(414, 896);
  });
});

describe.each(LOOKS)('axe finds nothing, in %s,', (_name, media, dir) => {
  test('in any state', async () => {
    await emulate(media);
    document.documentElement.dir = dir;
    onTestFinished(() => document.documentElement.removeAttribute('dir'));
    const { client } = open();
    expect(await violations()).toEqual([]);
    await expect.element(items.first()).toBeVisible();
    expect(await violations()).toEqual([]);
    await userEvent.click(button('Sign out Device 1'));
    await expect.element(dialog).toBeVisible();
    expect(await violations()).toEqual([]);
    client.fault = new WebgramError('WEBGRAM_TIMEOUT', 'no answer');
    await agree();
    await expect.element(alert).toHaveTextContent('WEBGRAM_TIMEOUT');
    await userEvent.click(button('Rename Device 1'));
    await expect.element(page.getByRole('textbox')).toBeVisible();
    client.become({ name: 'closed', code: 'WEBGRAM_CLOSED', reason: 'closed' });
    await expect.element(page.getByText('Not connected')).toBeVisible();
    expect(await violations()).toEqual([]);
  });
});

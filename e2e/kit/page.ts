import type { Page } from '@playwright/test';
// Types of the global `webgram`.
import type {} from '../../client/script-tag/script-tag.ts';
import type { ClientIdentity, ClientState, SessionActive } from 'webgram-sessions';
import type { Stats } from './test-server.ts';

/** Waits until the tab is in session. @returns What `$session-active` told last. */
export function waitForSession(page: Page): Promise<SessionActive> {
  return page.evaluate(() => webgram.client!.waitForSession());
}

export function stateOf(page: Page): Promise<ClientState> {
  return page.evaluate(() => webgram.client!.state);
}

/** Returns what anybody may know of the identity, but for its id, which is random. */
export async function identityOf(page: Page): Promise<Omit<ClientIdentity, 'id'> | undefined> {
  const identity = await page.evaluate(() => webgram.client!.identity);
  if (identity === undefined) return undefined;
  const { id: _id, ...rest } = identity;
  return rest;
}

export async function sessionIDOf(page: Page): Promise<number> {
  return (await waitForSession(page)).sessionID;
}

/** Asks the server what it holds. */
export function statsOf(page: Page): Promise<Stats> {
  return page.evaluate(() => webgram.client!.ask('stats'));
}

/** Types a number over what stands there; `fill` appends to number fields in a stock Firefox. */
export async function enterNumber(page: Page, x: number): Promise<void> {
  const field = page.getByRole('spinbutton');
  await field.press('ControlOrMeta+A');
  await field.pressSequentially(String(x));
}

/** Sends `add-one` as the page does. */
export async function addOne(page: Page, x: number): Promise<void> {
  await enterNumber(page, x);
  await page.getByRole('button', { name: 'Add one' }).click();
}

/** Everything the application keeps of the session. */
export function dataOf(page: Page): Promise<Record<string, unknown>> {
  return page.evaluate(() => webgram.client!.ask('data'));
}

/** Asks so many times at once. @returns The answers, in the order of the asks. */
export function askEach(page: Page, type: string, times: number): Promise<number[]> {
  return page.evaluate(
    ({ type, times }) =>
      Promise.all(
        Array.from(
          { length: times },
          () => webgram.client!.with({ timeoutMs: 50_000 }).ask(type) as Promise<number>,
        ),
      ),
    { type, times },
  );
}

/** @returns The code of the error that an ask is answered with; `undefined` for none. */
export function codeOf(page: Page, type: string, ...args: unknown[]): Promise<string | undefined> {
  return page.evaluate(
    ({ type, args }) =>
      webgram.client!.ask(type, ...args).then(
        () => undefined,
        (error: { code: string }) => error.code,
      ),
    { type, args },
  );
}

/** Waits, in the page, for a state of that name; for `waiting` also until that much of the wait is left. */
export function waitForState<N extends ClientState['name']>(
  page: Page,
  name: N,
  { leftMs = 0, timeoutMs = 20_000 } = {},
): Promise<ClientState & { name: N }> {
  return page.evaluate(
    ({ name, leftMs, timeoutMs }) =>
      new Promise((resolve, reject) => {
        const client = webgram.client!;
        const limit = setTimeout(() => reject(new Error(`no such state in ${timeoutMs} ms`)), timeoutMs);
        const look = () => {
          const { state } = client;
          if (state.name !== name) return;
          if (state.name === 'waiting' && state.retryAtMs - Date.now() < leftMs) return;
          clearTimeout(limit);
          off();
          resolve(state as never);
        };
        const off = client.on('$state', look);
        look();
      }),
    { name, leftMs, timeoutMs },
  );
}

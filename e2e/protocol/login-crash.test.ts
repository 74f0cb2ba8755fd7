import { WebSocket } from 'ws';
import { expect, test } from 'vitest';
import { toBase64url } from 'webgram';
import { TestLink } from '../../server/testing/test-client.ts';
import { webKeys } from '../../worker/host/web-keys.ts';
import { CrashScene, Steps, type Death } from './testing/crash-scene.ts';

const PATIENCE = { timeout: 8_000, interval: 5 };
const MAX_TRIES = 30;

/**
 * Logs in, lets one side die on the way, starts it again, and sees what is left.
 *
 * @returns The steps, and whether that of the death was reached.
 */
async function run(death?: Death): Promise<{ steps: Steps; account: unknown; hasDied: boolean }> {
  const steps = new Steps(death);
  const scene = new CrashScene(steps);
  try {
    await scene.startServer();
    let tab = scene.startHost();
    await tab.ask('who');
    await expect.poll(() => scene.conn, PATIENCE).toBeDefined();
    steps.arm();
    const login = scene.conn!.login('alice', { label: 'Alice' }).then(
      () => true,
      () => false,
    );
    const side = await Promise.race([steps.died, login.then(() => settled(scene, tab, 'alice'))]);
    steps.disarm();
    if (side !== undefined) tab = (await scene.restart(side)) ?? tab;
    const account = await consistent(scene, tab);
    // Nobody is stuck: the next login works, whatever became of this one.
    await expect.poll(() => scene.conn?.isOnline, PATIENCE).toBe(true);
    const next = (account as string | null) ?? 'bob';
    await scene.conn!.login(next);
    expect(await consistent(scene, tab)).toBe(next);
    return { steps, account, hasDied: side !== undefined };
  } finally {
    scene.close();
  }
}

type Tab = ReturnType<CrashScene['startHost']>;

/** The new key is in use, and the other one is forgotten. */
async function settled(scene: CrashScene, tab: Tab, account: string): Promise<void> {
  await expect.poll(() => tab.identity?.account, PATIENCE).toBe(account);
  await expect
    .poll(async () => (await scene.browser.identities())[0], PATIENCE)
    .toMatchObject({ profile: { account }, sessionID: 1 });
}

/** One key is good, the one that the browser has; it is the new one exactly when the account is bound. */
async function consistent(scene: CrashScene, tab: Tab): Promise<unknown> {
  const [sessionID, account] = (await tab.with({ timeoutMs: 4_000 }).ask('who')) as [number, unknown];
  expect(sessionID).toBe(1);
  expect(await scene.serverDisk.nextSessionID()).toBe(2);
  await expect
    .poll(async () => (await scene.browser.identities()).map((record) => 'next' in record), PATIENCE)
    .toEqual([false]);
  const [identity] = await scene.browser.identities();
  expect(identity).toMatchObject({ sessionID: 1 });
  expect(identity).not.toHaveProperty('setAside');
  const good = toBase64url(identity!.publicKey);
  for (const { publicKey, privateKey } of scene.keys) {
    // The browser has just proved this one.
    if (toBase64url(publicKey) === good) continue;
    const link = await TestLink.open({ address: scene.address, WebSocket });
    const key = webKeys.signingKey(publicKey, privateKey) as never;
    expect(await link.enter({ key, sessionID: 1 })).toMatchObject({ kind: 'denied' });
    link.socket.terminate();
  }
  expect(good === toBase64url(scene.keys[0]!.publicKey)).toBe(account === null);
  return account;
}

test('a login changes key and account', async () => {
  expect(await run()).toMatchObject({ account: 'alice' });
});

test.each(['host', 'server', 'both'] as const)(
  'death of %s at every step of a login: one key is good, and the account is bound exactly when it is the new one',
  { timeout: 120_000 },
  async (side) => {
    const { steps } = await run();
    const outcomes = new Set<unknown>();
    for (const step of steps.names) {
      // What happens behind the login is not a part of every run, so a step may have to be tried again.
      for (let tries = 0, hasDied = false; !hasDied; tries++) {
        if (tries === MAX_TRIES) throw new Error(`'${step}' was never reached again`);
        const result = await run({ step, side }).catch((error: unknown) => {
          throw new Error(`the ${side} died at '${step}'`, { cause: error });
        });
        hasDied = result.hasDied;
        if (hasDied) outcomes.add(result.account);
      }
    }
    expect([...outcomes].sort()).toEqual(['alice', null]);
  },
);

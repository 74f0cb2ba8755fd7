import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { WebSocket } from 'ws';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { bundleForNode, type Bundle } from '../../server/testing/bundle.ts';
import { TestLink } from '../../server/testing/test-client.ts';
import { webKeys } from '../../worker/host/web-keys.ts';
import { NodeBrowser } from './testing/node-browser.ts';

const PREFIX = path.join(tmpdir(), 'webgram-login-kill-');
const PATIENCE = { timeout: 10_000, interval: 10 };
const MAX_TRIES = 5;
let bundle: Bundle;
let child: ChildProcess | undefined;

beforeAll(async () => {
  bundle = await bundleForNode('e2e/protocol/testing/mortal-server.ts');
}, 60_000);
afterEach(() => void child?.kill('SIGKILL'));
afterAll(() => bundle.remove());

/** Starts the server. @returns What it prints, a number a line. */
async function start(folder: string, port: number, dieAt: number): Promise<number[]> {
  const args = [bundle.file, folder, String(port), String(dieAt)];
  child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'ignore'] });
  const printed: number[] = [];
  const lines = createInterface({ input: child.stdout! });
  lines.on('line', (line) => printed.push(Number(line)));
  await once(lines, 'line');
  return printed;
}

/**
 * Logs in at a server that is killed at a step, and started again.
 *
 * @returns How many steps there are, and whether that one was reached.
 */
async function run(dieAt: number): Promise<{ steps: number; hasDied: boolean }> {
  const folder = await mkdtemp(PREFIX);
  const db = path.join(folder, 'sessions');
  let printed = await start(db, 0, dieAt);
  const port = printed[0]!;
  const browser = new NodeBrowser(`ws://127.0.0.1:${port}/`);
  try {
    browser.start();
    const tab = browser.tab();
    await tab.waitForSession();
    const [first] = await browser.identities();
    const login = tab.ask('login').catch((error: unknown) => error);
    const exit = once(child!, 'exit').then(() => true);
    // The steps end with the next ask.
    const asked = login.then(() => tab.ask('who')).then(() => false);
    const hasDied = await Promise.race([exit, asked]);
    if (hasDied) {
      expect(child!.signalCode).toBe('SIGKILL');
      printed = await start(db, port, -1);
    }
    // An ask that was not answered comes again, and works then.
    await login;
    expect(await tab.ask('who')).toEqual([1, 'alice']);
    await expect
      .poll(async () => (await browser.identities()).map((record) => 'next' in record), PATIENCE)
      .toEqual([false]);
    const [last] = await browser.identities();
    expect(last!.publicKey).not.toEqual(first!.publicKey);
    const link = await TestLink.open({ address: browser.address, WebSocket });
    const old = webKeys.signingKey(first!.publicKey, first!.privateKey) as never;
    expect(await link.enter({ key: old, sessionID: 1 })).toEqual({ kind: 'denied', code: 'renewed' });
    link.socket.terminate();
    return { steps: printed[1] ?? 0, hasDied };
  } finally {
    browser.close();
    child?.kill('SIGKILL');
    await rm(folder, { recursive: true });
  }
}

/** @returns Whether the login has that step: false when it was not reached again and again. */
async function dies(at: number): Promise<boolean> {
  for (let tries = 0; tries < MAX_TRIES; tries++) {
    const { hasDied } = await run(at).catch((error: unknown) => {
      throw new Error(`killed at step ${at}`, { cause: error });
    });
    if (hasDied) return true;
  }
  return false;
}

test(
  'a server on LevelDB that is killed at any step of a login: nobody is locked out, and the older key is',
  { timeout: 240_000 },
  async () => {
    // What shares a frame can differ, and with it the number of steps.
    const counts = [(await run(-1)).steps, (await run(-1)).steps, (await run(-1)).steps];
    expect(Math.min(...counts)).toBeGreaterThan(8);
    let walked = 0;
    while (await dies(walked)) walked += 1;
    expect(walked).toBeGreaterThanOrEqual(Math.min(...counts));
  },
);

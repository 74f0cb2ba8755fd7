import { setTimeout as after } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import type { SessionActive } from 'webgram-sessions';
import { TestServer } from '../kit/test-server.ts';
import { FakeBrowser } from './browser.ts';
import type { FakeTab } from './browser.ts';

const SERVER = fileURLToPath(new URL('server.mjs', import.meta.url));
/** Short enough to wait for, long enough that nothing grows old while it is at work. */
const RETENTION_MS = 2_000;
const SETTLED = { timeout: 20_000, interval: 20 };

let server: TestServer;
let browser: FakeBrowser;
let tab: FakeTab;
let active: SessionActive[];

beforeEach(async () => {
  server = await TestServer.prepare({ command: [SERVER] });
  await server.start();
  browser = new FakeBrowser('s', server.wsUrl, Math.random);
  tab = browser.openTab();
  active = [];
  tab.client.on('$session-active', (session) => active.push(session));
  expect(await tab.client.ask('add', 's', 1)).toBe(1);
});

afterEach(async () => {
  browser.close();
  await server.dispose();
});

async function startAgain(retentionMs: number): Promise<void> {
  await server.start(['--retention', String(retentionMs)]);
  browser.wake();
}

test(
  'within the retention a tab goes on where it was, and knows of no gap',
  { timeout: 60_000 },
  async () => {
    await server.kill();
    tab.client.send('append', 's', 2);
    const asked = tab.client.ask('add', 's', 3);
    await startAgain(3_600_000);
    expect(await asked).toBe(3);
    expect((await browser.kept()).done).toEqual(['s.1', 's.2', 's.3']);
    expect(active.map(({ reason }) => reason)).toEqual(['new', 'resumed']);
    expect(active[1]).toMatchObject({ resumed: true, gap: { sent: 0, received: 0 } });
  },
);

test(
  'beyond it a tab is told of the gap, and begins anew in the same session',
  { timeout: 60_000 },
  async () => {
    const { sessionID } = active[0]!;
    await server.kill();
    tab.client.send('append', 's', 2);
    const asked = tab.client.ask('add', 's', 3);
    const rejected = expect(asked).rejects.toMatchObject({ code: 'WEBGRAM_GAP' });
    await after(RETENTION_MS);
    await startAgain(RETENTION_MS);
    await rejected;
    await vi.waitFor(() => expect(active).toHaveLength(2), SETTLED);
    expect(active[1]).toEqual({
      sessionID,
      resumed: true,
      reason: 'retention',
      gap: { sent: 2, received: 0 },
    });
    // What it sends now counts again, and nothing of what it was told is lost has sneaked in.
    expect(await tab.client.ask('add', 's', 4)).toBe(2);
    expect((await browser.kept()).done).toEqual(['s.1', 's.4']);
    expect(active).toHaveLength(2);
  },
);

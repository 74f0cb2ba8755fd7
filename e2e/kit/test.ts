import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { test as base, type BrowserContext, type Page } from '@playwright/test';
import { FaultProxy } from '../faults/proxy.ts';
import { Front, type FrontOptions } from './front.ts';
import { waitForSession } from './page.ts';
import { TestServer, type TestServerOptions } from './test-server.ts';

export interface HostOptions {
  /** Which host the pages get; without SharedWorker it is a leader tab. */
  host: 'shared-worker' | 'leader-tab';
}

interface Fixtures {
  /** For `test.use`. */
  serverOptions: TestServerOptions;
  /** Runs from the start of the test, with a database of its own. */
  server: TestServer;
  /** In front of the server; pages come through it. */
  wire: FaultProxy;
  /** Starts another web server. */
  startFront: (options: FrontOptions) => Promise<Front>;
  /** Opens browsers on a profile that outlives them; all are closed and removed after the test. */
  profiles: Profiles;
}

export interface Profiles {
  /** @returns The folder of a new profile. */
  create(): Promise<string>;
  /**
   * Opens a browser on it; close that before opening another.
   *
   * @param without Arguments of Playwright's that the browser is not to get.
   */
  open(folder: string, without?: string[]): Promise<BrowserContext>;
}

/** Playwright's `test`, with a server and a proxy for each test. */
export const test = base.extend<Fixtures & HostOptions>({
  host: ['shared-worker', { option: true }],
  serverOptions: [{}, { option: true }],
  context: async ({ context, host }, use) => {
    await restrict(context, host);
    await use(context);
  },
  server: async ({ serverOptions }, use) => {
    const server = await TestServer.prepare(serverOptions);
    await server.start();
    await use(server);
    await server.dispose();
  },
  wire: async ({ server }, use) => {
    const proxy = await FaultProxy.start({ target: () => server.port });
    await use(proxy);
    await proxy.close();
  },
  startFront: async ({}, use) => {
    const fronts: Front[] = [];
    await use(async (options) => {
      const front = await Front.start(options);
      fronts.push(front);
      return front;
    });
    for (const front of fronts) await front.close();
  },
  profiles: async ({ playwright, browserName, launchOptions, contextOptions, host }, use) => {
    const contexts: BrowserContext[] = [];
    const folders: string[] = [];
    await use({
      async create() {
        const folder = await mkdtemp(path.join(tmpdir(), 'webgram-profile-'));
        folders.push(folder);
        return folder;
      },
      async open(folder, without = []) {
        const context = await playwright[browserName].launchPersistentContext(folder, {
          ...contextOptions,
          ...launchOptions,
          ignoreDefaultArgs: without,
        });
        contexts.push(context);
        await restrict(context, host);
        return context;
      },
    });
    for (const context of contexts) await context.close();
    for (const folder of folders) await rm(folder, { recursive: true, force: true });
  },
});

export { expect } from '@playwright/test';

async function restrict(context: BrowserContext, host: HostOptions['host']): Promise<void> {
  if (host === 'shared-worker') return;
  await context.addInitScript(() => {
    Reflect.deleteProperty(globalThis, 'SharedWorker');
  });
}

/** Opens the plus-one page in a new tab and waits until it is in session. */
export async function openTab(context: BrowserContext, url: string): Promise<Page> {
  const page = await context.newPage();
  await page.goto(url);
  await waitForSession(page);
  return page;
}

import { setTimeout as after } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import type { Page } from '@playwright/test';
// Types of the global `webgram`.
import type {} from '../../client/script-tag/script-tag.ts';
import { FaultProxy } from '../faults/proxy.ts';
import { killWorker } from '../kit/chromium.ts';
import { randomFor } from '../kit/random.ts';
import { expect, openTab, test } from '../kit/test.ts';
import { TestServer } from '../kit/test-server.ts';
import { findFaults, KINDS } from './tally.ts';
import type { Kept, Kind, TabRecord } from './tally.ts';

const SERVER = fileURLToPath(new URL('server.mjs', import.meta.url));
const PAGES = 3;
const MESSAGES = 80;
/** How long the pages go on, in ms. */
const TALK_MS = 6_000;

declare global {
  /** Of the page's tab, kept by what `talk` starts. */
  var record: TabRecord;
}

test('pages lose, double and reorder nothing while server, worker, sockets and pages are killed @shared-worker', async ({
  context,
  browser,
  browserName,
}, testInfo) => {
  test.setTimeout(150_000);
  const random = randomFor(testInfo);
  const server = await TestServer.prepare({ command: [SERVER] });
  await server.start();
  const wire = await FaultProxy.start({ target: () => server.port });
  try {
    const records: TabRecord[] = [];
    const open = async (name: string): Promise<Page> => {
      const page = await openTab(context, wire.url);
      await talk(page, name, random);
      return page;
    };
    const pages: Page[] = [];
    for (let n = 0; n < PAGES; n += 1) pages.push(await open(`p${n}`));

    const harms: (() => Promise<unknown>)[] = [
      () => killServer(server, 300 * random()),
      async () => wire.cut(),
      async () => {
        const page = pages.shift()!;
        const record = await page.evaluate(() => {
          // The worker dies as well, perhaps before it has finished for this page.
          globalThis.record.end = { name: 'lost' };
          return globalThis.record;
        });
        await page.close();
        records.push(record);
        pages.push(await open('late'));
      },
      () => killServer(server, 0),
      ...(browserName === 'chromium' ? [() => killWorker(browser)] : []),
      () => killServer(server, 1_000 * random()),
    ];
    for (const harm of harms) {
      await after((1_500 * random() * TALK_MS) / 6_000);
      await harm();
    }

    const look = async (): Promise<string[]> => {
      for (const page of pages) await page.evaluate(() => dispatchEvent(new Event('focus')));
      const living = await Promise.all(pages.map((page) => page.evaluate(() => globalThis.record)));
      const kept = await pages[0]!.evaluate(() => webgram.client!.ask('dump') as Promise<Kept>);
      const faults = findFaults(kept, [...records, ...living]);
      for (const { tab, kinds } of living) if (kinds.length < MESSAGES) faults.push(`${tab} still talks`);
      return faults;
    };
    const settled = { timeout: 60_000, intervals: [200] };
    await expect.poll(look, settled).toEqual([]);
    // The same from the disk.
    await killServer(server, 0);
    await expect.poll(look, settled).toEqual([]);
  } finally {
    await wire.close();
    await server.dispose();
  }
});

test('what a page has sent before it is closed arrives once, also when the server is killed @shared-worker', async ({
  context,
}, testInfo) => {
  const random = randomFor(testInfo);
  const server = await TestServer.prepare({ command: [SERVER] });
  await server.start();
  const wire = await FaultProxy.start({ target: () => server.port });
  try {
    const watcher = await openTab(context, wire.url);
    const kinds: Kind[] = Array.from({ length: 100 }, () => 'append');
    const records: TabRecord[] = [];
    for (let round = 0; round < 3; round += 1) {
      const page = await openTab(context, wire.url);
      const tab = `closed${round}`;
      await page.evaluate(
        ([tab, kinds]) => {
          for (let n = 1; n <= kinds.length; n += 1) webgram.client!.send('append', tab, n);
        },
        [tab, kinds] as const,
      );
      await Promise.all([page.close(), after(20 * random()).then(() => killServer(server, 0))]);
      const end = { name: 'killed', handedOver: kinds.length } as const;
      records.push({ tab, kinds, answers: {}, told: [], updated: [], all: [], end });
      await watcher.evaluate(() => dispatchEvent(new Event('focus')));
      const look = async (): Promise<string[]> =>
        findFaults(await watcher.evaluate(() => webgram.client!.ask('dump') as Promise<Kept>), records);
      await expect.poll(look, { timeout: 30_000, intervals: [100] }).toEqual([]);
    }
  } finally {
    await wire.close();
    await server.dispose();
  }
});

/** Has the page send and ask by itself, and keep a record. */
async function talk(page: Page, tab: string, random: () => number): Promise<void> {
  const all = Object.keys(KINDS) as Kind[];
  const kinds = Array.from({ length: MESSAGES }, () => all[Math.floor(random() * all.length)]!);
  const sends = all.filter((kind) => KINDS[kind].how === 'send');
  await page.evaluate(
    ({ tab, kinds, sends, pauseMs }) => {
      const client = webgram.client!;
      const record: TabRecord = {
        tab,
        kinds: [],
        answers: {},
        told: [],
        updated: [],
        all: [],
        end: { name: 'alive' },
      };
      globalThis.record = record;
      client.on('told', (n) => record.told.push(n as number));
      client.on('updated', (n) => record.updated.push(n as number));
      client.on('all', (place) => record.all.push(place as number));
      const next = (): void => {
        const kind = kinds.shift();
        if (kind === undefined || record.end.name !== 'alive') return;
        const n = record.kinds.push(kind);
        if (sends.includes(kind)) client.send(kind, tab, n);
        else {
          client
            .with({ timeoutMs: 120_000 })
            .ask(kind, tab, n)
            .then(
              (value) => (record.answers[n] = { value }),
              ({ code }: { code: string }) => (record.answers[n] = { code }),
            );
        }
        // Some together, some apart.
        if (n % 3 === 0) setTimeout(next, pauseMs);
        else next();
      };
      next();
    },
    { tab, kinds, sends, pauseMs: TALK_MS / (MESSAGES / 3) },
  );
}

async function killServer(server: TestServer, downMs: number): Promise<void> {
  await server.kill();
  await after(downMs);
  await server.start();
}

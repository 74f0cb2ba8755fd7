import { readFile } from 'node:fs/promises';
import { chromium, type Browser, type BrowserContext, type CDPSession, type Page } from 'playwright';
import { CHROMIUM_ARGS, findChromium } from '../e2e/engines/find.mjs';
import { serve } from './process.ts';
import type {} from './pages.ts';
import type { AddTimes, BrowserMemory, HostKind, TabTimes, ToBrowser, UseTimes } from './subjects.ts';

let browser: Browser | undefined;
const tabs: Page[] = [];

serve<ToBrowser>(
  async (message) => {
    switch (message.kind) {
      case 'launch':
        return launch(message.url, message.host);
      case 'open':
        return open(message.url);
      case 'memory':
        return memory();
      case 'add-accounts':
        return addAccounts(message.url, message.count);
      case 'use-accounts':
        return useAccounts(message.url, message.count, message.floorPort);
    }
  },
  async () => browser?.close(),
);

/** One tab comes and goes before those that count, with a profile of its own. */
async function launch(url: string, host: HostKind): Promise<void> {
  const executablePath = findChromium();
  if (executablePath === undefined) throw new Error('there is no Chromium');
  browser = await chromium.launch({ executablePath, args: CHROMIUM_ARGS });
  const context = await newContext(host);
  await openIn(await context.newPage(), url);
  await context.close();
  await newContext(host);
}

async function newContext(host: HostKind): Promise<BrowserContext> {
  const context = await browser!.newContext();
  if (host === 'leader-tab') {
    await context.addInitScript(() => {
      Reflect.deleteProperty(globalThis, 'SharedWorker');
    });
  }
  return context;
}

async function open(url: string): Promise<TabTimes> {
  const page = await browser!.contexts()[0]!.newPage();
  tabs.push(page);
  return openIn(page, url);
}

async function openIn(page: Page, url: string): Promise<TabTimes> {
  await page.goto(url);
  return page.evaluate(() => linked);
}

const userName = (n: number): string => `user-${n}`;

/** The first tab has the host where a tab has it, and is neither the one that acts nor the one that watches. */
async function openThree(url: string): Promise<Page> {
  for (const each of [url, `${url}#watch`, url]) await open(each);
  return tabs.at(-1)!;
}

/** With the tabs goes the host, and every link. */
async function addAccounts(url: string, count: number): Promise<AddTimes> {
  const page = await openThree(url);
  const addSeen: number[] = [];
  const addHop: number[] = [];
  // The first account takes up the identity that the page has had.
  await page.evaluate((name) => accounts.begin(name), userName(0));
  for (let n = 1; n <= count; n += 1) {
    addSeen.push(await page.evaluate((name) => accounts.add(name), userName(n)));
    addHop.push(await page.evaluate(() => accounts.hop()));
  }
  for (const each of tabs.splice(0)) await each.close();
  // A shared worker may stay for a while.
  const session = await browser!.newBrowserCDPSession();
  for (const targetId of await workersOf(session)) await session.send('Target.closeTarget', { targetId });
  await session.detach();
  return { addSeen, addHop };
}

async function useAccounts(url: string, count: number, floorPort: number): Promise<UseTimes> {
  const page = await openThree(url);
  const times: Omit<UseTimes, 'warmHandshakes' | 'coldHandshakes'> = {
    ...{ warm: [], cold: [], switchSeen: [], renameSeen: [], hop: [], connect: [] },
  };
  const { warm, cold, switchSeen, renameSeen, hop, connect } = times;
  const hopOnce = async (): Promise<unknown> => hop.push(await page.evaluate(() => accounts.hop()));
  const switchTo = async (n: number, into: number[]): Promise<void> => {
    const { activeMs, seenMs } = await page.evaluate((name) => accounts.switchTo(name), userName(n));
    into.push(activeMs);
    switchSeen.push(seenMs);
    await hopOnce();
  };
  const handshakes = (): Promise<number> => page.evaluate(() => accounts.handshakes());
  const atFirst = await handshakes();
  for (let n = 0; n < count; n += 1) {
    await switchTo(n, cold);
    connect.push(await page.evaluate((port) => accounts.connect(port), floorPort));
  }
  const between = await handshakes();
  // The two that were used last.
  for (let n = 0; n < count; n += 1) await switchTo(count - 2 + (n % 2), warm);
  const atLast = await handshakes();
  for (let n = 0; n < count; n += 1) {
    const rename = { name: userName(n), to: `renamed ${n}` };
    renameSeen.push(await page.evaluate(({ name, to }) => accounts.rename(name, to), rename));
    await hopOnce();
  }
  const coldHandshakes = (between - atFirst) / count;
  const warmHandshakes = (atLast - between) / count;
  return { ...times, warmHandshakes, coldHandshakes };
}

async function memory(): Promise<BrowserMemory> {
  const heaps = new Map<string, number>();
  for (const page of tabs) {
    const session = await page.context().newCDPSession(page);
    const { id } = await session.send('Runtime.getIsolateId');
    // Chromium may put tabs together, and then they have one heap.
    if (!heaps.has(id)) heaps.set(id, await heapOf((method) => session.send(method)));
    await session.detach();
  }
  const session = await browser!.newBrowserCDPSession();
  const worker = await workerHeap(session);
  const pss = await processMemory(session);
  await session.detach();
  return { heap: [...heaps.values()].reduce((sum, bytes) => sum + bytes, 0), worker, pss };
}

type HeapMethod = 'HeapProfiler.collectGarbage' | 'Runtime.getHeapUsage';

/** @returns Bytes of JavaScript that are in use after the garbage was collected. */
async function heapOf(send: (method: HeapMethod) => Promise<unknown>): Promise<number> {
  await send('HeapProfiler.collectGarbage');
  return ((await send('Runtime.getHeapUsage')) as { usedSize: number }).usedSize;
}

async function workersOf(browserSession: CDPSession): Promise<string[]> {
  const { targetInfos } = await browserSession.send('Target.getTargets');
  return targetInfos.filter(({ type }) => type === 'shared_worker').map(({ targetId }) => targetId);
}

/** @returns The same of all shared workers. */
async function workerHeap(browserSession: CDPSession): Promise<number> {
  let bytes = 0;
  for (const targetId of await workersOf(browserSession)) {
    const { sessionId } = await browserSession.send('Target.attachToTarget', { targetId, flatten: false });
    bytes += await heapOf((method) => sendTo(browserSession, sessionId, method));
    await browserSession.send('Target.detachFromTarget', { sessionId });
  }
  return bytes;
}

let lastID = 0;

/** Playwright has no session with a shared worker: its messages go inside those of the browser's. */
async function sendTo(browserSession: CDPSession, sessionId: string, method: HeapMethod): Promise<unknown> {
  lastID += 1;
  const id = lastID;
  const answer = new Promise<unknown>((resolve, reject) => {
    const read = (event: { sessionId: string; message: string }): void => {
      const { id: of, result, error } = JSON.parse(event.message) as Record<string, unknown>;
      if (event.sessionId !== sessionId || of !== id) return;
      browserSession.off('Target.receivedMessageFromTarget', read);
      if (error === undefined) resolve(result);
      else reject(new Error(`${method}: ${JSON.stringify(error)}`));
    };
    browserSession.on('Target.receivedMessageFromTarget', read);
  });
  await browserSession.send('Target.sendMessageToTarget', {
    sessionId,
    message: JSON.stringify({ id, method }),
  });
  return answer;
}

/** @returns Of all processes of the browser, what they share divided between them; `null` where only Linux knows. */
async function processMemory(browserSession: CDPSession): Promise<number | null> {
  if (process.platform !== 'linux') return null;
  const { processInfo } = await browserSession.send('SystemInfo.getProcessInfo');
  const sizes = await Promise.all(processInfo.map(({ id }) => pssOf(id)));
  return sizes.reduce((sum, bytes) => sum + bytes, 0);
}

async function pssOf(pid: number): Promise<number> {
  try {
    const kib = /^Pss:\s+(\d+) kB$/m.exec(await readFile(`/proc/${pid}/smaps_rollup`, 'utf8'))?.[1];
    return Number(kib) * 1_024;
  } catch (error) {
    // It has ended meanwhile.
    if (error instanceof Error && 'code' in error && ['ENOENT', 'ESRCH'].includes(String(error.code)))
      return 0;
    throw error;
  }
}

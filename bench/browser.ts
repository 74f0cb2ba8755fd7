import { readFile } from 'node:fs/promises';
import { chromium, type Browser, type CDPSession, type Page } from 'playwright';
import { CHROMIUM_ARGS, findChromium } from '../e2e/engines/find.mjs';
import { serve } from './process.ts';
import type {} from './pages.ts';
import type { BrowserMemory, TabTimes, ToBrowser } from './subjects.ts';

let browser: Browser | undefined;
const tabs: Page[] = [];

serve<ToBrowser>(
  async (message) => {
    switch (message.kind) {
      case 'launch':
        return launch(message.url);
      case 'open':
        return open(message.url);
      case 'memory':
        return memory();
    }
  },
  async () => browser?.close(),
);

/** One tab comes and goes before those that count, with a profile of its own. */
async function launch(url: string): Promise<void> {
  const executablePath = findChromium();
  if (executablePath === undefined) throw new Error('there is no Chromium');
  browser = await chromium.launch({ executablePath, args: CHROMIUM_ARGS });
  const context = await browser.newContext();
  await openIn(await context.newPage(), url);
  await context.close();
  await browser.newContext();
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

/** @returns The same of all shared workers. */
async function workerHeap(browserSession: CDPSession): Promise<number> {
  const { targetInfos } = await browserSession.send('Target.getTargets');
  let bytes = 0;
  for (const { targetId } of targetInfos.filter(({ type }) => type === 'shared_worker')) {
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

import { existsSync } from 'node:fs';
import { findChromium } from '../e2e/engines/find.mjs';
import { coreFor } from './cores.ts';
import { formatNumber, formatSpread, formatTable, quantile, ratios, spreadOf } from './figures.ts';
import type { TabsJob, TabsSubject } from './jobs.ts';
import { whenForgotten } from './measure.ts';
import { PAGES } from './pages.ts';
import { Peer } from './process.ts';
import type { BrowserMemory, Memory, TabTimes } from './subjects.ts';

/** What one subject has shown, round by round. */
export interface MeasuredTabs {
  name: string;
  /** From the navigation until the tab was linked, in ms: half of the tabs, and 95 of 100, took at most that. */
  p50: number[];
  p95: number[];
  /** The same from when the script was there, which half of the tabs took at most. */
  fromScript: number[];
  /** Bytes for each tab: of the page's JavaScript, and of all processes of the browser. The latter only on Linux. */
  heap: number[];
  pss: number[];
  /** Bytes of JavaScript of the shared worker, one for all. */
  worker: number[];
  /** What the server has of it: WebSockets of all tabs, and bytes of its heap for each of the second half. */
  sockets: number[];
  serverHeap: number[];
}

export interface BrowserOptions {
  /** Folder of the bundles. */
  code: string;
  /** Folder of the built scripts. */
  scripts: string;
  rounds: number;
}

/** @returns Why no browser can be measured here; `undefined` when one can. */
export function whyNoBrowser({ scripts }: BrowserOptions): string | undefined {
  if (findChromium() === undefined) return 'there is no Chromium; WEBGRAM_CHROMIUM may name one';
  if (!existsSync(`${scripts}/webgram.js`)) return 'there are no built scripts; `npm run build` makes them';
  return undefined;
}

/** Measures all subjects in turns, each round with a browser and a server of its own. */
export async function measureTabs(job: TabsJob, options: BrowserOptions): Promise<MeasuredTabs[]> {
  const all = job.subjects.map(nothingOf);
  for (let round = 0; round < Math.min(options.rounds, 3); round += 1) {
    for (const [i, subject] of job.subjects.entries())
      await measureRound(job.count, subject, options, all[i]!);
  }
  return all;
}

async function measureRound(
  count: number,
  { server: spec, page }: TabsSubject,
  { code, scripts }: BrowserOptions,
  into: MeasuredTabs,
): Promise<void> {
  const server = new Peer({ file: `${code}/server.mjs`, core: coreFor('server'), nodeArgs: ['--expose-gc'] });
  const browser = new Peer({ file: `${code}/browser.mjs`, core: coreFor('load') });
  try {
    const port = await server.ask<number>({ kind: 'start', spec, site: { html: PAGES[page], scripts } });
    const url = `http://127.0.0.1:${port}/`;
    await browser.ask({ kind: 'launch', url, host: 'shared-worker' });
    await whenForgotten(server);
    const before = await browser.ask<BrowserMemory>({ kind: 'memory' });
    const times: TabTimes[] = [];
    const openUntil = async (many: number): Promise<void> => {
      while (times.length < many) times.push(await browser.ask<TabTimes>({ kind: 'open', url }));
    };
    // What the first one brings, such as the session and compiled code, is no cost of the others.
    const half = count >> 1;
    await openUntil(half);
    const serverHalf = await server.ask<Memory>({ kind: 'memory' });
    await openUntil(count);
    const after = await browser.ask<BrowserMemory>({ kind: 'memory' });
    const serverAfter = await server.ask<Memory>({ kind: 'memory' });
    const linked = times.map(({ linkedMs }) => linkedMs);
    into.p50.push(quantile(linked, 0.5));
    into.p95.push(quantile(linked, 0.95));
    into.fromScript.push(
      quantile(
        times.map(({ linkedMs, scriptMs }) => linkedMs - scriptMs),
        0.5,
      ),
    );
    into.heap.push(after.heap / count);
    if (after.pss !== null && before.pss !== null) into.pss.push((after.pss - before.pss) / count);
    into.worker.push(after.worker);
    into.sockets.push(serverAfter.sockets);
    into.serverHeap.push((serverAfter.heapUsed - serverHalf.heapUsed) / (count - half));
  } finally {
    await Promise.all([browser.stop(), server.stop()]);
  }
}

function nothingOf({ name }: TabsSubject): MeasuredTabs {
  return {
    ...{ name, p50: [], p95: [], fromScript: [], heap: [], pss: [] },
    ...{ worker: [], sockets: [], serverHeap: [] },
  };
}

/** One table of what the tabs cost the browser, and one of what they cost the server. */
export function tabsTable(job: TabsJob, subjects: readonly MeasuredTabs[]): string {
  const floor = subjects.find(({ name }) => name === job.floor)!;
  const kib = (bytes: number): number => bytes / 1_024;
  const spread = (values: readonly number[]): string =>
    values.length === 0 ? 'not known' : formatSpread(spreadOf(values));
  const timesFloor = (name: 'p50' | 'p95' | 'fromScript' | 'heap' | 'pss', one: MeasuredTabs): string =>
    one[name].length === 0 ? '' : formatSpread(ratios(one[name], floor[name]));
  const times = subjects.map((one) => [
    one.name,
    spread(one.p50),
    timesFloor('p50', one),
    spread(one.p95),
    timesFloor('p95', one),
    spread(one.fromScript),
    timesFloor('fromScript', one),
  ]);
  const memory = subjects.map((one) => [
    one.name,
    spread(one.heap.map(kib)),
    timesFloor('heap', one),
    spread(one.pss.map(kib)),
    timesFloor('pss', one),
    spread(one.worker.map(kib)),
    spread(one.sockets),
    spread(one.serverHeap.map(kib)),
  ]);
  const goals = subjects.flatMap((one, i) => goalsOf(job.subjects[i]!, one));
  return [
    formatTable([['', 'p50, ms', 'x floor', 'p95, ms', 'x floor', 'from script, ms', 'x floor'], ...times]),
    formatTable([
      [
        '',
        'heap each, KiB',
        'x floor',
        'PSS each, KiB',
        'x floor',
        'worker, KiB',
        'sockets',
        'server each, KiB',
      ],
      ...memory,
    ]),
    ...goals,
  ].join('\n');
}

function goalsOf({ goals = {} }: TabsSubject, one: MeasuredTabs): string[] {
  return Object.entries(goals).map(([what, atMost]) => {
    const got = spreadOf(one[what as keyof typeof goals]).median;
    const words = { fromScript: 'from script, ms', sockets: 'sockets', serverHeap: 'server each, B' };
    const isMet = got <= atMost ? 'met' : 'MISSED';
    return `goal of ${one.name}: ${words[what as keyof typeof goals]} at most ${formatNumber(atMost)}: ${formatNumber(got)}, ${isMet}`;
  });
}

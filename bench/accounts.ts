import { coreFor } from './cores.ts';
import { formatNumber, formatSpread, formatTable, quantile, ratios, spreadOf } from './figures.ts';
import type { AccountsJob } from './jobs.ts';
import { whenForgotten } from './measure.ts';
import { PAGES } from './pages.ts';
import { Peer } from './process.ts';
import type { AddTimes, HostKind, UseTimes } from './subjects.ts';
import type { BrowserOptions } from './tabs.ts';

type AccountTimes = AddTimes & UseTimes;

/** What one kind of host has shown. */
export interface MeasuredAccounts {
  name: HostKind;
  /** Round by round. */
  rounds: AccountTimes[];
}

/** Measures all kinds of hosts in turns, each round with a browser and servers of its own. */
export async function measureAccounts(
  job: AccountsJob,
  options: BrowserOptions,
): Promise<MeasuredAccounts[]> {
  const all = job.hosts.map((name): MeasuredAccounts => ({ name, rounds: [] }));
  for (let round = 0; round < Math.min(options.rounds, 3); round += 1) {
    for (const { name, rounds } of all) rounds.push(await measureRound(job, name, options));
  }
  return all;
}

async function measureRound(
  { server: spec, floor: floorSpec, count }: AccountsJob,
  host: HostKind,
  { code, scripts }: BrowserOptions,
): Promise<AccountTimes> {
  const onServerCore = (): Peer => new Peer({ file: `${code}/server.mjs`, core: coreFor('server') });
  const [server, floor] = [onServerCore(), onServerCore()];
  const browser = new Peer({ file: `${code}/browser.mjs`, core: coreFor('load') });
  try {
    const site = { html: PAGES.accounts, scripts };
    const port = await server.ask<number>({ kind: 'start', spec, site });
    const floorPort = await floor.ask<number>({ kind: 'start', spec: floorSpec });
    const url = `http://127.0.0.1:${port}/`;
    await browser.ask({ kind: 'launch', url, host });
    const added = await browser.ask<AddTimes>({ kind: 'add-accounts', url, count });
    await whenForgotten(server);
    const used = await browser.ask<UseTimes>({ kind: 'use-accounts', url, count, floorPort });
    return { ...added, ...used };
  } finally {
    await Promise.all([browser.stop(), server.stop(), floor.stop()]);
  }
}

type Floor = 'hop' | 'addHop' | 'connect';
type Figure = Exclude<keyof AccountTimes, 'warmHandshakes' | 'coldHandshakes' | Floor>;

/** What a figure is called, and what it is compared with. */
const FIGURES: { name: Figure; words: string; floor: Floor; goal?: keyof AccountsJob['goals'] }[] = [
  { name: 'warm', words: 'switch, warm link', floor: 'hop', goal: 'warm' },
  { name: 'cold', words: 'switch, no link', floor: 'connect' },
  { name: 'switchSeen', words: 'switch, seen', floor: 'hop', goal: 'seen' },
  { name: 'renameSeen', words: 'rename, seen', floor: 'hop', goal: 'seen' },
  { name: 'addSeen', words: 'add, seen', floor: 'addHop', goal: 'seen' },
];

/** One table of what each took, and the handshakes of the switches. */
export function accountsTable({ goals }: AccountsJob, hosts: readonly MeasuredAccounts[]): string {
  const halves = (rounds: readonly AccountTimes[], name: Figure | Floor): number[] =>
    rounds.map((round) => quantile(round[name], 0.5));
  const rows = hosts.flatMap(({ name: host, rounds }) =>
    FIGURES.map(({ name, words, floor, goal }) => {
      const p50 = halves(rounds, name);
      const bare = halves(rounds, floor);
      const { median } = spreadOf(p50);
      return [
        `${host}: ${words}`,
        formatSpread(spreadOf(p50)),
        formatSpread(spreadOf(rounds.map((round) => quantile(round[name], 0.95)))),
        formatSpread(spreadOf(bare)),
        formatSpread(ratios(p50, bare)),
        goal === undefined
          ? ''
          : `p50 at most ${goals[goal]} ms: ${formatNumber(median)}, ${median <= goals[goal] ? 'met' : 'MISSED'}`,
      ];
    }),
  );
  const handshakes = hosts.map(({ name, rounds }) => {
    const of = (link: 'warmHandshakes' | 'coldHandshakes'): string =>
      formatNumber(spreadOf(rounds.map((round) => round[link])).median);
    return `${name}: handshakes of a switch: ${of('coldHandshakes')} without a link, ${of('warmHandshakes')} with a warm one`;
  });
  return [
    formatTable([['', 'p50, ms', 'p95, ms', 'floor, ms', 'x floor', 'goal'], ...rows]),
    ...handshakes,
  ].join('\n');
}

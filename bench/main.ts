import { mkdir, writeFile } from 'node:fs/promises';
import { cpus } from 'node:os';
import { parseArgs } from 'node:util';
import { accountsTable, measureAccounts, type MeasuredAccounts } from './accounts.ts';
import { formatNumber, formatSpread, formatTable, ratios, spreadOf } from './figures.ts';
import { makeJobs, type AccountsJob, type Goal, type Job, type TabsJob } from './jobs.ts';
import { measure, type Measured } from './measure.ts';
import { costsOf } from './profile.ts';
import { measureTabs, tabsTable, whyNoBrowser, type MeasuredTabs } from './tabs.ts';

const USAGE = 'npm run bench -- [JOB or GROUP …] [--rounds N] [--scale X] [--profile]';

/**
 * Runs jobs, prints a table for each, and writes all figures as JSON.
 *
 * @returns The exit code: 0 also when a goal is missed, because a busy machine is no fault; 1 when nothing could be measured.
 */
export async function main(argv: string[], { root, code }: { root: string; code: string }): Promise<number> {
  const { values, positionals } = parseArgs({
    args: argv,
    allowPositionals: true,
    options: {
      rounds: { type: 'string', default: '11' },
      scale: { type: 'string', default: '1' },
      profile: { type: 'boolean', default: false },
    },
  });
  const [rounds, scale] = [Number(values.rounds), Number(values.scale)];
  const all = makeJobs(scale);
  const jobs =
    positionals.length === 0 ? all : all.filter((job) => positionals.some((word) => isMeant(job, word)));
  if (jobs.length === 0 || !(rounds > 0) || !(scale > 0)) {
    console.log(`${USAGE}\n${all.map(({ name, groups }) => `${name} (${groups.join()})`).join('\n')}`);
    return 2;
  }
  const results = `${root}bench/results`;
  const startedAt = new Date().toISOString();
  const measured: { job: string; subjects: (Measured | MeasuredTabs | MeasuredAccounts)[] }[] = [];
  for (const job of jobs) {
    if (job.kind === 'tabs' || job.kind === 'accounts') {
      const options = { code, rounds, scripts: `${root}dist/browser` };
      const why = whyNoBrowser(options);
      if (why !== undefined) {
        console.log(`\n${job.name}\nNOT MEASURED: ${why}`);
        continue;
      }
      let table: string;
      if (job.kind === 'tabs') {
        const subjects = await measureTabs(job, options);
        measured.push({ job: job.name, subjects });
        table = tabsTable(job, subjects);
      } else {
        const subjects = await measureAccounts(job, options);
        measured.push({ job: job.name, subjects });
        table = accountsTable(job, subjects);
      }
      console.log(`\n${job.name}, ${job.count} of them\n${table}`);
      continue;
    }
    const profiles = values.profile ? `${results}/profiles/${job.name.replaceAll(/\W+/g, '-')}` : undefined;
    const subjects = await measure(job, { code, rounds, profiles });
    measured.push({ job: job.name, subjects });
    console.log(`\n${job.name}\n${table(job, subjects)}`);
    if (profiles !== undefined && job.kind === 'rate') console.log(await costsOf(profiles));
  }
  if (measured.length === 0) return 1;
  await mkdir(results, { recursive: true });
  const [cpu] = cpus();
  const machine = { node: process.version, cores: cpus().length, cpu: cpu?.model };
  const file = `${results}/${startedAt.replaceAll(':', '-')}.json`;
  await writeFile(file, JSON.stringify({ startedAt, machine, rounds, scale, measured }, null, 2));
  console.log(`\nwritten to ${file.slice(root.length)}`);
  return 0;
}

function isMeant({ name, groups }: Job | TabsJob | AccountsJob, word: string): boolean {
  return groups.includes(word) || name.includes(word);
}

function table(job: Job, subjects: readonly Measured[]): string {
  const floor = subjects.find(({ name }) => name === job.floor)!;
  const head =
    job.kind === 'memory'
      ? ['', 'RSS each, KiB', 'x floor', 'heap left, B', 'goal']
      : ['', 'per second', 'x floor', 'server CPU, us', 'x floor', 'load CPU, us', 'x floor', 'goal'];
  const rows = subjects.map((one, i) => {
    const goal = goalOf(job.subjects[i]!.goal, one, subjects);
    if (job.kind === 'memory') {
      const kib = one.rss.map((bytes) => bytes / 1_024);
      return [
        one.name,
        formatSpread(spreadOf(kib)),
        formatSpread(ratios(one.rss, floor.rss)),
        formatSpread(spreadOf(one.left)),
        goal,
      ];
    }
    return [
      one.name,
      formatSpread(spreadOf(one.rates)),
      formatSpread(ratios(one.rates, floor.rates)),
      formatSpread(spreadOf(one.cpu)),
      formatSpread(ratios(one.cpu, floor.cpu)),
      formatNumber(spreadOf(one.loadCpu).median),
      formatNumber(ratios(one.loadCpu, floor.loadCpu).median),
      goal,
    ];
  });
  return formatTable([head, ...rows]);
}

function goalOf(goal: Goal | undefined, one: Measured, subjects: readonly Measured[]): string {
  if (goal === undefined) return '';
  const other = subjects.find(({ name }) => name === goal.of)!;
  const series = { rate: 'rates', cpu: 'cpu', memory: 'rss' } as const;
  const name = series[goal.what];
  const got = ratios(one[name], other[name]).median;
  const [isMet, bound] =
    'atLeast' in goal
      ? [got >= goal.atLeast, `at least ${formatNumber(goal.atLeast)}`]
      : [got <= goal.atMost, `at most ${formatNumber(goal.atMost)}`];
  return `${goal.what} ${bound}x ${goal.of}: ${formatNumber(got)}, ${isMet ? 'met' : 'MISSED'}`;
}

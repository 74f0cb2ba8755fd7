import { parentPort } from 'node:worker_threads';
import { ExhaustiveSearch } from './world/exhaustive.ts';
import type { Found, Search } from './world/exhaustive.ts';
import { runRandom, uncaught } from './world/random-schedule.ts';
import type { Profile } from './world/profile.ts';

/** What a worker is asked to do. */
export interface Job {
  from: number;
  count: number;
  profile: Partial<Profile>;
  /** Tell the steps. */
  traced: boolean;
  /** Stop at the first failure. */
  stops: boolean;
}

export interface Failure {
  seed: number;
  why: string;
  trace: readonly string[] | undefined;
}

/** What came of a job. */
export interface Result {
  schedules: number;
  steps: number;
  failures: Failure[];
  counts: Record<string, number>;
  trace: readonly string[] | undefined;
}

/** Of an error in a schedule that is told. */
const STACK_FRAMES = 20;

process.on('uncaughtException', uncaught);
process.on('unhandledRejection', uncaught);

/** Runs schedules one after the other. */
export async function run({ from, count, profile, traced, stops }: Job): Promise<Result> {
  const result: Result = { schedules: 0, steps: 0, failures: [], counts: {}, trace: undefined };
  // Errors are part of every schedule, and taking their stacks costs more than making them.
  Error.stackTraceLimit = traced ? STACK_FRAMES : 0;
  for (let seed = from; seed < from + count; seed++) {
    const { failure, steps, counts, trace } = await runRandom(seed, profile, traced);
    result.schedules += 1;
    result.steps += steps;
    result.trace = trace;
    for (const [what, times] of Object.entries(counts))
      result.counts[what] = (result.counts[what] ?? 0) + times;
    if (failure === undefined) continue;
    result.failures.push({ seed, why: failure, trace });
    if (stops) break;
  }
  return result;
}

/** Runs all schedules of a search. */
export function search(what: Search): Promise<Found> {
  return new ExhaustiveSearch(what).run();
}

parentPort?.on('message', (job: Job | Search) => {
  const done: Promise<Result | Found> = 'sends' in job ? search(job) : run(job);
  void done.then((result) => parentPort?.postMessage(result));
});

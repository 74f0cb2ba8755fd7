import { Worker } from 'node:worker_threads';
import type { Job, Result } from './worker.ts';
import type { Found, Search } from './world/exhaustive.ts';

/** Cores of the machines that run the checks. */
const WORKERS = 2;
/** Schedules of one job: a worker that is done takes the next. Short, so that a failure ends the others soon. */
const CHUNK = 50;

/**
 * Runs schedules in threads of their own.
 *
 * @param file Of `buildWorker`.
 */
export async function runSchedules(file: string, job: Job, workers = WORKERS): Promise<Result> {
  const total: Result = { schedules: 0, steps: 0, failures: [], counts: {}, trace: undefined };
  const endBefore = job.from + job.count;
  let next = job.from;
  const lane = async (): Promise<void> => {
    const worker = new Worker(file);
    try {
      while (next < endBefore && !(job.stops && total.failures.length > 0)) {
        const from = next;
        const count = Math.min(CHUNK, endBefore - from);
        next += count;
        add(total, await ask<Result>(worker, { ...job, from, count }));
      }
    } finally {
      await worker.terminate();
    }
  };
  await Promise.all(Array.from({ length: workers }, lane));
  total.failures.sort((a, b) => a.seed - b.seed);
  return total;
}

/** Runs every schedule of a search in a thread of its own. */
export async function search(file: string, what: Search): Promise<Found> {
  const worker = new Worker(file);
  try {
    return await ask<Found>(worker, what);
  } finally {
    await worker.terminate();
  }
}

function ask<Answer>(worker: Worker, job: Job | Search): Promise<Answer> {
  return new Promise((resolve, reject) => {
    worker.once('message', (result: Answer) => {
      worker.off('error', reject);
      resolve(result);
    });
    worker.once('error', reject);
    worker.postMessage(job);
  });
}

function add(total: Result, { schedules, steps, failures, counts, trace }: Result): void {
  total.schedules += schedules;
  total.steps += steps;
  total.failures.push(...failures);
  total.trace = trace;
  for (const [what, times] of Object.entries(counts)) total.counts[what] = (total.counts[what] ?? 0) + times;
}

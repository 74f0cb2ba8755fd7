import { Worker } from 'node:worker_threads';
import type { Job, Result } from './worker.ts';
import type { Found, Search } from './world/exhaustive.ts';

/** Cores of the machines that run the checks. */
const WORKERS = 2;
/** Schedules of one job: a worker that is done takes the next. Short, so that a failure ends the others soon. */
const CHUNK = 50;

/** Threads that run schedules of one build. They last, because the first hundreds of each take several times as long. */
export class Pool {
  readonly #workers: Worker[];
  readonly #idle: Worker[];
  readonly #waiting: ((worker: Worker) => void)[] = [];

  /** @param file Of `buildWorker`. */
  constructor(file: string, size = WORKERS) {
    this.#workers = Array.from({ length: size }, () => new Worker(file));
    this.#idle = [...this.#workers];
  }

  /** Runs schedules, as many at a time as there are threads. */
  async run(job: Job): Promise<Result> {
    const total: Result = { schedules: 0, steps: 0, failures: [], counts: {}, trace: undefined };
    const endBefore = job.from + job.count;
    let next = job.from;
    const lane = async (): Promise<void> => {
      while (next < endBefore && !(job.stops && total.failures.length > 0)) {
        const from = next;
        const count = Math.min(CHUNK, endBefore - from);
        next += count;
        add(total, await this.#ask<Result>({ ...job, from, count }));
      }
    };
    await Promise.all(this.#workers.map(lane));
    total.failures.sort((a, b) => a.seed - b.seed);
    return total;
  }

  /** Runs every schedule of a search, in one thread. */
  search(what: Search): Promise<Found> {
    return this.#ask<Found>(what);
  }

  async close(): Promise<void> {
    await Promise.all(this.#workers.map((worker) => worker.terminate()));
  }

  async #ask<Answer>(job: Job | Search): Promise<Answer> {
    const worker = this.#idle.pop() ?? (await new Promise<Worker>((resolve) => this.#waiting.push(resolve)));
    try {
      return await ask<Answer>(worker, job);
    } finally {
      const take = this.#waiting.shift();
      if (take === undefined) this.#idle.push(worker);
      else take(worker);
    }
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

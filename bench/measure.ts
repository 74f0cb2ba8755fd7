import { coreFor } from './cores.ts';
import type { Job, Subject } from './jobs.ts';
import { Peer } from './process.ts';
import type { Cpu, Done, LoadSpec, Memory } from './subjects.ts';

/** What one subject has shown, round by round. */
export interface Measured {
  name: string;
  /** Operations a second. */
  rates: number[];
  /** CPU time for each, in microseconds: of the server, and of the load. */
  cpu: number[];
  loadCpu: number[];
  /** Memory of the server for each, in bytes: resident, and after all have gone and their grace is over. */
  rss: number[];
  left: number[];
}

export interface MeasureOptions {
  /** Folder of the bundles. */
  code: string;
  rounds: number;
  /** Where CPU profiles of servers go; `undefined` for none. */
  profiles: string | undefined;
}

/** How long after its sessions have gone a server may take to forget them, in ms. */
const FORGET_MS = 15_000;

/** Rounds before those that count, for the compilers. */
const WARM_ROUNDS = 3;

class Pair {
  readonly subject: Subject;
  readonly server: Peer;
  readonly load: Peer;
  port = 0;

  constructor(subject: Subject, { code }: MeasureOptions) {
    this.subject = subject;
    this.server = new Peer({
      file: `${code}/server.mjs`,
      core: coreFor('server'),
      nodeArgs: ['--expose-gc'],
    });
    this.load = new Peer({ file: `${code}/load.mjs`, core: coreFor('load') });
  }

  async start(): Promise<void> {
    this.port = await this.server.ask({ kind: 'start', spec: this.subject.server });
  }

  async run(load: LoadSpec): Promise<{ done: Done; serverCpu: number }> {
    const before = await this.server.ask<Cpu>({ kind: 'cpu' });
    const done = await (load.kind === 'put'
      ? this.server.ask<Done>(load)
      : this.load.ask<Done>({ kind: 'run', server: this.subject.server, port: this.port, load }));
    const after = await this.server.ask<Cpu>({ kind: 'cpu' });
    return { done, serverCpu: after.microseconds - before.microseconds };
  }

  async stop(): Promise<void> {
    await Promise.all([this.load.stop(), this.server.stop()]);
  }
}

/**
 * Measures all subjects of a job, in turns.
 *
 * @throws {RangeError} when a figure came out as none.
 */
export async function measure(job: Job, options: MeasureOptions): Promise<Measured[]> {
  const all = await (job.kind === 'memory' ? measureMemory(job, options) : measureRates(job, options));
  for (const { name, rates, cpu, rss, left } of all) {
    const isWhole = rates.length > 0 && [...rates, ...cpu, ...rss, ...left].every(Number.isFinite);
    if (!isWhole) throw new RangeError(`${job.name}: ${name} was not measured`);
  }
  return all;
}

async function measureRates(job: Job, options: MeasureOptions): Promise<Measured[]> {
  const pairs = job.subjects.map((subject) => new Pair(subject, options));
  try {
    await Promise.all(pairs.map((pair) => pair.start()));
    for (const pair of pairs) {
      for (let round = 0; round < WARM_ROUNDS; round += 1) await pair.run(pair.subject.load);
    }
    const all = pairs.map(({ subject }) => nothingOf(subject));
    for (let round = 0; round < options.rounds; round += 1) {
      for (const i of turns(pairs.length, round)) {
        note(all[i]!, await pairs[i]!.run(pairs[i]!.subject.load));
      }
    }
    if (options.profiles !== undefined) for (const pair of pairs) await profile(pair, options.profiles);
    return all;
  } finally {
    await Promise.all(pairs.map((pair) => pair.stop()));
  }
}

/** Who goes after whom changes from round to round. */
function turns(count: number, round: number): number[] {
  return Array.from({ length: count }, (_, n) => (n + round) % count);
}

/** A round of its own: to be watched takes time. */
async function profile({ server, load, subject, port }: Pair, folder: string): Promise<void> {
  if (subject.load.kind === 'put') return;
  await server.ask({ kind: 'profile' });
  await load.ask({ kind: 'run', server: subject.server, port, load: subject.load });
  await server.ask({ kind: 'profiled', file: `${folder}/${nameOf(subject)}.cpuprofile` });
}

/** A process that has held many does not give its memory back, so each round has processes of its own. */
async function measureMemory(job: Job, options: MeasureOptions): Promise<Measured[]> {
  const all = job.subjects.map(nothingOf);
  for (let round = 0; round < Math.min(options.rounds, 3); round += 1) {
    for (const [i, subject] of job.subjects.entries()) {
      const pair = new Pair(subject, options);
      try {
        await pair.start();
        const { load } = subject;
        const count = 'count' in load ? load.count : 0;
        await pair.run({ kind: 'hold', count: Math.min(100, count) });
        const before = await pair.server.ask<Memory>({ kind: 'memory' });
        const holding = await pair.run(load);
        const { operations } = holding.done;
        const held = await pair.server.ask<Memory>({ kind: 'memory' });
        await pair.run({ kind: 'drop' });
        const gone = await whenForgotten(pair.server);
        note(all[i]!, holding);
        all[i]!.rss.push((held.rss - before.rss) / operations);
        all[i]!.left.push((gone.heapUsed - before.heapUsed) / operations);
      } finally {
        await pair.stop();
      }
    }
  }
  return all;
}

/** Waits until a server holds nothing of those who have gone. @returns Its memory then. */
export async function whenForgotten(server: Peer): Promise<Memory> {
  const startedMs = performance.now();
  for (;;) {
    await new Promise((resolve) => setTimeout(resolve, 2_000));
    const memory = await server.ask<Memory>({ kind: 'memory' });
    if (memory.sessions === 0 && memory.sockets === 0) return memory;
    if (performance.now() - startedMs > FORGET_MS) {
      throw new Error(
        `${memory.sessions} sessions and ${memory.sockets} sockets are still there ${FORGET_MS} ms after all have gone`,
      );
    }
  }
}

function nothingOf({ name }: Subject): Measured {
  return { name, rates: [], cpu: [], loadCpu: [], rss: [], left: [] };
}

function note(measured: Measured, { done, serverCpu }: { done: Done; serverCpu: number }): void {
  const { operations, seconds, microseconds } = done;
  measured.rates.push(operations / seconds);
  measured.cpu.push(serverCpu / operations);
  measured.loadCpu.push(microseconds / operations);
}

function nameOf({ name }: Subject): string {
  return name.replaceAll(/\W+/g, '-');
}

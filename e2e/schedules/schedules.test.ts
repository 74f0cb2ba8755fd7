import { availableParallelism } from 'node:os';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Bundle } from '../../server/testing/bundle.ts';
import { buildWorker } from './build.ts';
import { MUTANTS } from './mutants.ts';
import { Pool } from './pool.ts';
import type { Result } from './worker.ts';
import type { Search } from './world/exhaustive.ts';
import { KINDS } from './world/messages.ts';
import { FAULTS } from './world/profile.ts';

/**
 * Most are the same ones at each run, so that a change which breaks a rule stays red. Any change of the code gives them
 * other steps. The rest is new at each run, so that running again shows more.
 */
const FIXED = { from: 1, count: 90_000 };
const FRESH = { from: 1_000_000 + Math.floor(Math.random() * 1e9), count: 10_000 };
/** `npm run test:schedules -- N SEED` runs others. */
const { WEBGRAM_SCHEDULES, WEBGRAM_SEED } = process.env;
const RANGES =
  WEBGRAM_SCHEDULES === undefined
    ? [FIXED, FRESH]
    : [{ from: Number(WEBGRAM_SEED ?? 1), count: Number(WEBGRAM_SCHEDULES) }];
/** In which each mutant must be caught, and the product must not fail. */
const MUTANT_SCHEDULES = 6_000;
/** Schedules of the product in the profile of each mutant. */
const CONTROL_SCHEDULES = 100;

let bundle: Bundle;
let product: Pool;

beforeAll(async () => {
  bundle = await buildWorker();
  product = new Pool(bundle.file);
});

afterAll(async () => {
  await product.close();
  await bundle.remove();
});

/** What a failure is reported with: the seed, the rule, and the steps when there is one seed only. */
function told({ failures }: Result): string {
  return failures
    .map(({ seed, why, trace }) =>
      [`npm run test:schedules -- 1 ${seed}: ${why}`, ...(trace ?? [])].join('\n'),
    )
    .join('\n');
}

test('the same seed gives the same schedule, another seed another one', async () => {
  const job = { count: 1, profile: {}, traced: true, stops: true };
  const [first, again, other] = [
    await product.run({ ...job, from: 7 }),
    await product.run({ ...job, from: 7 }),
    await product.run({ ...job, from: 8 }),
  ];
  expect(first.trace?.length).toBeGreaterThan(50);
  expect(again.trace).toEqual(first.trace);
  expect(other.trace).not.toEqual(first.trace);
});

test.each(RANGES)(
  '$count random schedules from seed $from keep every rule',
  { timeout: 20 * 60_000 + Math.max(...RANGES.map((range) => range.count)) * 10 },
  async ({ from, count }) => {
    const beganMs = performance.now();
    const result = await product.run({ from, count, profile: {}, traced: count === 1, stops: true });
    const seconds = (performance.now() - beganMs) / 1000;
    console.log(
      `${result.schedules} schedules, ${result.steps} steps, ${seconds.toFixed(0)} s on ${availableParallelism()} cores`,
      JSON.stringify(result.counts),
    );
    expect(told(result)).toBe('');
    expect(result.schedules).toBe(count);
    if (count < 1_000) return;
    // All of it must have happened, or nothing was shown.
    for (const what of WANTED) expect(result.counts[what] ?? 0, what).toBeGreaterThan(count / 200);
  },
);

const WANTED = [...KINDS, ...FAULTS, 'update', 'memo', 'crash with a commit under way'];

const THREE = [
  ['a', 'save'],
  ['b', 'fire'],
  ['a', 'pure'],
] as const;

/** How many schedules there are is part of what they show: a change of it is to be understood. */
const SEARCHES: readonly { name: string; search: Search; atLeast: number; isLong?: true }[] = [
  {
    name: 'one message at any moment, and the node dies at any moment',
    search: { sends: THREE.slice(0, 1), deaths: ['node'], isTogether: false },
    atLeast: 50,
  },
  {
    name: 'one message at any moment, and the host dies at any moment',
    search: { sends: THREE.slice(0, 1), deaths: ['host'], isTogether: false },
    atLeast: 100,
  },
  {
    name: 'three messages of two tabs, and the node dies at any moment',
    search: { sends: THREE, deaths: ['node'], isTogether: true },
    atLeast: 300,
  },
  {
    name: 'three messages of two tabs, and the node dies twice at any moment',
    search: { sends: THREE, deaths: ['node', 'node'], isTogether: true },
    atLeast: 5_000,
  },
  {
    name: 'three messages of two tabs, and node and host die at any moment',
    search: { sends: THREE, deaths: ['node', 'host'], isTogether: true },
    atLeast: 3_000,
    isLong: true,
  },
  {
    name: 'two messages of two tabs at any moment, and the node dies at any moment',
    search: { sends: THREE.slice(0, 2), deaths: ['node'], isTogether: false },
    atLeast: 3_000,
    isLong: true,
  },
  {
    name: 'one message at any moment, and node and host die at any moment',
    search: { sends: THREE.slice(0, 1), deaths: ['node', 'host'], isTogether: false },
    atLeast: 500,
    isLong: true,
  },
];

/** The long ones take some minutes together: `WEBGRAM_SEARCHES=long`. */
const CHOSEN = SEARCHES.filter(({ isLong }) => !isLong || process.env['WEBGRAM_SEARCHES'] === 'long');

test.concurrent.each(CHOSEN)(
  'every schedule: $name',
  { timeout: 30 * 60_000 },
  async ({ name, search, atLeast }) => {
    const found = await product.search(search);
    console.log(`${name}: ${found.schedules} schedules, ${found.states} states`);
    expect(found.failures.map(({ why, steps }) => [why, ...steps].join('\n')).join('\n\n')).toBe('');
    expect(found.schedules).toBeGreaterThanOrEqual(atLeast);
  },
);

test.concurrent.each(MUTANTS)('notices a product that $name', async (mutant) => {
  const broken = await buildWorker(mutant);
  const pool = new Pool(broken.file, 1);
  try {
    const job = { from: 1, profile: mutant.profile ?? {}, traced: false, stops: true };
    const [first] = (await pool.run({ ...job, count: MUTANT_SCHEDULES })).failures;
    console.log(`${mutant.name}: seed ${first?.seed ?? 'none'}, ${first?.why ?? ''}`);
    expect(first).toBeDefined();
    // The same seed is good without the change, and so are others of the kind.
    const whole = await product.run({ ...job, from: first!.seed, count: CONTROL_SCHEDULES });
    expect(told(whole)).toBe('');
  } finally {
    await pool.close();
    await broken.remove();
  }
});

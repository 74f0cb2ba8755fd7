import { availableParallelism } from 'node:os';
import { beforeAll, expect, test } from 'vitest';
import { buildWorker } from './build.ts';
import { MUTANTS } from './mutants.ts';
import { runSchedules, search } from './pool.ts';
import type { Result } from './worker.ts';
import type { Search } from './world/exhaustive.ts';

/** `npm run test:schedules -- N SEED` runs others. */
const SCHEDULES = Number(process.env['WEBGRAM_SCHEDULES'] ?? 10_000);
const SEED = Number(process.env['WEBGRAM_SEED'] ?? 1);
/** In which each mutant must be caught, and the product must not fail. */
const MUTANT_SCHEDULES = 6_000;
/** Schedules of the product in the profile of each mutant. */
const CONTROL_SCHEDULES = 100;

let product: string;

beforeAll(async () => {
  product = await buildWorker();
});

/** What a failure is reported with: the seed, the rule, and the steps when there is one seed only. */
function told({ failures }: Result): string {
  return failures
    .map(({ seed, why, trace }) =>
      [`WEBGRAM_SCHEDULES=1 WEBGRAM_SEED=${seed}: ${why}`, ...(trace ?? [])].join('\n'),
    )
    .join('\n');
}

test('the same seed gives the same schedule, another seed another one', async () => {
  const job = { count: 1, profile: {}, traced: true, stops: true };
  const [first, again, other] = [
    await runSchedules(product, { ...job, from: 7 }),
    await runSchedules(product, { ...job, from: 7 }),
    await runSchedules(product, { ...job, from: 8 }),
  ];
  expect(first.trace?.length).toBeGreaterThan(50);
  expect(again.trace).toEqual(first.trace);
  expect(other.trace).not.toEqual(first.trace);
});

test(
  `${SCHEDULES} random schedules from seed ${SEED} keep every rule`,
  { timeout: SCHEDULES * 60 + 60_000 },
  async () => {
    const traced = SCHEDULES === 1;
    const beganMs = performance.now();
    const result = await runSchedules(product, {
      from: SEED,
      count: SCHEDULES,
      profile: {},
      traced,
      stops: true,
    });
    const seconds = (performance.now() - beganMs) / 1000;
    console.log(
      `${result.schedules} schedules, ${result.steps} steps, ${seconds.toFixed(0)} s on ${availableParallelism()} cores`,
      JSON.stringify(result.counts),
    );
    expect(told(result)).toBe('');
    expect(result.schedules).toBe(SCHEDULES);
    if (SCHEDULES < 1_000) return;
    // All of it must have happened, or nothing was shown.
    for (const what of WANTED) expect(result.counts[what] ?? 0, what).toBeGreaterThan(SCHEDULES / 200);
  },
);

const WANTED = [
  ...['save', 'fire', 'now', 'pure', 'unsaved', 'send', 'tell', 'throw', 'concurrent', 'update', 'memo'],
  ...[
    'cut',
    'half-open',
    'kill host',
    'add host',
    'kill tab',
    'add tab',
    'freeze tab',
    'hide tab',
    'wake tab',
  ],
  ...['crash node', 'crash with a commit under way', 'pause node', 'fail commit', 'sleep'],
];

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

test.concurrent.each(CHOSEN)('every schedule: $name', async ({ name, search: what, atLeast }) => {
  const found = await search(product, what);
  console.log(`${name}: ${found.schedules} schedules, ${found.states} states`);
  expect(found.failures.map(({ why, steps }) => [why, ...steps].join('\n')).join('\n\n')).toBe('');
  expect(found.schedules).toBeGreaterThanOrEqual(atLeast);
});

test.each(MUTANTS)('notices a product that $name', { timeout: 240_000 }, async (mutant) => {
  const file = await buildWorker(mutant);
  const job = { from: 1, profile: mutant.profile ?? {}, traced: false, stops: true };
  const broken = await runSchedules(file, { ...job, count: MUTANT_SCHEDULES });
  const [first] = broken.failures;
  console.log(`${mutant.name}: seed ${first?.seed ?? 'none'}, ${first?.why ?? ''}`);
  expect(first).toBeDefined();
  // The same seed is good without the change, and so are others of the kind.
  const whole = await runSchedules(product, { ...job, from: first!.seed, count: CONTROL_SCHEDULES });
  expect(told(whole)).toBe('');
});

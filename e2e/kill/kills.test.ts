import { expect, test } from 'vitest';
import { chooseSeed } from '../kit/random.ts';
import { KillRun } from './kill-run.ts';

/** The long form: `npm run test:kills -- 200 [SEED]`. */
const ROUNDS = Number(process.env['WEBGRAM_KILL_ROUNDS'] ?? 20);
/** How long a round takes at most on average, in ms. */
const ROUND_MS = 10_000;

test(
  `nothing is lost, doubled or reordered in ${ROUNDS} rounds of kill -9, cuts, stalls, killed hosts and tabs`,
  { timeout: 60_000 + ROUNDS * ROUND_MS },
  async () => {
    const seed = chooseSeed();
    console.log(`npm run test:kills -- ${ROUNDS} ${seed}`);
    const run = await KillRun.start({ seed });
    try {
      for (let round = 0; round < ROUNDS; round += 1) await run.round();
      await run.finish();
    } finally {
      console.log(JSON.stringify(run.figures));
      await run.close();
    }
    expect(run.figures.harms['kill-server']).toBeGreaterThanOrEqual(ROUNDS);
    expect(run.figures.ups).toBeGreaterThan(50 * ROUNDS);
  },
);

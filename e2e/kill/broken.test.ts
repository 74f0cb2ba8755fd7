import { expect, test } from 'vitest';
import { chooseSeed } from '../kit/random.ts';
import { KillFault, KillRun } from './kill-run.ts';

/** More than are ever needed: in about every second round a kill falls between the two writes. */
const ROUNDS = 40;
const TIMEOUT_MS = 240_000;

// The harness has to notice what it is there for.
for (const [split, fault] of [
  // What was handled is not marked, so it is handled again.
  ['data', /is there twice/],
  // What is marked and answered was never kept.
  ['marks', /at its place \d+ stands/],
] as const) {
  test(`a commit in two writes, the ${split} first, is found out`, { timeout: TIMEOUT_MS }, async () => {
    const seed = chooseSeed();
    console.log(`WEBGRAM_SEED=${seed}`);
    const run = await KillRun.start({ seed, split, patienceMs: 8_000 });
    try {
      await expect(allRounds(run, fault)).rejects.toThrow(fault);
    } finally {
      console.log(JSON.stringify(run.figures));
      await run.close();
    }
  });
}

/** Goes on until that is found: what is only late is no proof. */
async function allRounds(run: KillRun, wanted: RegExp): Promise<void> {
  for (let round = 0; round < ROUNDS; round += 1) {
    try {
      await run.round();
    } catch (error) {
      if (!(error instanceof KillFault) || wanted.test(error.message)) throw error;
    }
  }
}

import type { TestInfo } from '@playwright/test';
import { randomFrom } from '../../server/testing/random.ts';

/**
 * Numbers in [0, 1) from a seed that is printed and noted in the report; `WEBGRAM_SEED` repeats a run.
 *
 * @returns The generator.
 */
export function randomFor(testInfo: TestInfo): () => number {
  const seed = chooseSeed();
  testInfo.annotations.push({ type: 'seed', description: String(seed) });
  console.log(`WEBGRAM_SEED=${seed} for "${testInfo.title}"`);
  return randomFrom(seed);
}

/** @returns `WEBGRAM_SEED`, or one that nobody has chosen. */
export function chooseSeed(): number {
  return Number(process.env['WEBGRAM_SEED'] ?? Math.floor(Math.random() * 2 ** 32)) >>> 0;
}

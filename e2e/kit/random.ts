import type { TestInfo } from '@playwright/test';

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

/** @returns Numbers in [0, 1), the same for the same seed (mulberry32). */
export function randomFrom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

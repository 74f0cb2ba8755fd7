import type { TestInfo } from '@playwright/test';

/**
 * Numbers in [0, 1) from a seed that is printed and noted in the report; `WEBGRAM_SEED` repeats a run.
 *
 * @returns The generator (mulberry32).
 */
export function randomFor(testInfo: TestInfo): () => number {
  let state = Number(process.env['WEBGRAM_SEED'] ?? Math.floor(Math.random() * 2 ** 32)) >>> 0;
  testInfo.annotations.push({ type: 'seed', description: String(state) });
  console.log(`WEBGRAM_SEED=${state} for "${testInfo.title}"`);
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

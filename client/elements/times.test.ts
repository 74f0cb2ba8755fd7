import { expect, test } from 'vitest';
import { sayAgo } from './times.ts';

const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;
const DAY_MS = 24 * HOUR_MS;
const NOW_MS = Date.UTC(2026, 5, 1);

test.each([
  [0, 'this minute'],
  [-5 * MINUTE_MS, 'this minute'],
  [59 * MINUTE_MS, '59 minutes ago'],
  [90 * MINUTE_MS, '1 hour ago'],
  [DAY_MS, 'yesterday'],
  [13 * DAY_MS, 'last week'],
  [61 * DAY_MS, '2 months ago'],
  [800 * DAY_MS, '2 years ago'],
])('%i ms before is said as "%s"', (passedMs, words) => {
  expect(sayAgo(NOW_MS - passedMs, NOW_MS, 'en')).toBe(words);
});

import { expect, test } from 'vitest';
import { next, STABLE_MS, WAKE_PAUSE_MS } from './reconnect.ts';
import type { ReconnectEvent, ReconnectState } from './reconnect.ts';

function run(...events: ReconnectEvent[]): ReconnectState {
  return events.reduce<ReconnectState>(next, { name: 'idle' });
}

const start = { name: 'start', nowMs: 0 } as const;
const down = (nowMs: number, more: Partial<ReconnectEvent & { name: 'down' }> = {}): ReconnectEvent => ({
  name: 'down',
  nowMs,
  reason: 'gone',
  random: 0.999999,
  ...more,
});

test('the ceiling of the wait doubles with each failure, up to 20 s', () => {
  const waits: number[] = [];
  let state = run(start);
  for (let i = 0; i < 8; i++) {
    state = next(state, down(0));
    if (state.name !== 'waiting') throw new Error(state.name);
    waits.push(Math.ceil(state.retryAtMs / 500) * 500);
    state = next(state, { name: 'retry', nowMs: 0 });
  }
  expect(waits).toEqual([500, 1_000, 2_000, 4_000, 8_000, 16_000, 20_000, 20_000]);
});

test('the jitter is full: chance decides between nothing and the ceiling', () => {
  expect(run(start, down(10, { random: 0 }))).toMatchObject({ name: 'waiting', retryAtMs: 10 });
  expect(run(start, down(10, { random: 0.5 }))).toMatchObject({ name: 'waiting', retryAtMs: 260 });
});

test('a link that lived long starts the waits anew, one that came and went does not', () => {
  const retry = { name: 'retry', nowMs: 20_000 } as const;
  const up = { name: 'up', nowMs: 20_000 } as const;
  const before: ReconnectEvent[] = [start, down(0), retry, down(0), retry, up];
  expect(run(...before, down(20_000 + STABLE_MS))).toMatchObject({ attempt: 1 });
  expect(run(...before, down(20_000 + STABLE_MS - 1))).toMatchObject({ attempt: 3 });
});

test('the server can ask for a longer wait', () => {
  expect(run(start, down(0, { random: 0, minimumMs: 7_000 }))).toMatchObject({ retryAtMs: 7_000 });
});

test('a wake tries again at once', () => {
  const state = run(start, down(0, { minimumMs: 60_000 }), { name: 'wake', nowMs: 30_000 });
  expect(state).toEqual({ name: 'connecting', attempt: 1, sinceMs: 30_000 });
});

test('however many wakes come, there is one try a second', () => {
  let state = run(start, down(0, { minimumMs: 60_000 }));
  let tries = 0;
  for (let nowMs = 0; nowMs < 5_000; nowMs += 10) {
    state = next(state, { name: 'wake', nowMs });
    if (state.name === 'waiting' && state.retryAtMs <= nowMs) state = next(state, { name: 'retry', nowMs });
    if (state.name !== 'connecting') continue;
    tries += 1;
    state = next(state, down(nowMs, { minimumMs: 60_000 }));
  }
  expect(WAKE_PAUSE_MS).toBe(1_000);
  expect(tries).toBeLessThanOrEqual(5);
  expect(tries).toBeGreaterThanOrEqual(4);
});

test('a wake leaves a link alone that is there or under way', () => {
  const wake = { name: 'wake', nowMs: 1 } as const;
  const connecting = run(start);
  expect(next(connecting, wake)).toBe(connecting);
  const active = run(start, { name: 'up', nowMs: 1 });
  expect(next(active, wake)).toBe(active);
});

test('denied is final; only that nobody needs it any more ends it', () => {
  const denied = run(start, { name: 'denied', reason: 'revoked' });
  for (const event of [
    start,
    down(1),
    { name: 'retry', nowMs: 1 },
    { name: 'wake', nowMs: 1 },
  ] as ReconnectEvent[]) {
    expect(next(denied, event)).toBe(denied);
  }
  expect(next(denied, { name: 'stop' })).toEqual({ name: 'idle' });
});

test('what comes late changes nothing', () => {
  const waiting = run(start, down(0));
  expect(next(waiting, { name: 'up', nowMs: 1 })).toBe(waiting);
  expect(next(waiting, down(1))).toBe(waiting);
  expect(run({ name: 'retry', nowMs: 1 })).toEqual({ name: 'idle' });
});

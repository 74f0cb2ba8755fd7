import { beforeEach, expect, test, vi } from 'vitest';
import { until } from '../../worker/host/testing/until.ts';
import { maySeize, seize, stand } from './election.ts';
import { FakeLocks } from './testing/fake-locks.ts';

let locks: FakeLocks;
let events: string[];

beforeEach(() => {
  locks = new FakeLocks();
  events = [];
  vi.stubGlobal('navigator', { locks });
});

function candidate(name: string) {
  return {
    elected: () => void events.push(`${name} elected`),
    deposed: () => void events.push(`${name} deposed`),
  };
}

test('one leads, and the next one when it resigns', async () => {
  const resign = stand(candidate('a'));
  stand(candidate('b'));
  await until(() => events.length === 1);
  resign();
  await until(() => events.length === 2);
  expect(events).toEqual(['a elected', 'b elected']);
});

test('who no longer waits is not elected', async () => {
  const resign = stand(candidate('a'));
  stand(candidate('b'))();
  stand(candidate('c'));
  await until(() => events.length === 1);
  resign();
  await until(() => events.length === 2);
  expect(events).toEqual(['a elected', 'c elected']);
});

test('who seizes the lead leads, and the one that had it is deposed and known to be dead', async () => {
  const isStolen = locks.request('host-a', {}, () => new Promise(() => undefined)).catch(() => true);
  stand(candidate('a'));
  await until(() => events.length === 1);
  seize(candidate('b'), 'host-a');
  await until(() => events.length === 3);
  expect(events.sort()).toEqual(['a deposed', 'a elected', 'b elected']);
  expect(await isStolen).toBe(true);
  await until(() => !locks.isHeld('host-a'));
});

test('one tab a minute may seize the lead', async () => {
  vi.useFakeTimers({ toFake: ['setTimeout'] });
  try {
    expect(await maySeize()).toBe(true);
    expect(await maySeize()).toBe(false);
    await vi.advanceTimersByTimeAsync(60_000);
    expect(await maySeize()).toBe(true);
  } finally {
    vi.useRealTimers();
  }
});

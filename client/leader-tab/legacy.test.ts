import { beforeEach, expect, test, vi } from 'vitest';
import { rest, until } from '../../worker/host/testing/until.ts';
import type { Unfinished } from '../../worker/host/unfinished.ts';
import { LeftBehind } from './left-behind.ts';
import { Legacy } from './legacy.ts';
import { FakeLocks } from './testing/fake-locks.ts';

let locks: FakeLocks;
let finished: Unfinished[];
let legacy: Legacy;

beforeEach(() => {
  locks = new FakeLocks();
  vi.stubGlobal('navigator', { locks });
  finished = [];
  legacy = new Legacy((unfinished) => finished.push(unfinished));
});

/** Of a tab that has attached `counter` times and whose first `count` messages nobody has acknowledged. */
function left(name: string, { counter = 1, count = 0 } = {}): Unfinished {
  return {
    lock: `tab-${name}`,
    address: 'wss://server.example/',
    demands: { pins: undefined, sealed: false },
    localID: 'me',
    attach: {
      kind: 'attach',
      tabID: name.padEnd(22, 'A'),
      counter,
      received: { life: 0, n: 0 },
      oldest: 1,
      seen: { timeMs: 0, life: 0, commit: 0 },
      info: {},
    },
    ups: Array.from({ length: count }, (_, n) => up(n + 1)),
  };
}

function up(seq: number) {
  return { kind: 'send' as const, seq, ack: { life: 0, n: 0 }, type: 'x', args: [seq] };
}

function hold(name: string): void {
  void locks.request(`tab-${name}`, {}, () => new Promise(() => undefined)).catch(() => undefined);
}

test('is finished when the tab has gone, and not before', async () => {
  hold('a');
  legacy.add([left('a', { count: 2 })]);
  await rest();
  expect(finished).toEqual([]);
  expect(legacy.waiting).toEqual([left('a', { count: 2 })]);
  locks.take('tab-a');
  await until(() => finished.length === 1);
  expect(finished).toEqual([left('a', { count: 2 })]);
  expect(legacy.waiting).toEqual([]);
});

test('is not finished for a tab that has come to this leader', async () => {
  hold('a');
  legacy.add([left('a')]);
  legacy.cameHere('tab-a');
  legacy.add([left('a', { counter: 2 })]);
  locks.take('tab-a');
  await rest();
  expect(finished).toEqual([]);
});

test('is finished once, however many tell it, and again when there is more', async () => {
  legacy.add([left('a', { count: 1 })]);
  await until(() => finished.length === 1);
  legacy.add([left('a', { count: 1 }), left('a')]);
  await rest();
  expect(finished).toHaveLength(1);
  legacy.add([left('a', { count: 2 })]);
  await until(() => finished.length === 2);
  legacy.add([left('a', { counter: 2, count: 2 })]);
  await until(() => finished.length === 3);
});

test('what is nonsense is not taken', async () => {
  for (const nonsense of [null, 7, [{}], [{ ...left('a'), lock: 7 }], [{ ...left('a'), ups: [{}] }]]) {
    legacy.add(nonsense);
  }
  await rest();
  expect(finished).toEqual([]);
});

test('nothing is finished behind its end', async () => {
  hold('a');
  legacy.add([left('a')]);
  legacy.end();
  locks.take('tab-a');
  await rest();
  expect(finished).toEqual([]);
});

test('a leader is told what those before it have left, also the one that has died without a word', () => {
  const leftBehind = new LeftBehind();
  expect(leftBehind.leads('first', [left('a')])).toEqual([]);
  leftBehind.more('first', left('a').attach.tabID, [up(1)]);
  leftBehind.more('first', left('b').attach.tabID, [up(1)]);
  leftBehind.more('another', left('a').attach.tabID, [up(2)]);
  expect(leftBehind.leads('second', [left('b')])).toEqual([left('a', { count: 1 })]);
  expect(leftBehind.leads('second', [left('b', { counter: 2 })])).toEqual([]);
  leftBehind.gone('second', [left('c')]);
  expect(leftBehind.leads('third', [])).toEqual([left('b', { counter: 2 }), left('c')]);
});

test('what one that no longer leads leaves is heard by the one that does', () => {
  const leftBehind = new LeftBehind();
  leftBehind.leads('second', [left('b')]);
  leftBehind.gone('first', [left('a')]);
  expect(leftBehind.takeAll()).toEqual([left('b')]);
  expect(leftBehind.takeAll()).toEqual([]);
});

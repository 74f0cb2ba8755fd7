import { expect, test } from 'vitest';
import { findFaults, isSettled, newRecord } from './tally.ts';
import type { Kept, TabRecord } from './tally.ts';

/** Two tabs that did one message of each sort, and what must come of it. */
function scene(): { kept: Kept; a: TabRecord; b: TabRecord } {
  const a: TabRecord = {
    ...newRecord('a'),
    kinds: ['add', 'append', 'tell', 'addAndTell', 'later', 'stage', 'fail', 'look'],
    answers: {
      1: { value: 1 },
      4: { value: 4 },
      5: { value: 5 },
      7: { code: 'NO' },
      8: { value: 4 },
    },
    told: [3, 4],
    updated: [5],
    all: [4],
  };
  const b: TabRecord = { ...newRecord('b'), kinds: ['addNow'], answers: { 1: { value: 2 } }, all: [4] };
  const kept = { done: ['a.1', 'b.1', 'a.2', 'a.4'], updates: ['a.5'], staged: ['a.6'] };
  return { kept, a, b };
}

test('finds nothing where all is well', () => {
  const { kept, a, b } = scene();
  expect(findFaults(kept, [a, b])).toEqual([]);
  expect(isSettled(a)).toBe(true);
});

const breaks: Record<string, (scene: { kept: Kept; a: TabRecord; b: TabRecord }) => void> = {
  'an entry is lost': ({ kept }) => kept.done.splice(2, 1),
  'an entry is doubled': ({ kept }) => kept.done.splice(3, 0, 'a.2'),
  'entries of a tab are swapped': ({ kept }) => kept.done.splice(2, 2, 'a.4', 'a.2'),
  'an entry comes from nowhere': ({ kept }) => kept.done.push('c.1'),
  'the last entry is lost': ({ kept }) => kept.done.pop(),
  'an ask hangs': ({ a }) => delete a.answers[1],
  'an ask is answered with the place of another': ({ a }) => (a.answers[1] = { value: 2 }),
  'an ask is rejected': ({ a }) => (a.answers[4] = { code: 'WEBGRAM_GAP' }),
  'a failure is answered': ({ a }) => (a.answers[7] = { value: 1 }),
  'a failure has an effect': ({ kept }) => kept.done.push('a.7'),
  'an answer sees less than was there': ({ a }) => (a.answers[8] = { value: 3 }),
  'a down is lost': ({ a }) => a.told.shift(),
  'a down is doubled': ({ a }) => a.told.push(4),
  'downs are swapped': ({ a }) => a.told.reverse(),
  'an update is told of and not kept': ({ kept }) => kept.updates.pop(),
  'an update is kept and not told of': ({ a }) => a.updated.pop(),
  'an update is doubled': ({ kept, a }) => [kept.updates.push('a.5'), a.updated.push(5)],
  'an unsaved change is doubled': ({ kept }) => kept.staged.push('a.6'),
  'a message to all tabs is doubled': ({ b }) => b.all.push(4),
};

for (const [what, damage] of Object.entries(breaks)) {
  test(`finds that ${what}`, () => {
    const damaged = scene();
    damage(damaged);
    expect(findFaults(damaged.kept, [damaged.a, damaged.b])).not.toEqual([]);
  });
}

test('of a killed tab everything that it had handed over must be there, and nothing else', () => {
  const { kept, a, b } = scene();
  a.end = { name: 'killed', handedOver: 2 };
  a.told = [3];
  a.updated = [];
  expect(findFaults(kept, [a, b])).not.toEqual([]);
  kept.done.pop();
  delete a.answers[4];
  delete a.answers[8];
  expect(findFaults(kept, [a, b])).toEqual([]);
  kept.done.pop();
  expect(findFaults(kept, [a, b])).not.toEqual([]);
});

test('of a tab whose host died too the first messages may be there, without holes', () => {
  const { kept, a, b } = scene();
  a.end = { name: 'lost' };
  a.answers = {};
  kept.done = ['b.1'];
  b.answers[1] = { value: 1 };
  expect(findFaults(kept, [a, b])).toEqual([]);
  kept.done = ['b.1', 'a.2'];
  expect(findFaults(kept, [a, b])).not.toEqual([]);
});

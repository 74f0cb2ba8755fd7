import { expect, test } from 'vitest';
import { initialsOf, toneOf, TONES } from './avatar.ts';

test.each([
  ['Alice Meyer', 'AM'],
  ['  wilhelmina alexandra of York ', 'WY'],
  ['alice@example.org', 'A'],
  ['john.doe@example.org', 'JD'],
  ['李小龙', '李'],
  ['مريم سعيد', 'مس'],
  ['e\u0301mile zola', 'E\u0301Z'],
  ['𝒜lice', '𝒜'],
  ['4711', '4'],
  ['🙂', ''],
  ['', ''],
])('the initials of %s are %s', (name, initials) => {
  expect(initialsOf(name)).toBe(initials);
});

test('an account has always the same tone, and accounts use all of them', () => {
  const tones = Array.from({ length: 200 }, (_, i) => toneOf(`user${i}@example.org`));
  expect(new Set(tones)).toEqual(new Set(Array.from({ length: TONES }, (_, i) => i)));
  expect(toneOf('alice')).toBe(toneOf('alice'));
});

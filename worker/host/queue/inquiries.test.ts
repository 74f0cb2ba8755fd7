import { START } from 'webgram';
import type { AttachRefusal, Outcome, UpEnvelope } from 'webgram';
import { beforeEach, expect, test } from 'vitest';
import type { Leaving } from '../port-protocol.ts';
import { FIRST_INQUIRY } from './durable-queue.ts';
import type { CallingTab, QueueAnswer } from './durable-queue.ts';
import { ManualClock } from '../testing/manual-clock.ts';
import { Inquiries, INQUIRY_LIMIT_MS } from './inquiries.ts';

const OUTCOME: Outcome = { resumed: true, reason: 'resumed', gap: { sent: 0, received: 0 } };

let inquiries: Inquiries;
let clock: ManualClock;
/** Tabs that the host still speaks for. */
let here: Set<string>;
let ups: UpEnvelope[];
let words: QueueAnswer[];
let call: number;

beforeEach(() => {
  here = new Set();
  clock = new ManualClock();
  inquiries = new Inquiries((tabID) => here.has(tabID), clock);
  ups = [];
  words = [];
  call = 0;
});

const tab: CallingTab = { lock: 'a tab', post: (word) => words.push(word as QueueAnswer) };

function tabIDOf(name: string): string {
  return `${name.repeat(21)}A`;
}

interface Numbers {
  counter?: number;
  oldest?: number;
  next?: number;
  sessionID?: number | null;
}

function left(name: string, { counter = 2, oldest = 4, next = 7, sessionID = 1 }: Numbers = {}): Leaving {
  return [tabIDOf(name), counter, oldest, next, sessionID];
}

function ask(...list: unknown[]): void {
  inquiries.ask(tab, { kind: 'queue', call: ++call, what: 'left', type: 'left', args: list, bytes: 0 });
}

function link(sessionID = 1): void {
  inquiries.linked({ send: (up) => ups.push(up) }, sessionID);
}

/** The server answers the last attach. */
function answer(received: number, outcome: Outcome | AttachRefusal = OUTCOME): void {
  const { tab, counter } = ups.findLast(({ kind }) => kind === 'attach') as UpEnvelope & { kind: 'attach' };
  inquiries.receive({
    ...{ kind: 'attached', tab, counter, received, outcome, life: 1, timeMs: 1, lineage: [] },
  });
}

test('asks the server in the name of each page in turn, and answers how many messages it has not received', () => {
  ask(left('a'), left('b', { oldest: 1 }));
  expect(ups).toEqual([]);
  link();
  expect(ups).toEqual([
    {
      ...{ kind: 'attach', tab: FIRST_INQUIRY + 1, tabID: tabIDOf('a'), counter: 2, received: START },
      ...{ oldest: 4, seen: { timeMs: 1, life: 0, commit: 0 }, info: { departed: true } },
    },
  ]);
  answer(5);
  expect(ups[1]).toEqual({ kind: 'detach', tab: FIRST_INQUIRY + 1, counter: 2, why: 'gone' });
  expect(ups[2]).toMatchObject({ kind: 'attach', tab: FIRST_INQUIRY + 2, oldest: 1 });
  answer(0);
  expect(words).toEqual([{ kind: 'answer', call: 1, value: [1, 6] }]);
  expect(ups).toHaveLength(4);
});

test('what was received after all is not lost; what is forgotten is; a later attach speaks for itself', () => {
  link();
  for (const name of ['a', 'b', 'c', 'd']) ask(left(name));
  answer(6);
  answer(0, 'forgotten');
  answer(0, 'stale');
  answer(9);
  expect(words.map(({ value }) => value)).toEqual([[0], [3], [0], [0]]);
  expect(ups.filter(({ kind }) => kind === 'detach')).toHaveLength(2);
});

test('says that it is too early for a tab that the host speaks for, and for one of another session', () => {
  here.add(tabIDOf('a'));
  link();
  ask(left('a'), left('b', { sessionID: 2 }), left('c', { sessionID: null }));
  expect(ups).toHaveLength(1);
  answer(3);
  expect(words[0]?.value).toEqual([null, null, 3]);
});

test('asks again over the next link what was not answered', () => {
  link();
  ask(left('a'));
  inquiries.unlinked();
  ask(left('b'));
  expect(ups).toHaveLength(1);
  ups = [];
  link();
  answer(6);
  answer(5);
  expect(words.map(({ value }) => value)).toEqual([[0], [1]]);
  expect(ups.map(({ kind }) => kind)).toEqual(['attach', 'detach', 'attach', 'detach']);
});

test('what is no note of a page is answered, and nothing of it reaches the server', () => {
  link();
  ask(null, 7, ['short', 2, 4, 7], left('a', { counter: 0 }), left('a', { next: -1 }), 'text');
  inquiries.ask(tab, { kind: 'queue', call: 9, what: 'left', type: 'left', args: null as never, bytes: 0 });
  expect(words.map(({ value }) => value)).toEqual([[0, 0, 0, 0, 0, 0], []]);
  expect(ups).toEqual([]);
});

test('where no link follows it is too early to tell', () => {
  ask(left('a'), left('b'));
  ask(left('c'));
  expect(words).toEqual([]);
  inquiries.end();
  expect(words).toEqual([
    { kind: 'answer', call: 1, value: [null, null] },
    { kind: 'answer', call: 2, value: [null] },
  ]);
});

test('who asks waits 5 s of a link at most: of what is not known then it is too early to tell', () => {
  ask(left('a'), left('b'));
  clock.advance(INQUIRY_LIMIT_MS);
  link();
  answer(6);
  clock.advance(INQUIRY_LIMIT_MS - 1);
  ask(left('c'));
  expect(words).toEqual([]);
  clock.advance(1);
  expect(words).toEqual([{ kind: 'answer', call: 1, value: [0, null] }]);

  // What the server says of it all the same ends its stream, and is said to nobody.
  answer(5);
  expect(ups.map(({ kind }) => kind)).toEqual(['attach', 'detach', 'attach', 'detach', 'attach']);
  answer(3);
  expect(words).toEqual([words[0], { kind: 'answer', call: 2, value: [3] }]);
  expect(clock.pending).toBe(0);
  ask(left('d'));
  clock.advance(INQUIRY_LIMIT_MS);
  expect(words[2]).toEqual({ kind: 'answer', call: 3, value: [null] });
});

test('time without a link does not count', () => {
  link();
  ask(left('a'));
  clock.advance(INQUIRY_LIMIT_MS - 1);
  inquiries.unlinked();
  clock.advance(INQUIRY_LIMIT_MS);
  expect(words).toEqual([]);
  link();
  answer(5);
  expect(words.map(({ value }) => value)).toEqual([[1]]);
  expect(clock.pending).toBe(0);
});

/** What a tab can do to the server of the harness, and what that must leave behind. */
export const KINDS = {
  add: { how: 'ask', adds: true },
  addSlowly: { how: 'ask', adds: true },
  addNow: { how: 'ask', adds: true },
  addAndTell: { how: 'ask', adds: true, tells: true },
  append: { how: 'send', adds: true },
  tell: { how: 'send', tells: true },
  look: { how: 'ask' },
  fail: { how: 'ask' },
  later: { how: 'ask' },
  stage: { how: 'send' },
} as const satisfies Record<string, { how: 'ask' | 'send'; adds?: true; tells?: true }>;

export type Kind = keyof typeof KINDS;

/** What came of an ask. */
export type Settled = { value: unknown } | { code: string };

/** What one tab did and saw. Its messages are numbered 1, 2, 3 … over all kinds. */
export interface TabRecord {
  /** Names it within its session. */
  tab: string;
  kinds: Kind[];
  /** By number; what is missing has not settled. */
  answers: Record<number, Settled>;
  /** Numbers that came with `told` and `updated`, and places that came with `all`, in the order they came. */
  told: number[];
  updated: number[];
  all: number[];
  /**
   * - `alive`: everything it did must have arrived.
   * - `killed`: what it had handed over must have, the messages up to `handedOver`.
   * - `lost`: its host died as well, so nobody can tell how much; but no more than it did, and nothing in between.
   */
  end: { name: 'alive' } | { name: 'killed'; handedOver: number } | { name: 'lost' };
}

/** What the server holds of a session. Entries are `tab.number`. */
export interface Kept {
  done: string[];
  updates: string[];
  staged: string[];
}

export function newRecord(tab: string): TabRecord {
  return { tab, kinds: [], answers: {}, told: [], updated: [], all: [], end: { name: 'alive' } };
}

/** Whether every ask of a tab that lives has settled. */
export function isSettled({ kinds, answers, end }: TabRecord): boolean {
  return end.name !== 'alive' || kinds.every((kind, i) => KINDS[kind].how === 'send' || i + 1 in answers);
}

/** Entries that a tab's messages must have made. */
export function entriesOf({ tab, kinds, end }: TabRecord): string[] {
  const count = end.name === 'killed' ? end.handedOver : kinds.length;
  return numbersOf(kinds.slice(0, count), 'adds').map((n) => `${tab}.${n}`);
}

/**
 * Compares what the server holds with what the tabs did and saw.
 *
 * @returns One sentence for each thing that was lost, doubled, reordered or left hanging; none when all is well.
 */
export function findFaults({ done, updates, staged }: Kept, records: readonly TabRecord[]): string[] {
  const faults: string[] = [];
  const known = new Set(records.map(({ tab }) => tab));
  for (const entry of [...done, ...updates, ...staged]) {
    if (!known.has(tabOf(entry))) faults.push(`${entry} comes from no tab`);
  }
  for (const list of [done, updates, staged]) {
    const twice = list.find((entry, i) => list.indexOf(entry) < i);
    if (twice !== undefined) faults.push(`${twice} is there twice`);
  }
  for (const record of records) {
    const { tab, kinds, told, updated, all, end } = record;
    const say = (what: string): void => {
      faults.push(`tab ${tab} (${end.name}): ${what}`);
    };
    const compare = (name: string, got: readonly unknown[], wanted: readonly unknown[], isPart: boolean) => {
      const fault = difference(got, isPart ? wanted.slice(0, got.length) : wanted);
      if (fault !== undefined) say(`${name}: ${fault}`);
    };
    const own = (entries: string[]): string[] => entries.filter((entry) => tabOf(entry) === tab);
    const numbers = (entries: string[]): number[] => own(entries).map((e) => Number(e.split('.')[1]));
    const isDead = end.name !== 'alive';
    compare('done', own(done), entriesOf(record), end.name === 'lost');
    compare('told', told, numbersOf(kinds, 'tells'), isDead);
    compare('updated', updated, numbers(updates), isDead);
    for (const [name, list, kind] of [
      ['updates', numbers(updates), 'later'],
      ['staged', numbers(staged), 'stage'],
    ] as const) {
      if (!isAscending(list)) say(`${name} are doubled or out of order: ${list.join()}`);
      if (list.some((n) => kinds[n - 1] !== kind)) say(`${name} has what was never sent: ${list.join()}`);
    }
    if (!isAscending(all)) say(`what all tabs are told came doubled or out of order: ${all.join()}`);
    for (const fault of faultsOfAnswers(record, done)) say(fault);
  }
  return faults;
}

function faultsOfAnswers({ tab, kinds, answers, end }: TabRecord, done: readonly string[]): string[] {
  const faults: string[] = [];
  let place = 0;
  for (const [i, kind] of kinds.entries()) {
    const n = i + 1;
    if (KINDS[kind].how === 'send') continue;
    const answer = answers[n];
    if (answer === undefined) {
      if (end.name === 'alive') faults.push(`ask ${n} (${kind}) hangs`);
      continue;
    }
    if ('code' in answer) {
      const isMeant = kind === 'fail' && answer.code === 'NO';
      if (!isMeant) faults.push(`ask ${n} (${kind}) was rejected with ${answer.code}`);
      continue;
    }
    const { value } = answer;
    if (kind === 'fail') faults.push(`ask ${n} (fail) was answered`);
    else if (kind === 'later') {
      if (value !== n) faults.push(`ask ${n} (later) was answered with ${String(value)}`);
    } else if (kind === 'look') {
      if (Number(value) < place)
        faults.push(`ask ${n} saw ${String(value)} entries where there were ${place}`);
      place = Math.max(place, Number(value));
    } else {
      if (Number(value) <= place)
        faults.push(`ask ${n} was answered with place ${String(value)} after ${place}`);
      place = Number(value);
      const stands = done[place - 1];
      if (stands !== `${tab}.${n}`) faults.push(`ask ${n} (${kind}): at its place ${place} stands ${stands}`);
    }
  }
  return faults;
}

function numbersOf(kinds: readonly Kind[], what: 'adds' | 'tells'): number[] {
  return kinds.flatMap((kind, i) => (what in KINDS[kind] ? [i + 1] : []));
}

function tabOf(entry: string): string {
  return entry.slice(0, entry.lastIndexOf('.'));
}

function isAscending(numbers: readonly number[]): boolean {
  return numbers.every((n, i) => i === 0 || n > numbers[i - 1]!);
}

function difference(got: readonly unknown[], wanted: readonly unknown[]): string | undefined {
  const at = Array.from({ length: Math.max(got.length, wanted.length) }, (_, i) => i).find(
    (i) => got[i] !== wanted[i],
  );
  if (at === undefined) return undefined;
  const near = (list: readonly unknown[]): string =>
    list.slice(Math.max(0, at - 2), at + 4).join(' ') || 'nothing';
  return `from ${at} on (of ${got.length}, wanted ${wanted.length}): ${near(got)}, wanted ${near(wanted)}`;
}

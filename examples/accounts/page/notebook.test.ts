import { beforeEach, describe, expect, test } from 'vitest';
import type { Note } from '../messages.ts';
import { Notebook } from './notebook.ts';

let notebook: Notebook;
let revisions: number;

beforeEach(() => {
  notebook = new Notebook('alice');
  revisions = 0;
});

function note(id: string, revision: string, version: number, more: Partial<Note> = {}): Note {
  const text = `${id} ${revision}`;
  const rest = { owner: 'alice', sharedWith: [], title: '', text, editedBy: 'alice', editedMs: version };
  return { id, revision, version, ...rest, ...more };
}

/** Writes, and takes what is to be sent. */
function edit(id: string, text: string) {
  notebook.write(id, '', text, 1_000);
  return notebook.takeEdits(() => `r${(revisions += 1)}`);
}

function shown(): string[] {
  return notebook.list().map(({ text, isWaiting }) => `${text}${isWaiting ? ' (waiting)' : ''}`);
}

describe('what the server tells', () => {
  test('is shown, changed last first', () => {
    notebook.replace([note('a', 'x', 1), note('b', 'x', 2)], true);
    expect(shown()).toEqual(['b x', 'a x']);
  });

  test('never goes back to an older version, whatever comes late', () => {
    notebook.take(note('a', 'y', 2));
    notebook.take(note('a', 'x', 1));
    expect(shown()).toEqual(['a y']);
    notebook.remove('a', 3);
    notebook.replace([note('a', 'y', 2)], true);
    expect(shown()).toEqual([]);
    notebook.take(note('a', 'z', 4));
    notebook.remove('a', 3);
    expect(shown()).toEqual(['a z']);
  });

  test('takes away what is no longer there', () => {
    notebook.replace([note('a', 'x', 1), note('b', 'x', 1)], true);
    notebook.replace([note('b', 'x', 1)], true);
    expect(shown()).toEqual(['b x']);
  });
});

describe('what is written here', () => {
  test('stands over what the server has until that has all of it', () => {
    notebook.take(note('a', 'x', 1));
    expect(edit('a', '1')).toMatchObject([
      { account: 'alice', id: 'a', base: 'x', revision: 'r1', text: '1' },
    ]);
    expect(edit('a', '2')).toMatchObject([{ base: 'r1', revision: 'r2' }]);
    notebook.take(note('a', 'r1', 2));
    expect(shown()).toEqual(['2 (waiting)']);
    notebook.take(note('a', 'r2', 3, { text: '2' }));
    expect(shown()).toEqual(['2']);
    expect(edit('a', '3')).toMatchObject([{ base: 'r2' }]);
  });

  test('is sent once', () => {
    expect(edit('a', '1')).toMatchObject([{ base: '' }]);
    expect(notebook.takeEdits(() => 'again')).toEqual([]);
  });

  test('goes on beside the other text when it did not fit any more', () => {
    notebook.take(note('a', 'x', 1));
    edit('a', '1');
    edit('a', '12');
    notebook.write('a', '', '123', 1_000);
    notebook.take(note('a', 'other', 2));
    expect(notebook.take(note('copy', 'r1', 1, { copyOf: 'a' }))).toBe('a');
    expect(shown()).toEqual(['123 (waiting)', 'a other']);
    expect(notebook.takeEdits(() => 'r3')).toMatchObject([{ id: 'copy', base: 'r2', text: '123' }]);
    notebook.take(note('copy', 'r3', 3, { copyOf: 'a', text: '123' }));
    expect(shown().sort()).toEqual(['123', 'a other']);
    expect(notebook.otherTextOf('a')?.id).toBe('copy');
    expect(notebook.otherTextOf('copy')?.id).toBe('a');
  });

  test('of another device does not take hold of it', () => {
    notebook.take(note('a', 'x', 1));
    edit('a', '1');
    expect(notebook.take(note('copy', 'foreign', 1, { copyOf: 'a' }))).toBeUndefined();
    expect(notebook.get('a')).toMatchObject({ text: '1', isWaiting: true });
  });

  test('is kept when it was refused, and sent again with what is written next', () => {
    edit('a', '1');
    expect(notebook.refuse({ id: 'a', revision: 'r1', message: 'full' })).toBe(true);
    expect(notebook.get('a')).toMatchObject({ text: '1', problem: 'full', isWaiting: true });
    expect(notebook.takeEdits(() => 'again')).toEqual([]);
    expect(edit('a', '2')).toMatchObject([{ base: '', revision: 'r2', text: '2' }]);
    expect(notebook.refuse({ id: 'unknown', revision: 'r1', message: 'full' })).toBe(false);
  });

  test('counts as arrived when nothing of this browser is on its way, although the echo was missed', () => {
    notebook.take(note('a', 'x', 1));
    edit('a', '1');
    notebook.replace([note('a', 'other', 5)], false);
    expect(shown()).toEqual(['1 (waiting)']);
    notebook.replace([note('a', 'other', 5)], true);
    expect(shown()).toEqual(['a other']);
  });

  test('outlives its note', () => {
    notebook.take(note('a', 'x', 1));
    edit('a', '1');
    notebook.remove('a', 2);
    expect(shown()).toEqual(['1 (waiting)']);
    notebook.take(note('copy', 'r1', 1, { copyOf: 'a', text: '1' }));
    expect(shown()).toEqual(['1']);
  });
});

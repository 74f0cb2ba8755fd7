import type { Note } from '../messages.ts';
import { client } from './client.ts';
import { avatar, element, make, shortTime, wordsOf, write } from './elements.ts';
import type { Entry } from './notebook.ts';
import { isSure } from './question.ts';
import { openSharing, showSharing } from './sharing.ts';

const title = element<HTMLInputElement>('title');
const text = element<HTMLTextAreaElement>('text');
const share = element<HTMLButtonElement>('share');
const remove = element<HTMLButtonElement>('delete');
/** What is open. */
let open: Entry | undefined;
let account = '';

export interface EditorEvents {
  typed: (id: string, title: string, text: string) => void;
  /** A note that the server has never had is to be forgotten. */
  discarded: (id: string) => void;
}

export function startEditor({ typed, discarded }: EditorEvents): void {
  for (const field of [title, text]) {
    field.addEventListener('input', () => {
      if (open !== undefined) typed(open.id, title.value, text.value);
    });
  }
  title.addEventListener('keydown', ({ key, isComposing }) => {
    if (key === 'Enter' && !isComposing) text.focus();
  });
  share.addEventListener('click', () => openSharing());
  remove.addEventListener('click', () => {
    if (open === undefined) return;
    if (open.note === undefined) discarded(open.id);
    else void takeAway(open.note);
  });
}

/** @param other The other text, when two have edited the note at once. */
export function showEditor(entry: Entry | undefined, user: string, other: Note | undefined): void {
  const isAnother = entry?.id !== open?.id;
  open = entry;
  account = user;
  element('editor').hidden = entry === undefined;
  element('nothing').hidden = entry !== undefined;
  if (isAnother) write(element('editor-problem'), '');
  showSharing(entry?.note, user);
  // Also where nothing is open, nothing of it is left behind.
  fill(title, entry?.title ?? '');
  fill(text, entry?.text ?? '');
  showPeople(entry?.note);
  if (entry === undefined) return;
  write(element('saved'), describe(entry));
  element('saved').dataset['state'] = entry.isWaiting ? 'waiting' : 'saved';
  if (entry.problem !== undefined) write(element('editor-problem'), `Not kept: ${entry.problem}`);
  else if (!entry.isWaiting && element('editor-problem').textContent?.startsWith('Not kept'))
    write(element('editor-problem'), '');
  showConflict(entry, other);
  const isOwner = entry.note === undefined || entry.note.owner === account;
  const canChange = client.state.name === 'active' && !entry.isWaiting;
  share.disabled = !canChange || entry.note === undefined || !isOwner;
  remove.disabled = !canChange && entry.note !== undefined;
  write(remove.querySelector('span')!, isOwner ? 'Delete' : 'Leave');
}

export function focusEditor(): void {
  title.focus();
}

/** Writes what others have changed, and leaves the caret where it is. */
function fill(field: HTMLInputElement | HTMLTextAreaElement, value: string): void {
  if (field.value === value) return;
  const { selectionStart, selectionEnd } = field;
  field.value = value;
  if (document.activeElement === field) field.setSelectionRange(selectionStart, selectionEnd);
}

function describe({ note, isWaiting, problem }: Entry): string {
  if (problem !== undefined) return 'Not kept';
  if (isWaiting)
    return client.state.name === 'active' ? 'Saving…' : 'Kept in this browser until it is connected';
  return note === undefined ? '' : `Saved, ${shortTime(note.editedMs)}`;
}

function showPeople(note: Note | undefined): void {
  const people = note === undefined ? [] : [note.owner, ...note.sharedWith];
  const line = element('people');
  if (note === undefined || people.length < 2) line.replaceChildren();
  else {
    const others = people.filter((name) => name !== account).join(', ');
    const words = `With ${others}. Last edited by ${note.editedBy === account ? 'you' : note.editedBy}.`;
    if (line.textContent?.endsWith(words)) return;
    line.replaceChildren(make('span', { className: 'people' }, ...people.map(avatar)), words);
  }
}

function showConflict({ note }: Entry, other: Note | undefined): void {
  const line = element('conflict');
  line.hidden = other === undefined;
  if (other === undefined) return;
  const who = note?.copyOf === undefined ? other.owner : note.owner;
  const whose = who === account ? 'you' : who;
  const words =
    note?.copyOf === undefined
      ? `It was edited in two places at once. What ${whose} wrote in the other one is a note beside this.`
      : `The note had changed when what ${whose} wrote here arrived, so both texts are kept.`;
  write(line.querySelector('span')!, words);
  line.querySelector('a')!.href = `#${other.id}`;
}

async function takeAway(note: Note): Promise<void> {
  const isOwner = note.owner === account;
  const name = note.title.trim() || 'Untitled';
  const whom = note.sharedWith.length > 0 ? ' for everybody who has it' : '';
  const question = isOwner ? `Delete “${name}”${whom}?` : `Leave “${name}”? ${note.owner} keeps it.`;
  if (!(await isSure(question, isOwner ? 'Delete' : 'Leave'))) return;
  try {
    if (isOwner) await client.ask('delete-note', note.id, note.revision);
    else await client.ask('unshare-note', note.id, account);
    location.hash = '';
  } catch (error) {
    write(element('editor-problem'), wordsOf(error));
  }
}

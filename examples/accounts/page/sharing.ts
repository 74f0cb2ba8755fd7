import type { Note } from '../messages.ts';
import { client } from './client.ts';
import { avatar, element, make, wordsOf, write } from './elements.ts';

const dialog = element<HTMLDialogElement>('sharing');
const name = element<HTMLInputElement>('sharing-name');
let note: Note | undefined;

element('sharing-form').addEventListener('submit', (event) => {
  event.preventDefault();
  void change('share-note', name.value);
});

dialog.addEventListener('close', () => {
  write(element('sharing-problem'), '');
  name.value = '';
});

export function openSharing(): void {
  dialog.showModal();
}

/** Shows with whom the open note is shared; others may change that at any time. */
export function showSharing(open: Note | undefined, account: string): void {
  if (open?.id !== note?.id || open?.owner !== account) dialog.close();
  if (open?.version === note?.version && open?.id === note?.id) return;
  note = open;
  const people = open?.sharedWith ?? [];
  element('sharing-people').replaceChildren(
    ...people.map((person) => {
      const remove = make('button', { type: 'button', className: 'quiet' }, 'Remove');
      remove.setAttribute('aria-label', `Remove ${person}`);
      remove.addEventListener('click', () => void change('unshare-note', person));
      return make('li', {}, avatar(person), make('span', {}, person), remove);
    }),
  );
}

async function change(what: 'share-note' | 'unshare-note', person: string): Promise<void> {
  if (note === undefined) return;
  write(element('sharing-problem'), '');
  try {
    await client.ask(what, note.id, person);
    name.value = '';
    name.focus();
  } catch (error) {
    write(element('sharing-problem'), wordsOf(error));
  }
}

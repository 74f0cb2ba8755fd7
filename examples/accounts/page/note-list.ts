import { avatar, element, make, shortTime } from './elements.ts';
import type { Entry } from './notebook.ts';

const list = element('notes');
const items = new Map<string, { item: HTMLElement; shown: string }>();

/** @param open Id of the note that is open. */
export function showList(entries: readonly Entry[], open: string): void {
  element('count').textContent = entries.length === 0 ? '' : String(entries.length);
  element('no-notes').hidden = entries.length > 0;
  const ids = new Set(entries.map(({ id }) => id));
  for (const [id, { item }] of items) {
    if (ids.has(id)) continue;
    item.remove();
    items.delete(id);
  }
  entries.forEach((entry, at) => {
    const item = itemOf(entry);
    // What is in its place stays there, and keeps the focus.
    if (list.children[at] !== item) list.insertBefore(item, list.children[at] ?? null);
    const link = item.firstElementChild as HTMLElement;
    if (entry.id === open) link.setAttribute('aria-current', 'page');
    else link.removeAttribute('aria-current');
  });
}

function itemOf(entry: Entry): HTMLElement {
  const known = items.get(entry.id);
  const shown = JSON.stringify([entry.title, entry.text.slice(0, 200), entry.changedMs, stateOf(entry)]);
  if (known?.shown === shown) return known.item;
  const item = known?.item ?? make('li', {}, make('a', { href: `#${entry.id}` }));
  const people = entry.note === undefined ? [] : [entry.note.owner, ...entry.note.sharedWith];
  const time = make(
    'time',
    { dateTime: new Date(entry.changedMs).toISOString() },
    shortTime(entry.changedMs),
  );
  const foot = make('span', { className: 'foot' }, time);
  const { mark } = stateOf(entry);
  if (mark !== '') foot.append(make('span', { className: 'mark' }, mark));
  if (people.length > 1)
    foot.append(
      make('span', { className: 'people' }, ...people.slice(0, 4).map(avatar)),
      make('span', { className: 'unseen' }, `Shared: ${people.join(', ')}`),
    );
  item.firstElementChild!.replaceChildren(
    make('strong', {}, entry.title.trim() || 'Untitled'),
    make('span', { className: 'start' }, entry.text.slice(0, 200) || 'No text yet'),
    foot,
  );
  items.set(entry.id, { item, shown });
  return item;
}

function stateOf({ note, isWaiting, problem }: Entry) {
  let mark = '';
  if (problem !== undefined) mark = 'Not kept';
  else if (isWaiting) mark = 'Waiting';
  else if (note?.copyOf !== undefined) mark = 'Two texts';
  return { mark, sharedWith: note?.sharedWith };
}

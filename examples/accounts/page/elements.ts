/** @returns The element of index.html with that id. */
export function element<E extends HTMLElement = HTMLElement>(id: string): E {
  const found = document.getElementById(id);
  if (found === null) throw new Error(`index.html must have an element with the id '${id}'`);
  return found as E;
}

/** Makes an element with properties and children. */
export function make<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  properties: Partial<HTMLElementTagNameMap[K]> = {},
  ...children: (Node | string)[]
): HTMLElementTagNameMap[K] {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

/** Writes only what has changed: assistive technology reads every write. */
export function write(target: HTMLElement, text: string): void {
  if (target.textContent !== text) target.textContent = text;
}

/** The first letter of a name in a circle, in a colour that is always his. */
export function avatar(name: string): HTMLElement {
  const made = make('span', { className: 'avatar', title: name, ariaHidden: 'true' }, name.slice(0, 1));
  const sum = [...name].reduce((all, letter) => all * 31 + letter.charCodeAt(0), 7);
  made.dataset['hue'] = String(sum % 6);
  return made;
}

const TIME = new Intl.DateTimeFormat(undefined, { hour: '2-digit', minute: '2-digit' });
const DAY = new Intl.DateTimeFormat(undefined, { day: 'numeric', month: 'short' });

/** The time of today, or the day of earlier. */
export function shortTime(ms: number): string {
  const isToday = new Date(ms).toDateString() === new Date().toDateString();
  return (isToday ? TIME : DAY).format(ms);
}

/** What to tell the user of a promise that was rejected. */
export function wordsOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

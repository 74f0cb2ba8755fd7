import { html, nothing } from 'lit';
import type { TemplateResult } from 'lit';
import { icons } from './icons.ts';

/** Backgrounds that initials can have; the styles name each. */
export const TONES = 8;

/** @returns The first letters of the first and the last word; empty when there is no letter. */
export function initialsOf(name: string): string {
  // What stands behind the @ belongs to nobody in particular.
  const words = (name.split('@')[0] ?? '').match(/[\p{L}\p{N}][\p{L}\p{N}\p{M}]*/gu) ?? [];
  const chosen = words.length > 1 ? [words[0], words.at(-1)] : words;
  return chosen.map((word) => firstLetter(word ?? '')).join('');
}

/** With the marks that belong to it. */
function firstLetter(word: string): string {
  return (/^.\p{M}*/u.exec(word)?.[0] ?? '').toLocaleUpperCase();
}

/** @returns 0 to `TONES - 1`, always the same for one text. */
export function toneOf(text: string): number {
  let hash = 0;
  for (const character of text) hash = (hash * 31 + character.codePointAt(0)!) >>> 0;
  return hash % TONES;
}

/** What is shown of a person. */
interface Face {
  /** Without one it is nobody. */
  name: string | undefined;
  /** Chooses the colour. */
  account: string | undefined;
  picture: string | undefined;
}

/** A picture, above the initials that show until it is there, and when it cannot be. */
export function renderAvatar({ name, account, picture }: Face): TemplateResult {
  const initials = initialsOf(name ?? '');
  const tone = name === undefined ? 'nobody' : `tone-${toneOf(account ?? name)}`;
  return html`<span part="avatar" class="avatar ${tone}" aria-hidden="true"
    >${initials === '' ? icons.person : initials}${
      picture === undefined
        ? nothing
        : html`<img
            alt=""
            referrerpolicy="no-referrer"
            draggable="false"
            .src=${picture}
            @load=${showPicture}
            @error=${hidePicture}
          />`
    }</span
  >`;
}

function showPicture({ target }: Event): void {
  (target as HTMLElement).hidden = false;
}

function hidePicture({ target }: Event): void {
  (target as HTMLElement).hidden = true;
}

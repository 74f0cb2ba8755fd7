import axe from 'axe-core';
import { cdp, page, type CDPSession } from 'vitest/browser';
import { onTestFinished } from 'vitest';

/** Of the provider, whose types name no such session. */
type ChromiumSession = CDPSession & { send(method: string, params: unknown): Promise<unknown> };

type Media = Partial<Record<'prefers-color-scheme' | 'forced-colors' | 'prefers-reduced-motion', string>>;

/** What an element is looked at in: its name, what the user has set, and the direction of the page. */
export const LOOKS = [
  ['light', { 'prefers-color-scheme': 'light' }, 'ltr'],
  ['dark', { 'prefers-color-scheme': 'dark' }, 'ltr'],
  ['forced colours', { 'forced-colors': 'active' }, 'ltr'],
  ['right to left', {}, 'rtl'],
] as const;

/** What a user has set in the system; tests without it have none of it. */
export async function emulate(media: Media): Promise<void> {
  await setMedia(media);
  onTestFinished(() => setMedia({}));
}

async function setMedia(media: Media): Promise<void> {
  const features = Object.entries({
    'prefers-color-scheme': 'light',
    'forced-colors': 'none',
    // Nothing is half faded in when it is looked at.
    'prefers-reduced-motion': 'reduce',
    ...media,
  }).map(([name, value]) => ({ name, value }));
  await (cdp() as ChromiumSession).send('Emulation.setEmulatedMedia', { features });
}

/** A page with one element, which is removed when the test ends. */
export function show<E extends HTMLElement>(tag: string, properties: Partial<E>): E {
  const main = document.createElement('main');
  const heading = document.createElement('h1');
  heading.textContent = 'Example';
  const element = Object.assign(document.createElement(tag), properties) as E;
  // axe takes a page without a background for white.
  main.style.background = 'light-dark(#fff, #121212)';
  main.append(heading, element);
  document.body.append(main);
  document.documentElement.lang = 'en';
  document.documentElement.style.colorScheme = 'light dark';
  document.title = 'Example';
  onTestFinished(() => main.remove());
  return element;
}

/** @returns What violates WCAG 2.2 AA or axe's best practices, with where. */
export async function violations(): Promise<string[]> {
  const { violations } = await axe.run(document.querySelector('main')!);
  return violations.flatMap(({ id, nodes }) =>
    nodes.map(({ target, failureSummary }) => `${id}: ${String(target)}: ${failureSummary}`),
  );
}

/** Buttons and fields that can be seen and are less than 44 px wide or high. */
export function smallTargets(element: HTMLElement): string[] {
  return [...element.shadowRoot!.querySelectorAll('button, input')]
    .filter((target) => target.checkVisibility())
    .filter((target) => {
      const { width, height } = target.getBoundingClientRect();
      return width < 44 || height < 44;
    })
    .map((target) => target.outerHTML);
}

/** Whether nothing makes the page wider than its window. */
export function fits(): boolean {
  const { scrollWidth, clientWidth } = document.documentElement;
  return scrollWidth <= clientWidth;
}

/** The name of what has the focus, in the shadow tree of the element. */
export function focused(element: HTMLElement): string {
  const active = element.shadowRoot!.activeElement?.cloneNode(true) as Element | undefined;
  for (const unseen of active?.querySelectorAll('[aria-hidden]') ?? []) unseen.remove();
  const name = active?.getAttribute('aria-label') ?? active?.textContent ?? 'nothing';
  return name.replace(/\s+/g, ' ').trim();
}

/** Notes the events of a type from now on. */
export function heard<T extends keyof HTMLElementEventMap>(type: T): HTMLElementEventMap[T][] {
  const events: HTMLElementEventMap[T][] = [];
  const note = (event: Event) => events.push(event as HTMLElementEventMap[T]);
  document.addEventListener(type, note);
  onTestFinished(() => document.removeEventListener(type, note));
  return events;
}

/** What a screen reader is told. */
export const status = () => page.getByRole('status');

import { expect, test } from 'vitest';

test.each([
  ['accounts', 'webgram-accounts', () => import('./accounts.ts'), () => import('./accounts-define.ts')],
  ['devices', 'webgram-devices', () => import('./devices.ts'), () => import('./devices-define.ts')],
])('%s.ts defines no element; its define file does, once', async (_name, tag, load, define) => {
  const early = document.createElement(tag);
  Object.assign(early, { labels: { retry: 'Nochmal' } });
  await load();
  expect(customElements.get(tag)).toBeUndefined();
  await define();
  expect(customElements.get(tag)).toBeDefined();
  // What the page has set before is not lost.
  document.body.append(early);
  customElements.upgrade(early);
  expect(early).toBeInstanceOf(customElements.get(tag));
  await Reflect.get(early, 'updateComplete');
  expect(Object.hasOwn(early, 'labels')).toBe(false);
  expect(Reflect.get(early, 'labels')).toEqual({ retry: 'Nochmal' });
  early.remove();
});

test('a page may have both files of a definition', async () => {
  await import('./accounts-define.ts');
  const first = customElements.get('webgram-accounts');
  const again = './accounts-define.ts?again';
  await import(/* @vite-ignore */ again);
  expect(customElements.get('webgram-accounts')).toBe(first);
});

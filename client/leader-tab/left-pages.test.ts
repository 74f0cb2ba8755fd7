import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import type { Leaving } from '../../worker/host/port-protocol.ts';
import type { AskAboutLeft } from '../environment.ts';
import { takeLeft } from './left-pages.ts';

let stored: Map<string, string>;
let page: EventTarget;

beforeEach(() => {
  stored = new Map();
  page = new EventTarget();
  // Names are own properties, as they are in a browser.
  const storage: object = new Proxy(
    {
      getItem: (name: string) => stored.get(name) ?? null,
      setItem: (name: string, value: string) => stored.set(name, value),
      removeItem: (name: string) => stored.delete(name),
    },
    {
      ownKeys: () => [...stored.keys()],
      getOwnPropertyDescriptor: () => ({ enumerable: true, configurable: true }),
    },
  );
  vi.stubGlobal('localStorage', storage);
  vi.stubGlobal('addEventListener', page.addEventListener.bind(page));
  vi.stubGlobal('removeEventListener', page.removeEventListener.bind(page));
});

afterEach(() => {
  vi.unstubAllGlobals();
});

function note(name: string): void {
  stored.set(name, JSON.stringify([name, 2, 4, 7, 1] satisfies Leaving));
}

test('what is lost is told once, and notes of other addresses stay', async () => {
  for (const name of ['left a', 'left b', 'other c']) note(name);
  stored.set('left junk', '{');
  const seen: Leaving[][] = [];
  const ask: AskAboutLeft = (...left) => {
    seen.push(left);
    // Another page begins meanwhile.
    expect([...stored.keys()]).toEqual(['other c']);
    return Promise.resolve([3, 1]);
  };
  expect(await takeLeft('left ', ask)).toBe(4);
  expect(seen).toEqual([
    [
      ['left a', 2, 4, 7, 1],
      ['left b', 2, 4, 7, 1],
    ],
  ]);
  expect([...stored.keys()]).toEqual(['other c']);
  page.dispatchEvent(new Event('pagehide'));
  expect([...stored.keys()]).toEqual(['other c']);
});

test('what nobody can tell yet is put back for the next page, and dropped when it never can', async () => {
  for (const name of ['left a', 'left b']) note(name);
  expect(await takeLeft('left ', () => Promise.resolve([null, 2]))).toBe(2);
  expect([...stored.keys()]).toEqual(['left a']);
  let looks = 1;
  while (stored.size > 0) {
    await takeLeft('left ', () => Promise.resolve([null]));
    looks += 1;
  }
  expect(looks).toBe(20);
});

test('a page that goes before it was answered, or whose client ends, leaves the notes to the next', async () => {
  note('left a');
  let give: (answers: number[]) => void = () => undefined;
  const first = takeLeft('left ', () => new Promise((resolve) => (give = resolve)));
  page.dispatchEvent(new Event('pagehide'));
  expect([...stored.keys()]).toEqual(['left a']);
  give([3]);
  expect(await first).toBe(0);
  expect(await takeLeft('left ', () => Promise.reject(new Error('closed')))).toBe(0);
  expect([...stored.keys()]).toEqual(['left a']);
  expect(await takeLeft('left ', () => Promise.resolve([3]))).toBe(3);
});

import { expect, test } from 'vitest';
import { StorageLock } from './storage-lock.ts';
import { hold, watchLock } from './web-locks.ts';
import type { HostAddress } from './port-protocol.ts';

/** The next promise that is rejected and that nobody looks after. */
function unhandled(): Promise<unknown> {
  return new Promise((resolve) => {
    const listener = (event: PromiseRejectionEvent): void => {
      // The test runner would count it as well.
      event.preventDefault();
      event.stopImmediatePropagation();
      removeEventListener('unhandledrejection', listener, { capture: true });
      resolve(event.reason);
    };
    addEventListener('unhandledrejection', listener, { capture: true });
  });
}

test('a watch that is given up is silent; one that cannot be kept is not', async () => {
  const name = `lock ${crypto.randomUUID()}`;
  await hold(name, {});
  let isGone = false;
  watchLock(name, () => {
    isGone = true;
  })();
  const rejected = unhandled();
  // Browsers refuse names that begin so.
  watchLock(`-${name}`, () => {
    isGone = true;
  });
  expect(await rejected).toMatchObject({ name: 'NotSupportedError' });
  expect(isGone).toBe(false);
});

test('a watch ends when the lock is free', async () => {
  const name = `lock ${crypto.randomUUID()}`;
  let release = (): void => undefined;
  await new Promise<void>((held) => {
    void navigator.locks.request(name, () => {
      held();
      return new Promise<void>((resolve) => (release = resolve));
    });
  });
  const gone = new Promise<void>((resolve) => {
    watchLock(name, resolve);
  });
  release();
  await gone;
});

test('the host that starts last has the storage, and the one before knows where it is', async () => {
  const lost: [string, HostAddress][] = [];
  const start = async (name: string): Promise<StorageLock> => {
    const at = { script: `https://page.example/${name}.js`, build: name, why: 'a test' };
    const lock = new StorageLock(`${name} ${crypto.randomUUID()}`, at, (to) => lost.push([name, to]));
    await lock.take();
    return lock;
  };
  const first = await start('first');
  await first.isAlone();
  expect(lost).toEqual([]);
  const second = await start('second');
  await first.isAlone();
  expect(lost).toEqual([
    ['first', { script: 'https://page.example/second.js', build: 'second', why: 'a test' }],
  ]);
  await second.isAlone();
  expect(lost).toHaveLength(1);
  await start('third');
  await second.isAlone();
  expect(lost[1]).toEqual([
    'second',
    { script: 'https://page.example/third.js', build: 'third', why: 'a test' },
  ]);
});

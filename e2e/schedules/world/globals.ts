import type { Actor } from './actor.ts';
import { randomBytes } from './toy-crypto.ts';
import type { FakeTime } from './fake-time.ts';

/** What the classes under test take from the process, and a schedule must decide. */
interface Taken {
  time: FakeTime;
  owner: () => Actor;
  /** In [0, 1). */
  random: () => number;
}

/**
 * Puts clock, timers and chance of a schedule in place of the process's.
 *
 * Microtasks and `process.nextTick` stay: they belong to the step that starts them, which is over when they are done.
 *
 * @returns Puts the process's own back.
 */
export function takeGlobals({ time, owner, random }: Taken): () => void {
  const own: [object, string, PropertyDescriptor | undefined][] = [];
  const take = (target: object, name: string, value: unknown): void => {
    own.push([target, name, Object.getOwnPropertyDescriptor(target, name)]);
    Object.defineProperty(target, name, { value, writable: true, configurable: true });
  };
  const clear = (timer: unknown): void => {
    time.clear(timer);
  };
  take(globalThis, 'setTimeout', (callback: () => void, delayMs?: number) => time.set(callback, delayMs));
  take(globalThis, 'setInterval', (callback: () => void, everyMs: number) =>
    time.set(callback, everyMs, true),
  );
  take(globalThis, 'clearTimeout', clear);
  take(globalThis, 'clearInterval', clear);
  take(Date, 'now', () => time.nowMs);
  take(performance, 'now', () => time.nowMs);
  take(Math, 'random', random);
  take(globalThis.crypto, 'getRandomValues', (bytes: Uint8Array) => {
    bytes.set(randomBytes(owner(), bytes.length));
    return bytes;
  });
  return () => {
    for (const [target, name, before] of own.reverse()) {
      if (before === undefined) Reflect.deleteProperty(target, name);
      else Object.defineProperty(target, name, before);
    }
  };
}

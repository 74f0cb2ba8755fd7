import { readFile } from 'node:fs/promises';
import { expect, test } from 'vitest';
import { closeClasses } from '../../closed-classes.ts';

/** Runs a script whose last line is an expression. */
function run(code: string): unknown {
  // eslint-disable-next-line @typescript-eslint/no-implied-eval -- to run what was written is the test
  return new Function(code.replace(/\n(?=.*\s*$)/, '\nreturn '))();
}

/** Expects the same of a script with classes and with closures. */
function expectSame(code: string): string {
  const closed = closeClasses(code).code;
  expect(closed).not.toMatch(/class |#/);
  expect(run(closed)).toEqual(run(code));
  return closed;
}

test('fields, methods and accessors', () => {
  expectSame(`
    class Counter {
      #count = 0;
      #step;
      // What others may read.
      names = ['count'];
      unset;
      constructor(step, { start = 0 } = {}) {
        this.#step = step;
        this.#count = start;
      }
      get count() { return this.#count; }
      set count(count) { this.#count = this.#checked(count); }
      #checked(count) { return Math.max(0, count); }
      get #next() { return this.#count + this.#step; }
      add() { this.#count = this.#next; return this; }
      addLater = async () => { this.add(); return this.count; };
      *twice() { yield this.add().count; yield this.add().count; }
    }
    const counter = new Counter(2, { start: 3 });
    counter.count = -7;
    [counter.count, counter.add().count, [...counter.twice()], counter.names, Object.keys(counter).includes('unset')]`);
});

test('each has variables of its own', () => {
  expectSame(`
    class One { #n = 1; get n() { return this.#n; } more() { this.#n += 1; return new Two(this); } }
    class Two { #n = 2; #of; constructor(of) { this.#of = of; } sum() { return this.#n + this.#of.n; } }
    const one = new One(); const other = new One();
    [one.more().sum(), one.n, other.n]`);
});

test('a constructor that ends before', () => {
  expectSame(`
    class Made { #value; constructor(value) { if (!value) { return; } [1].map(() => { return 2; }); this.#value = value; } get value() { return this.#value; } }
    [new Made(0).value, new Made(1).value]`);
});

test('members have names of their own beside those of the constructor', () => {
  expectSame(`
    const label = 'outside';
    class Named {
      #of;
      constructor(name, { size = 1 } = {}) { const text = name + size; this.#of = text; [2].map((label) => label); }
      name(size) { const { text } = { text: size.name }; return [text, size.size, label, this.#of]; }
    }
    new Named('a').name({ name: 'b', size: 3 })`);
});

test('functions with a this of their own keep it', () => {
  expectSame(`
    class Keys { of(value) { const seen = []; JSON.stringify(value, function (key, item) { seen.push([this === value, key]); return item; }); return seen; } }
    new Keys().of({ a: 1, b: 2 })`);
});

test('what others see is made with new, and is an instance', () => {
  const code = `
    class Shown { #n = 1; get n() { return this.#n; } }
    class More extends Shown { twice() { return 2 * this.n; } }
    const more = new More(); const { Shown: Other } = { Shown };
    [more instanceof Shown, more.twice(), new Other() instanceof Shown, new Shown().constructor === Shown]`;
  const closed = closeClasses(code).code;
  expect(closed).toContain('new Shown()');
  expect(run(closed)).toEqual([true, 2, true, true]);
});

test('what this file alone knows is called', () => {
  const closed = expectSame(`
    class Inner { #n = 1; get n() { return this.#n; } }
    [new Inner().n]`);
  expect(closed).not.toContain('new ');
});

test.each([
  ['another object', 'class A { #n = 1; same(other) { return this.#n === other.#n; } }'],
  ['private setter', 'class A { set #n(n) { this.m = n; } set(n) { this.#n = n; } }'],
  ['this of its own', 'class A { #n = 1; of() { return function () { return this.#n; }; } }'],
  ['returns something', 'class A { #n = 1; constructor() { return []; } }'],
  ['hides', 'const n = 1; class A { #m; constructor(n) { this.#m = n; } of() { return n; } }'],
  ['hides', 'const n = 1; class A { constructor() { const { m: [n] } = {}; } of = () => [n]; }'],
  ['computed name', 'class A { #n = 1; ["x"] = 1; }'],
])('%s stops the build', (words, code) => {
  expect(() => closeClasses(`\n${code}\nA`)).toThrow(words);
});

test.each(['webgram.js', 'client.js'])('%s has no private names left', async (name) => {
  const built = await readFile(new URL(`../../dist/browser/${name}`, import.meta.url), 'utf8');
  expect(built).not.toMatch(/this\.#/);
});

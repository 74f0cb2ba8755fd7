import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { Script } from 'node:vm';
import { describe, expect, test } from 'vitest';

const BROWSER = new URL('../../dist/browser/', import.meta.url);
const scripts = readdirSync(BROWSER).filter((name) => name.endsWith('.js'));

test('the build makes one page script and the same as a module, one worker, what they load when they have to, and modules', () => {
  expect(scripts.map((name) => name.replace(/-[\w-]{8}\./, '-<hash>.')).sort()).toEqual([
    'accounts-<hash>.js',
    'accounts-define.js',
    'accounts-element.js',
    'client-<hash>.js',
    'client.js',
    'devices-<hash>.js',
    'devices-define.js',
    'devices-element.js',
    'devices.js',
    'elements-<hash>.js',
    'identities.js',
    'leader-tab-<hash>.js',
    'queue-<hash>.js',
    'webgram-<hash>.js',
    'webgram.js',
    'worker-<hash>.js',
  ]);
});

test('integrity.json has the hash of every script, and those with a stable name are there under one with a hash', () => {
  const read = (name: string) => readFileSync(new URL(name, BROWSER));
  expect(JSON.parse(read('integrity.json').toString())).toEqual(
    Object.fromEntries(
      scripts.map((name) => [name, `sha384-${createHash('sha384').update(read(name)).digest('base64')}`]),
    ),
  );
  for (const name of ['webgram', 'client']) {
    const copy = scripts.find((script) => script.startsWith(`${name}-`))!;
    expect(read(copy).equals(read(`${name}.js`))).toBe(true);
  }
});

describe.each([...scripts.map((name) => `browser/${name}`), 'client.js'])('dist/%s', (name) => {
  const code = readFileSync(new URL(`../${name}`, BROWSER), 'utf8');

  test.each(['node:', 'classic-level', 'redis'])('does not contain "%s"', (word) => {
    expect(code.toLowerCase().includes(word)).toBe(false);
  });

  test('imports nothing but the leader tab or the queue, when it has to, and what it shares with that', () => {
    const own =
      /\bfrom\s*"\.\/[\w-]+\.js"|\bimport\(("\.\/leader-tab-[\w-]+\.js"|(?:new URL|\w+)\(["`](?:leader-tab|queue)-)/g;
    const found = code.match(own) ?? [];
    expect(found.length).toBeLessThanOrEqual(name === 'client.js' ? 2 : 1);
    expect(code.replaceAll(own, '')).not.toMatch(/\bfrom\s*["']|\bimport\s*\(|\bimport\s*["']/);
  });

  test('has no placeholder left', () => {
    expect(code).not.toContain('__WEBGRAM_');
  });
});

test('the page script has every public name of a client', async () => {
  // Not by its name: there are no types of it before the build.
  const { Client } = (await import(
    String(new URL('../client.js', BROWSER))
  )) as typeof import('webgram-sessions');
  const client = new Client();
  const names = [...Object.keys(client), ...Object.getOwnPropertyNames(Object.getPrototypeOf(client))];
  expect(names).toContain('drained');
  const code = readFileSync(new URL('webgram.js', BROWSER), 'utf8');
  expect(names.filter((name) => !new RegExp(`(?<![\\w.])${name}[=(:]`).test(code))).toEqual([]);
});

test.each(['webgram.js', '../client.js'])('%s has nothing of the elements', (name) => {
  const code = readFileSync(new URL(name, BROWSER), 'utf8');
  expect(/customElements|accounts-|elements-/.test(code)).toBe(false);
});

test.each(scripts.filter((name) => /^(webgram|worker)/.test(name)))(
  'dist/browser/%s is a classic script',
  (name) => {
    const code = readFileSync(new URL(name, BROWSER), 'utf8');
    expect(() => new Script(code, { filename: name })).not.toThrow();
  },
);

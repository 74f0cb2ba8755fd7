import { readdirSync, readFileSync } from 'node:fs';
import { Script } from 'node:vm';
import { describe, expect, test } from 'vitest';

const BROWSER = new URL('../../dist/browser/', import.meta.url);
const scripts = readdirSync(BROWSER).filter((name) => name.endsWith('.js'));

test('the build makes one page script and one worker', () => {
  expect(scripts.map((name) => name.replace(/-[\w-]{8}\./, '-<hash>.')).sort()).toEqual([
    'webgram.js',
    'worker-<hash>.js',
  ]);
});

describe.each([...scripts.map((name) => `browser/${name}`), 'client.js'])('dist/%s', (name) => {
  const code = readFileSync(new URL(`../${name}`, BROWSER), 'utf8');

  test.each(['node:', 'classic-level', 'redis'])('does not contain "%s"', (word) => {
    expect(code.toLowerCase().includes(word)).toBe(false);
  });

  test('imports nothing', () => {
    expect(code).not.toMatch(/\bfrom\s*["']|\bimport\s*\(|\bimport\s*["']/);
  });

  test('has no placeholder left', () => {
    expect(code).not.toContain('__WEBGRAM_');
  });
});

test.each(scripts)('dist/browser/%s is a classic script', (name) => {
  const code = readFileSync(new URL(name, BROWSER), 'utf8');
  expect(() => new Script(code, { filename: name })).not.toThrow();
});

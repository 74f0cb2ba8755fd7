import { chmod, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { keyFileFor, loadServerKey, SERVER_KEY_VARIABLE } from './key-file.ts';
import type { Logger } from './log.ts';
import { NodeSigningKey } from './node-crypto.ts';

let folder: string;
let file: string;
let warnings: string[];
const log: Logger = {
  debug: () => undefined,
  info: () => undefined,
  warn: (_fields, message) => warnings.push(message),
  error: () => undefined,
};

beforeEach(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'webgram-key-'));
  file = path.join(folder, 'sessions.key');
  warnings = [];
});

afterEach(() => rm(folder, { recursive: true, force: true }));

test.each(['sessions', 'sessions/', './sessions'])('the key of the store %s is beside it', (db) => {
  expect(keyFileFor(db)).toBe(path.resolve('sessions.key'));
});

describe('a key file', () => {
  test('is made once, for its owner only, and leaves no other file', async () => {
    const first = await loadServerKey({ name: 'file', path: file }, log);
    const second = await loadServerKey({ name: 'file', path: file }, log);
    expect([first.isNew, second.isNew]).toEqual([true, false]);
    expect(second.key.publicKey).toEqual(first.key.publicKey);
    expect((await stat(file)).mode & 0o777).toBe(0o600);
    expect(await readdir(folder)).toEqual(['sessions.key']);
  });

  test('is one when several servers begin at once', async () => {
    const all = await Promise.all(
      Array.from({ length: 8 }, () => loadServerKey({ name: 'file', path: file }, log)),
    );
    expect(new Set(all.map(({ key }) => key.publicKey.join())).size).toBe(1);
    expect(all.filter(({ isNew }) => isNew)).toHaveLength(1);
    expect(await readdir(folder)).toEqual(['sessions.key']);
  });

  test('that everybody can read is refused, with what to do', async () => {
    await writeFile(file, NodeSigningKey.generate().toPem(), { mode: 0o644 });
    await chmod(file, 0o644);
    await expect(loadServerKey({ name: 'file', path: file }, log)).rejects.toThrow(`chmod 600 '${file}'`);
  });

  test('that a group can read is taken with a warning', async () => {
    await writeFile(file, NodeSigningKey.generate().toPem());
    await chmod(file, 0o640);
    await loadServerKey({ name: 'file', path: file }, log);
    expect(warnings).toHaveLength(1);
  });

  test.each([
    ['nothing', ''],
    ['something else', 'hello'],
    ['a public key', '-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----'],
  ])('that holds %s is refused and stays as it is', async (_what, text) => {
    await writeFile(file, text, { mode: 0o600 });
    await expect(loadServerKey({ name: 'file', path: file }, log)).rejects.toThrow(
      `the file '${file}' must hold`,
    );
    expect(await readFile(file, 'utf8')).toBe(text);
  });

  test('in a folder that is missing is told so', async () => {
    const missing = path.join(folder, 'no/such.key');
    await expect(loadServerKey({ name: 'file', path: missing }, log)).rejects.toThrow(SERVER_KEY_VARIABLE);
  });
});

describe('a key in the environment', () => {
  const pem = NodeSigningKey.generate().toPem();

  test.each([
    ['PEM', pem],
    ['PEM with \\n', pem.replaceAll('\n', '\\n')],
    ['base64 in one line', pem.replace(/-----.*-----|\n/g, '')],
  ])('can be %s', async (_what, value) => {
    const { key } = await loadServerKey({ name: 'environment', value }, log);
    expect(key.toPem()).toBe(pem);
  });

  test('that is none is refused without being told', async () => {
    const error: unknown = await loadServerKey({ name: 'environment', value: 'hunter2' }, log).catch(
      (error: unknown) => error,
    );
    expect(String(error)).toContain(SERVER_KEY_VARIABLE);
    expect(String(error)).not.toContain('hunter2');
  });
});

test('a key in memory lives as long as the store', async () => {
  const owner = {};
  const first = await loadServerKey({ name: 'memory', owner }, log);
  const second = await loadServerKey({ name: 'memory', owner }, log);
  const other = await loadServerKey({ name: 'memory', owner: {} }, log);
  expect(second.key).toBe(first.key);
  expect(other.key).not.toBe(first.key);
});

import { execFileSync } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const DIST = path.join(ROOT, 'dist');
const TSC = path.join(ROOT, 'node_modules/typescript/bin/tsc');

const NAMES = readdirSync(DIST, { recursive: true, encoding: 'utf8' }).filter((name) =>
  name.endsWith('.d.ts'),
);

test('every entry has types', () => {
  expect(NAMES.sort()).toEqual([
    'client.d.ts',
    'devices.d.ts',
    'elements/accounts-define.d.ts',
    'elements/accounts.d.ts',
    'elements/devices-define.d.ts',
    'elements/devices.d.ts',
    'identities.d.ts',
    'server.d.ts',
  ]);
});

describe.each(NAMES)('dist/%s', (name) => {
  const types = readFileSync(path.join(DIST, name), 'utf8');

  test('imports no package: whoever installs ours has all the types', () => {
    const packages = [...types.matchAll(/(?:from|import\()\s*['"]([^'"]+)['"]/g)]
      .map(([, specifier]) => specifier ?? '')
      .filter((specifier) => !specifier.startsWith('node:') && !NODE_MODULES.has(specifier));
    expect(packages).toEqual([]);
  });
});

/** Modules of Node that inferred types name without the prefix. */
const NODE_MODULES = new Set(['buffer', 'events', 'http', 'https', 'net', 'stream', 'url']);

/** What a page with a bundler writes: its client is one of its own application. */
const ELEMENTS = `
import { Client } from 'webgram-sessions';
import 'webgram-sessions/elements/accounts-define';
import 'webgram-sessions/elements/devices-define';
import { AccountsElement } from 'webgram-sessions/elements/accounts';
import { DevicesElement } from 'webgram-sessions/elements/devices';

interface App { server: { incr(x: number): number }; page: object; data: object }
const client = new Client<App>();
for (const element of [document.createElement('webgram-accounts'), new AccountsElement()]) {
  element.client = client;
  element.labels = { add: 'Konto' };
  element.addEventListener('webgram-add', ({ detail }) => detail.identity.id.length);
}
for (const element of [document.createElement('webgram-devices'), new DevicesElement()]) {
  element.client = client;
  element.addEventListener('webgram-step-up', (event) => event.respondWith('secret'));
}
`;

describe('a program that has only the published files', () => {
  let folder: string;

  beforeAll(() => {
    folder = mkdtempSync(path.join(tmpdir(), 'webgram-consumer-'));
    const installed = path.join(folder, 'node_modules/webgram-sessions');
    mkdirSync(installed, { recursive: true });
    cpSync(path.join(ROOT, 'package.json'), path.join(installed, 'package.json'));
    for (const name of NAMES) {
      cpSync(path.join(DIST, name), path.join(installed, 'dist', name));
    }
    writeFileSync(path.join(folder, 'package.json'), '{ "type": "module" }');
    writeFileSync(path.join(folder, 'page.ts'), `export { Client } from 'webgram-sessions';\n`);
    writeFileSync(path.join(folder, 'elements.ts'), ELEMENTS);
    writeFileSync(path.join(folder, 'node.ts'), `export { Server } from 'webgram-sessions/server';\n`);
  });

  afterAll(() => {
    rmSync(folder, { recursive: true, force: true });
  });

  test.each([
    ['page', 'bundler', ['es2022', 'dom'], []],
    ['elements', 'bundler', ['es2022', 'dom'], []],
    ['node', 'nodenext', ['es2022'], ['node']],
  ])('%s.ts compiles with moduleResolution %s, libraries checked', (file, moduleResolution, lib, types) => {
    writeFileSync(
      path.join(folder, 'tsconfig.json'),
      JSON.stringify({
        compilerOptions: {
          noEmit: true,
          strict: true,
          target: 'es2022',
          module: moduleResolution === 'bundler' ? 'esnext' : 'nodenext',
          moduleResolution,
          lib,
          types,
          typeRoots: [path.join(ROOT, 'node_modules/@types')],
        },
        files: [`${file}.ts`],
      }),
    );
    expect(compile(folder)).toBe('');
  });
});

/** @returns What the compiler has to say; empty when all is well. */
function compile(folder: string): string {
  try {
    execFileSync(process.execPath, [TSC, '-p', folder, '--pretty', 'false'], { encoding: 'utf8' });
    return '';
  } catch (error) {
    const { stdout } = error as { stdout?: unknown };
    if (typeof stdout === 'string') return stdout;
    throw error;
  }
}

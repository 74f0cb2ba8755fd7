import { execFileSync } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const DIST = path.join(ROOT, 'dist');
const TSC = path.join(ROOT, 'node_modules/typescript/bin/tsc');

describe.each(['client.d.ts', 'devices.d.ts', 'server.d.ts'])('dist/%s', (name) => {
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

describe('a program that has only the published files', () => {
  let folder: string;

  beforeAll(() => {
    folder = mkdtempSync(path.join(tmpdir(), 'webgram-consumer-'));
    const installed = path.join(folder, 'node_modules/webgram-sessions');
    mkdirSync(installed, { recursive: true });
    cpSync(path.join(ROOT, 'package.json'), path.join(installed, 'package.json'));
    for (const name of readdirSync(DIST).filter((name) => name.endsWith('.d.ts'))) {
      cpSync(path.join(DIST, name), path.join(installed, 'dist', name));
    }
    writeFileSync(path.join(folder, 'package.json'), '{ "type": "module" }');
    writeFileSync(path.join(folder, 'page.ts'), `export { Client } from 'webgram-sessions';\n`);
    writeFileSync(path.join(folder, 'node.ts'), `export { Server } from 'webgram-sessions/server';\n`);
  });

  afterAll(() => {
    rmSync(folder, { recursive: true, force: true });
  });

  test.each([
    ['page', 'bundler', ['es2022', 'dom'], []],
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

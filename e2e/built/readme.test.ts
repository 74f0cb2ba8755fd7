import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { expect, test } from 'vitest';
import { readmeSnippets, ROOT, snippetWith } from '../kit/readme.ts';

test('the typed snippets of the README compile against what is published', { timeout: 60_000 }, () => {
  const folder = mkdtempSync(path.join(tmpdir(), 'webgram-readme-'));
  try {
    mkdirSync(path.join(folder, 'node_modules'));
    symlinkSync(ROOT, path.join(folder, 'node_modules/webgram-sessions'), 'dir');
    symlinkSync(path.join(ROOT, 'node_modules/@types'), path.join(folder, 'node_modules/@types'), 'dir');
    writeFileSync(path.join(folder, 'package.json'), '{ "type": "module" }');
    const compilerOptions = {
      noEmit: true,
      strict: true,
      skipLibCheck: true,
      allowImportingTsExtensions: true,
      target: 'es2022',
      module: 'esnext',
      moduleResolution: 'bundler',
      lib: ['es2022', 'dom'],
      types: ['node'],
    };
    writeFileSync(path.join(folder, 'tsconfig.json'), JSON.stringify({ compilerOptions, include: ['*.ts'] }));
    writeFileSync(path.join(folder, 'messages.ts'), snippetWith('ts', '// messages.ts'));
    writeFileSync(path.join(folder, 'page.ts'), snippetWith('ts', "from 'webgram-sessions';"));
    writeFileSync(
      path.join(folder, 'users.ts'),
      'export const checkPassword = async (name: string, password: string) => name === password;',
    );
    writeFileSync(path.join(folder, 'login.ts'), snippetWith('ts', 'conn.login('));
    writeFileSync(path.join(folder, 'devices.ts'), snippetWith('ts', "from 'webgram-sessions/devices';"));
    writeFileSync(path.join(folder, 'server.ts'), snippetWith('ts', "from 'webgram-sessions/server';"));
    execFileSync(process.execPath, [path.join(ROOT, 'node_modules/typescript/bin/tsc'), '-p', folder], {
      encoding: 'utf8',
    });
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});

test('a first snippet stands within the first lines, and the two commands are there', () => {
  const [first] = readmeSnippets();
  expect(first?.language).toBe('html');
  expect(snippetWith('sh', 'npm start')).toBe('npm ci && npm start\n');
  expect(snippetWith('sh', 'npm test')).toBe('npm ci && npm test\n');
});

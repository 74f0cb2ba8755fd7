import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { expect, test } from '@playwright/test';
import { ROOT, snippetWith } from '../kit/readme.ts';

test('the first snippets of the README run as they stand @chromium', async ({ page }) => {
  const folder = await mkdtemp(path.join(tmpdir(), 'webgram-readme-'));
  await mkdir(path.join(folder, 'public'));
  await mkdir(path.join(folder, 'node_modules'));
  await symlink(ROOT, path.join(folder, 'node_modules/webgram-sessions'), 'dir');
  await writeFile(path.join(folder, 'package.json'), '{ "type": "module" }');
  await writeFile(path.join(folder, 'public/index.html'), snippetWith('html', 'webgram.js'));
  await writeFile(path.join(folder, 'public/app.js'), snippetWith('js', '// public/app.js'));
  // The port is the one thing that a test cannot take as it stands.
  const server = snippetWith('js', '// server.js').replace('port: 5678', 'port: 0');
  await writeFile(
    path.join(folder, 'server.js'),
    `${server}\nawait server.start();\nprocess.stdout.write(String(server.port));\n`,
  );
  const child = spawn(process.execPath, ['server.js'], { cwd: folder, stdio: ['ignore', 'pipe', 'inherit'] });
  try {
    const [printed] = (await once(child.stdout, 'data')) as [Buffer];
    const logged = page.waitForEvent('console', (message) => message.type() === 'log');
    await page.goto(`http://localhost:${Number(printed.toString())}/`);
    await expect(page.locator('#out')).toHaveText('1000');
    expect((await logged).text()).toBe('42');
  } finally {
    child.kill('SIGKILL');
    await rm(folder, { recursive: true, force: true });
  }
});

import { spawn, type ChildProcess } from 'node:child_process';
import { createServer, type AddressInfo } from 'node:net';
import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { WebSocket } from 'ws';
import { CLOSE } from 'webgram';
import { NodeSigningKey } from '../node-crypto.ts';
import { bundleForNode, type Bundle } from '../testing/bundle.ts';
import { TestLink, TestTab } from '../testing/test-client.ts';

let built: Bundle;
let folder: string;
const children: ChildProcess[] = [];

beforeAll(async () => {
  built = await bundleForNode('server/cli/cli.ts');
}, 60_000);

afterAll(() => built.remove());

beforeEach(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'webgram-cli-'));
});

afterEach(async () => {
  for (const child of children.splice(0)) child.kill('SIGKILL');
  await rm(folder, { recursive: true, force: true });
});

interface Run {
  child: ChildProcess;
  out: string;
  err: string;
  ended: Promise<{ code: number | null; signal: string | null }>;
}

function run(args: string[], environment: Record<string, string> = {}): Run {
  const child = spawn(process.execPath, [built.file, ...args], {
    cwd: folder,
    env: { PATH: process.env['PATH'], ...environment },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  children.push(child);
  const state: Run = {
    child,
    out: '',
    err: '',
    ended: new Promise((resolve) => {
      child.on('close', (code, signal) => {
        resolve({ code, signal });
      });
    }),
  };
  child.stdout.on('data', (chunk: Buffer) => (state.out += chunk.toString()));
  child.stderr.on('data', (chunk: Buffer) => (state.err += chunk.toString()));
  return state;
}

/** Waits until it serves. @returns The port. */
async function serving(state: Run): Promise<number> {
  await expect
    .poll(() => state.out + state.err, { timeout: 8_000 })
    .toMatch(/server's key in|webgram-sessions: /);
  const port = /http:\/\/localhost:(\d+)/.exec(state.out)?.[1];
  if (port === undefined) throw new Error(`it does not serve: ${state.err}`);
  return Number(port);
}

test('--help prints the help and ends with 0', async () => {
  const state = run(['--help']);
  expect(await state.ended).toMatchObject({ code: 0 });
  expect(state.out).toContain('--port 5678');
});

test('an unknown flag is named, and ends with 1', async () => {
  const state = run(['serve', '--prot', '1']);
  expect(await state.ended).toMatchObject({ code: 1 });
  expect(state.err).toBe("webgram-sessions: Unknown option '--prot'\nSee: webgram-sessions --help\n");
});

describe('serve', () => {
  test('prints where to look and where data is, serves the app, and drains on SIGTERM', async () => {
    await writeFile(
      path.join(folder, 'app.mjs'),
      'export default (server) => { server.answer.incr = (conn, x) => x + 1 }',
    );
    const state = run(['serve', 'app.mjs', '--port', '0', '--db', './data']);
    const port = await serving(state);
    expect(state.out).toContain('./data');
    const link = await TestLink.open({ address: `ws://localhost:${port}/`, WebSocket });
    await link.enter({ key: NodeSigningKey.generate() });
    const tab = new TestTab(link);
    await tab.attach();
    expect(await tab.ask('incr', 41)).toBe(42);
    state.child.kill('SIGTERM');
    expect(await link.waitForClose()).toMatchObject({ code: CLOSE.draining });
    expect(await state.ended).toEqual({ code: 0, signal: null });
    expect(state.err).toBe('');
    expect(await readdir(folder)).toEqual(['app.mjs', 'data', 'data.key']);
  });

  test('keeps sessions over kill -9', async () => {
    const identity = { key: NodeSigningKey.generate() };
    for (const sessionID of [1, 1]) {
      const state = run(['serve'], { PORT: '0', DB: './data' });
      const port = await serving(state);
      const link = await TestLink.open({ address: `ws://localhost:${port}/`, WebSocket });
      expect(await link.enter(identity)).toMatchObject({ kind: 'ok', sessionID });
      state.child.kill('SIGKILL');
      await state.ended;
    }
  });

  test('makes a copy of the store on SIGUSR2, and serves on; the copy can be served', async () => {
    const state = run(['serve', '--port', '0', '--db', './data', '--backups', './backups']);
    const identity = { key: NodeSigningKey.generate() };
    const link = await TestLink.open({ address: `ws://localhost:${await serving(state)}/`, WebSocket });
    await link.enter(identity);
    state.child.kill('SIGUSR2');
    await expect.poll(() => state.out, { timeout: 4_000 }).toContain('a copy of the store is in backups/');
    link.send({ kind: 'ping', n: 1 });
    expect(await link.next('pong')).toEqual({ kind: 'pong', n: 1 });
    const [copy = ''] = await readdir(path.join(folder, 'backups'));
    const other = run(['serve', '--port', '0', '--db', `./backups/${copy}`, '--key', './data.key']);
    const again = await TestLink.open({ address: `ws://localhost:${await serving(other)}/`, WebSocket });
    expect(await again.enter(identity)).toMatchObject({ kind: 'ok', sessionID: 1 });
  });

  test('refuses a damaged store, and goes on with --repair --accept-loss, saying what is lost', async () => {
    const first = run(['serve', '--port', '0', '--db', './data']);
    const link = await TestLink.open({ address: `ws://localhost:${await serving(first)}/`, WebSocket });
    await link.enter({ key: NodeSigningKey.generate() });
    first.child.kill('SIGKILL');
    await first.ended;
    for (const name of await readdir(path.join(folder, 'data'))) {
      if (/\.(?:log|ldb)$/.test(name)) await rm(path.join(folder, 'data', name));
    }
    const refused = run(['serve', '--port', '0', '--db', './data']);
    expect(await refused.ended).toMatchObject({ code: 1 });
    expect(refused.err).toMatch(
      /0 of 1 sessions are there, .*--accept-loss to go on without what is lost\n$/,
    );
    const accepted = run(['serve', '--port', '0', '--db', './data', '--repair', '--accept-loss']);
    await serving(accepted);
    expect(accepted.err).toContain('1 of 1 sessions are lost');
    expect(accepted.err).toMatch(/kept in 'data\/damaged-|kept in '\.\/data\/damaged-/);
  });

  test('a taken port is told in one sentence', async () => {
    const other = createServer();
    await new Promise<void>((resolve) => other.listen(0, resolve));
    const { port } = other.address() as AddressInfo;
    const state = run(['serve', '--port', String(port)]);
    expect(await state.ended).toMatchObject({ code: 1 });
    expect(state.err).toMatch(/^webgram-sessions: port \d+ is taken by another program: .*\n$/);
    await new Promise((resolve) => other.close(resolve));
  });

  test('a locked store is told in one sentence', async () => {
    await serving(run(['serve', '--port', '0']));
    const second = run(['serve', '--port', '0']);
    expect(await second.ended).toMatchObject({ code: 1 });
    expect(second.err).toMatch(/^webgram-sessions: the store .* is open in another process; .*\n$/);
  });

  test.each([
    [['serve', 'nothing.js'], "there is no file 'nothing.js'"],
    [['serve', '--root', './nothing'], "'root' must be a folder that exists"],
    [['serve', '--origin', '*'], "'origins' must hold"],
  ])('%j is told in one sentence', async (args, message) => {
    const state = run([...args, '--port', '0']);
    expect(await state.ended).toMatchObject({ code: 1 });
    expect(state.err).toContain(message);
    expect(state.err.trim().split('\n')).toHaveLength(1);
  });

  test('what an app throws keeps its stack', async () => {
    await writeFile(path.join(folder, 'app.mjs'), 'export default () => { null.x }');
    const state = run(['serve', 'app.mjs', '--port', '0']);
    expect(await state.ended).toMatchObject({ code: 1 });
    expect(state.err).toContain('app.mjs:1');
  });
});

/**
 * The client in webgram/interop/ is written in another language, from PROTOCOL.md alone. What it and ours agree on is
 * the protocol, and not a habit of one implementation.
 */
import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { Server } from 'webgram-sessions/server';
import { findPython } from '../engines/find.mjs';

const FOLDER = fileURLToPath(new URL('../../webgram/interop/', import.meta.url));
const python = findPython();

let server: Server;
let folder: string;
let identity: string;

/** @returns The line that the program has printed. */
function run(program: string, ...args: string[]): Promise<Record<string, unknown>> {
  return new Promise((resolve, reject) => {
    const options = { timeout: 20_000, env: { ...process.env, PYTHONDONTWRITEBYTECODE: '1' } };
    execFile(python!, [path.join(FOLDER, program), ...args], options, (error, stdout, stderr) => {
      if (stdout === '') reject(new Error(`${program} printed nothing: ${stderr}`, { cause: error }));
      else resolve(JSON.parse(stdout) as Record<string, unknown>);
    });
  });
}

const ask = (type: string, ...rest: string[]) => run('client.py', server.address, identity, type, ...rest);

async function startServer(sealed = false): Promise<void> {
  server = new Server({ port: 0, db: path.join(folder, 'sessions'), manualStart: true, sealed });
  server.answer['incr'] = (_conn, x) => (x as number) + 1;
  server.answer['visits'] = (conn) => {
    const data = conn.sessionData as { visits?: number };
    data.visits = (data.visits ?? 0) + 1;
    void conn.save();
    return data.visits;
  };
  await server.start();
}

describe.skipIf(python === undefined)('the client in Python', { timeout: 60_000 }, () => {
  beforeEach(async () => {
    folder = await mkdtemp(path.join(tmpdir(), 'webgram-interop-'));
    identity = path.join(folder, 'identity.json');
    await startServer();
  });

  afterEach(async () => {
    await server.close();
    await rm(folder, { recursive: true, force: true });
  });

  test('computes every vector a second time', async () => {
    const vectors = JSON.parse(await readFile(path.join(FOLDER, '../vectors.json'), 'utf8')) as unknown[];
    expect(await run('check_vectors.py')).toEqual({ checked: vectors.length });
  });

  test('creates, asks, resumes, and asks again', async () => {
    const first = await ask('incr', '41');
    expect(first).toMatchObject({ answer: 42, resumed: false, reason: 'new' });
    expect((await stat(identity)).mode & 0o077).toBe(0);
    const second = await ask('visits');
    expect(second).toMatchObject({ session: first['session'], answer: 1 });
    expect(await ask('visits')).toMatchObject({ session: first['session'], answer: 2 });
    expect(second['generation']).toBeGreaterThan(first['generation'] as number);
  });

  test('resumes at a server that was started again', async () => {
    const { session } = await ask('visits');
    await server.close();
    await startServer();
    // The address has another port and is another authority, which the identity does not depend on.
    expect(await ask('visits')).toMatchObject({ session, answer: 2 });
  });

  test('speaks sealed frames with a server that is configured for them, and no others', async () => {
    const { session } = await ask('visits');
    await server.close();
    await startServer(true);
    const sealed = (...rest: string[]) => ask('visits', '--subprotocol', 'webgram.2.json.sealed', ...rest);
    expect(await sealed()).toMatchObject({ session, answer: 2 });
    expect(await ask('visits')).toEqual({ refused: expect.stringContaining('426') as string });
    expect(await sealed('--break', 'frame')).toEqual({
      refused: expect.stringMatching(/^closed with 4402/) as string,
    });
    expect(await sealed()).toMatchObject({ session, answer: 3 });
  });

  test('hears that a handler is missing', async () => {
    expect(await ask('nothing')).toMatchObject({ error: { code: 'WEBGRAM_NO_HANDLER' } });
  });

  test('is denied with a wrong signature or tag, and cut off with a wrong frame', async () => {
    await ask('incr', '1');
    for (const wrong of ['sig', 'tag']) {
      expect(await ask('incr', '1', '--break', wrong)).toEqual({ denied: 'unknown' });
    }
    expect(await ask('incr', '1', '--break', 'frame')).toEqual({
      refused: expect.stringMatching(/^closed with 4402/) as string,
    });
    expect(await ask('incr', '1')).toMatchObject({ answer: 2 });
  });

  test('ends its session, and is denied from then on', async () => {
    const { session } = await ask('incr', '1');
    expect(await run('client.py', server.address, identity, '--end')).toMatchObject({
      session,
      ended: 'revoked',
    });
    expect(await ask('incr', '1')).toEqual({ denied: 'revoked' });
    expect(await run('client.py', server.address, identity, '--end')).toEqual({ denied: 'revoked' });
  });

  test('sends nothing to another server key', async () => {
    await ask('incr', '1');
    const stored = JSON.parse(await readFile(identity, 'utf8')) as Record<string, unknown>;
    await writeFile(identity, JSON.stringify({ ...stored, S: 'BA' }));
    expect(await ask('incr', '1')).toEqual({ refused: 'another server key or store: nothing is sent' });
  });

  test('is refused from a foreign origin', async () => {
    const answer = await ask('incr', '1', '--origin', 'https://evil.example');
    expect(answer).toEqual({ refused: expect.stringContaining('403') as string });
  });
});

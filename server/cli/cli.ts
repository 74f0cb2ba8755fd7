#!/usr/bin/env node
import { readFileSync } from 'node:fs';
import { access, mkdir, rename } from 'node:fs/promises';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { SERVER_KEY_VARIABLE } from '../key-file.ts';
import { Server } from '../server.ts';
import { HELP, parseCommand, UsageError, type Command } from './arguments.ts';

/** Says what is wrong, without a stack, and ends with 1. */
class Failure extends Error {}

try {
  await main(parseCommand(process.argv.slice(2), process.env));
} catch (error) {
  console.error(`webgram-sessions: ${describe(error)}`);
  process.exit(1);
}

async function main(command: Command): Promise<void> {
  switch (command.name) {
    case 'help':
      console.log(HELP);
      return;
    case 'version':
      console.log(version());
      return;
    case 'serve':
      await serve(command);
  }
}

async function serve({ app, options, backups }: Command & { name: 'serve' }): Promise<void> {
  const server = await sayingWhat(() => new Server({ ...options, manualStart: true }));
  if (app !== undefined) await (await loadApp(app))(server);
  await sayingWhat(() => server.start());
  const db = options.db ?? './sessions';
  const key = process.env[SERVER_KEY_VARIABLE] ?? '';
  const keyFile = options.keyFile ?? (key === '' ? `${db}.key` : undefined);
  console.log(`webgram-sessions is at ${server.siteURL.replace(/\/$/, '')}`);
  console.log(
    `sessions are in ${db}, ${keyFile === undefined ? `the key in ${SERVER_KEY_VARIABLE}` : `the server's key in ${keyFile}`}`,
  );
  console.log(`its public key, for pages that pin it, is ${server.publicKeys.join(' then ')}`);
  if (backups !== undefined) process.on('SIGUSR2', () => void backUp(server, backups));
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    // Once: the second signal ends the process at once.
    process.once(signal, () => {
      server.close().then(
        () => process.exit(0),
        (error: unknown) => {
          console.error(`webgram-sessions: ${describe(error)}`);
          process.exit(1);
        },
      );
    });
  }
}

/** Makes a copy under the time it was asked for; it has its name only when it is complete. */
async function backUp(server: Server, backups: string): Promise<void> {
  const folder = path.join(backups, new Date().toISOString().replaceAll(':', '-'));
  try {
    await mkdir(backups, { recursive: true });
    await server.backup(`${folder}.part`);
    await rename(`${folder}.part`, folder);
    console.log(`a copy of the store is in ${folder}`);
  } catch (error) {
    console.error(`webgram-sessions: ${error instanceof Error ? error.message : String(error)}`);
  }
}

async function loadApp(file: string): Promise<(server: Server) => unknown> {
  const absolute = path.resolve(file);
  try {
    await access(absolute);
  } catch {
    throw new Failure(`there is no file '${file}'`);
  }
  const module = (await import(pathToFileURL(absolute).href)) as { default?: unknown };
  if (typeof module.default === 'function') return module.default as (server: Server) => unknown;
  throw new Failure(`'${file}' must have a default export: export default (server) => { ... }`);
}

function version(): string {
  const file = new URL('../package.json', import.meta.url);
  const { version } = JSON.parse(readFileSync(file, 'utf8')) as { version: string };
  return version;
}

/** Errors of the server itself say what to do: one sentence is enough. */
async function sayingWhat<T>(step: () => T): Promise<Awaited<T>> {
  try {
    return await step();
  } catch (cause) {
    throw new Failure(cause instanceof Error ? cause.message : String(cause), { cause });
  }
}

/** What an application throws keeps its stack. */
function describe(error: unknown): string {
  if (error instanceof UsageError) return `${error.message}\nSee: webgram-sessions --help`;
  if (error instanceof Failure) return error.message;
  return error instanceof Error ? (error.stack ?? error.message) : String(error);
}

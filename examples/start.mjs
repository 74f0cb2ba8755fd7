// @ts-check
// `npm start`: builds when dist/ is missing or older than the sources, then serves the examples.
// Flags go to the command line: `npm start -- --port 8080 --db /tmp/sessions`.
// With `--watch` (`npm run dev`) it builds and starts again whenever a source changes.
import { spawn, spawnSync } from 'node:child_process';
import { readdirSync, statSync, watch } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

const ROOT = fileURLToPath(new URL('../', import.meta.url));
const FOLDERS = ['webgram', 'worker', 'client', 'server', 'examples'];
const FILES = [
  'package.json',
  'package-lock.json',
  'tsconfig.json',
  'vite.config.ts',
  'inner-names.config.ts',
];
/** The last script that the build writes. */
const LAST_BUILT = 'dist/examples/server.js';
const SOURCE_FILE = /[.](ts|html|css|svg|json)$/;
const TEST_FILE = /[.](test|test-d)[.]ts$/;

const args = process.argv.slice(2).filter((arg) => arg !== '--watch');
const watching = process.argv.includes('--watch');

/** @type {import('node:child_process').ChildProcess | undefined} */
let server;
let ending = false;
for (const signal of /** @type {const} */ (['SIGINT', 'SIGTERM'])) {
  // The server ends in its own time; we go with it.
  process.on(signal, () => {
    ending = true;
    if (server === undefined) process.exit(0);
    server.kill(signal);
  });
}

if (newestSourceMs() > builtMs() && !build() && !watching) process.exit(1);
start();
if (watching) watchSources();

function start() {
  const cli = ['dist/cli.js', 'serve', LAST_BUILT, '--root', 'dist/examples', ...args];
  // The notebook keeps its own rows beside the sessions.
  const { db = process.env['DB'] } = parseArgs({
    args,
    options: { db: { type: 'string' } },
    strict: false,
  }).values;
  const env = { ...process.env, ...(typeof db === 'string' ? { DB: db } : {}) };
  const child = spawn(process.execPath, cli, { cwd: ROOT, stdio: 'inherit', env });
  server = child;
  child.once('exit', (code, signal) => {
    if (server !== child) return;
    server = undefined;
    if (watching && !ending) console.log('the server ended; it starts again when a source changes');
    else process.exit(code ?? (signal === null ? 0 : 1));
  });
}

/** @returns Whether it went well. */
function build() {
  console.log('building, a few seconds');
  const mode = watching ? ['--mode', 'development'] : [];
  const vite = path.join(ROOT, 'node_modules/vite/bin/vite.js');
  const { status } = spawnSync(process.execPath, [vite, 'build', '--logLevel', 'warn', ...mode], {
    cwd: ROOT,
    stdio: 'inherit',
  });
  return status === 0;
}

function watchSources() {
  /** @type {NodeJS.Timeout | undefined} */
  let soon;
  for (const folder of FOLDERS) {
    watch(path.join(ROOT, folder), { recursive: true }, (_event, name) => {
      if (name === null || !isSource(name)) return;
      clearTimeout(soon);
      soon = setTimeout(() => {
        if (build() && !ending) restart();
      }, 150);
    });
  }
}

function restart() {
  const old = server;
  if (old === undefined) return start();
  server = undefined;
  old.once('exit', start);
  old.kill('SIGTERM');
}

function newestSourceMs() {
  const files = FOLDERS.flatMap((folder) =>
    readdirSync(path.join(ROOT, folder), { recursive: true, encoding: 'utf8' })
      .filter(isSource)
      .map((name) => path.join(folder, name)),
  );
  return Math.max(...[...files, ...FILES].map((file) => mtimeMs(file)));
}

function builtMs() {
  return mtimeMs(LAST_BUILT);
}

/** @param {string} name */
function isSource(name) {
  return SOURCE_FILE.test(name) && !TEST_FILE.test(name) && !name.includes('node_modules');
}

/**
 * @param {string} file
 * @returns When it changed last, in ms since 1970; 0 when it does not exist.
 */
function mtimeMs(file) {
  return statSync(path.join(ROOT, file), { throwIfNoEntry: false })?.mtimeMs ?? 0;
}

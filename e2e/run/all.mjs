// @ts-check
// `npm test`: every check there is, one after the other, also after one has failed. The last line is
// `N passed, N failed`. A check without tests of its own (lint, types, build, size) counts as one. In CI a
// skipped test counts as failed, and so does an engine that is missing.
import { spawn } from 'node:child_process';
import { mkdirSync, readFileSync, rmSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { bringEngines } from '../engines/bring.mjs';

/** @typedef {{ passed: number, failed: number, skipped: number }} Count */
/** @typedef {{ name: string, count: Count, seconds: number, note: string }} Row */

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const RESULTS = new URL('../../test-results/', import.meta.url);
const CI = !['', '0', 'false', undefined].includes(process.env['CI']);
/** No check takes longer than this, in ms; what hangs is ended and counts as failed. */
const MAX_STAGE_MS = 40 * 60_000;

/** Of Playwright's configuration, by engine. */
const PROJECTS = {
  chromium: ['chromium', 'chromium-leader-tab'],
  firefox: ['firefox', 'firefox-leader-tab'],
  webkit: ['webkit'],
};

/** @type {Row[]} */
const rows = [];
/** @type {import('node:child_process').ChildProcess | undefined} */
let running;
for (const signal of /** @type {const} */ (['SIGINT', 'SIGTERM'])) {
  process.once(signal, () => {
    endGroup(running);
    process.exit(130);
  });
}

rmSync(RESULTS, { recursive: true, force: true });
mkdirSync(RESULTS, { recursive: true });

const missing = bringEngines();
if (missing.length > 0) {
  const failed = CI ? missing.length : 0;
  rows.push({
    name: 'engines',
    count: { passed: 0, failed, skipped: 0 },
    seconds: 0,
    note: `no ${missing.join(', no ')}`,
  });
}

await check('eslint', 'npm', ['run', '--silent', 'lint:eslint']);
await check('format', 'npm', ['run', '--silent', 'lint:format']);
await check('floors', 'npm', ['run', '--silent', 'lint:floors']);
await check('typecheck', 'npm', ['run', '--silent', 'typecheck']);
await vitest('unit');
await vitest('schedules');
await vitest('types');
if (!missing.includes('chromium')) await vitest('browser');

if (await check('build', 'npm', ['run', '--silent', 'build', '--', '--logLevel', 'warn'])) {
  await check('size', 'npm', ['run', '--silent', 'size']);
  await vitest('built');
  await vitest('kills');
  // What it measures with so few operations says nothing; that it measures does.
  await check('bench', 'npm', ['run', '--silent', 'bench', '--', '--rounds', '1', '--scale', '0.002']);
  const engines = /** @type {const} */ (['chromium', 'firefox', 'webkit']).filter(
    (engine) => !missing.includes(engine),
  );
  if (engines.length > 0) await playwright(engines.flatMap((engine) => PROJECTS[engine]));
} else {
  rows.push({ name: 'e2e', count: { passed: 0, failed: 1, skipped: 0 }, seconds: 0, note: 'not built' });
}

report();

/**
 * @param {string} name
 * @param {string} command
 * @param {string[]} args
 * @returns Whether it went well.
 */
async function check(name, command, args) {
  const { ok, seconds } = await run(name, command, args);
  rows.push({ name, count: { passed: ok ? 1 : 0, failed: ok ? 0 : 1, skipped: 0 }, seconds, note: '' });
  return ok;
}

/** @param {string} project */
async function vitest(project) {
  const file = `test-results/${project}.json`;
  const args = [
    'run',
    '--project',
    project,
    '--reporter=default',
    '--reporter=json',
    `--outputFile.json=${file}`,
  ];
  const { ok, seconds } = await run(project, 'npx', ['--no-install', 'vitest', ...args]);
  rows.push(row(project, ok, seconds, countVitest(readJson(file))));
}

/** @param {string[]} projects */
async function playwright(projects) {
  const options = projects.map((project) => `--project=${project}`);
  const args = ['playwright', 'test', '-c', 'e2e/playwright.config.ts', ...options];
  const { ok, seconds } = await run('e2e', 'npx', ['--no-install', ...args]);
  rows.push(row('e2e', ok, seconds, countPlaywright(readJson('test-results/e2e.json'))));
}

/**
 * @param {string} name
 * @param {boolean} ok How the process ended.
 * @param {number} seconds
 * @param {Count | undefined} counted `undefined` when it left no report.
 * @returns {Row}
 */
function row(name, ok, seconds, counted) {
  const count = counted ?? { passed: 0, failed: 0, skipped: 0 };
  let note = '';
  if (counted === undefined) note = 'no report';
  else if (count.passed + count.failed === 0) note = 'no test ran';
  else if (!ok && count.failed === 0) note = 'an error outside the tests';
  if (note !== '') count.failed += 1;
  if (CI && count.skipped > 0) {
    note = `${count.skipped} skipped, which counts as failed`;
    count.failed += count.skipped;
  }
  return { name, count, seconds, note };
}

/**
 * @param {any} report What vitest's json reporter wrote.
 * @returns {Count | undefined}
 */
function countVitest(report) {
  if (report === undefined) return undefined;
  // A file that could not be loaded has no tests.
  const broken = report.testResults.filter(
    (/** @type {any} */ file) => file.status === 'failed' && file.assertionResults.length === 0,
  );
  return {
    passed: report.numPassedTests,
    failed: report.numFailedTests + broken.length,
    skipped: report.numPendingTests + report.numTodoTests,
  };
}

/**
 * @param {any} report What Playwright's json reporter wrote.
 * @returns {Count | undefined}
 */
function countPlaywright(report) {
  if (report === undefined) return undefined;
  const { expected, unexpected, flaky, skipped } = report.stats;
  return { passed: expected, failed: unexpected + flaky, skipped };
}

/**
 * @param {string} name
 * @param {string} command
 * @param {string[]} args
 * @returns {Promise<{ ok: boolean, seconds: number }>}
 */
function run(name, command, args) {
  const startedMs = Date.now();
  console.log(`\n—— ${name}`);
  return new Promise((resolve) => {
    const child = spawn(command, args, {
      cwd: ROOT,
      stdio: ['ignore', 'inherit', 'inherit'],
      detached: true,
    });
    running = child;
    const limit = setTimeout(() => {
      console.log(`${name} ended: it took longer than ${MAX_STAGE_MS / 60_000} minutes`);
      endGroup(child);
    }, MAX_STAGE_MS);
    const done = (/** @type {boolean} */ ok) => {
      clearTimeout(limit);
      resolve({ ok, seconds: (Date.now() - startedMs) / 1000 });
    };
    child.once('error', (error) => {
      console.log(error.message);
      done(false);
    });
    child.once('exit', (code) => done(code === 0));
  });
}

/** @param {import('node:child_process').ChildProcess | undefined} child */
function endGroup(child) {
  if (child?.pid === undefined || child.exitCode !== null || child.signalCode !== null) return;
  try {
    process.kill(-child.pid, 'SIGKILL');
  } catch {
    // It ended in the meantime.
  }
}

/** @param {string} file */
function readJson(file) {
  try {
    return JSON.parse(readFileSync(new URL(`../../${file}`, import.meta.url), 'utf8'));
  } catch {
    return undefined; // Counted as "no report".
  }
}

function report() {
  console.log('\n');
  for (const { name, count, seconds, note } of rows) {
    const skipped = count.skipped > 0 && !CI ? `${count.skipped} skipped` : '';
    const line = [
      name.padEnd(10),
      `${count.passed} passed`.padStart(12),
      `${count.failed} failed`.padStart(10),
      `${seconds.toFixed(1)} s`.padStart(9),
      ` ${[skipped, note].filter(Boolean).join(', ')}`,
    ];
    console.log(line.join(' ').trimEnd());
  }
  const passed = rows.reduce((sum, { count }) => sum + count.passed, 0);
  const failed = rows.reduce((sum, { count }) => sum + count.failed, 0);
  console.log(`\n${passed} passed, ${failed} failed`);
  process.exitCode = failed > 0 || passed === 0 ? 1 : 0;
}

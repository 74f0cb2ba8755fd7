// @ts-check
// Type-checks every folder with the libs of its own tsconfig.json, two at a time, and shows all that is wrong.
// `npm run typecheck -- webgram server` checks these two only.
//
// Not `tsc --build`: without project references it does not notice that an imported file of another folder
// has changed.
import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const TSC = fileURLToPath(new URL('../../node_modules/typescript/bin/tsc', import.meta.url));
const ALL = ['webgram', 'worker', 'client', 'server', 'examples', 'e2e', 'bench', '.'];

const wanted = process.argv.slice(2);
const waiting = wanted.length > 0 ? wanted : ALL;
let failed = false;

/** @param {string} folder */
function check(folder) {
  return new Promise((resolve) => {
    spawn(process.execPath, [TSC, '-p', folder, '--pretty', 'false'], { cwd: ROOT, stdio: 'inherit' }).once(
      'close',
      (code) => {
        if (code !== 0) failed = true;
        resolve(undefined);
      },
    );
  });
}

async function lane() {
  for (let folder = waiting.shift(); folder !== undefined; folder = waiting.shift()) await check(folder);
}

await Promise.all([lane(), lane()]);
process.exitCode = failed ? 1 : 0;

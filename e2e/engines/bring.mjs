// @ts-check
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { DEBIAN_PACKAGES, findPython, missingEngines } from './find.mjs';

/**
 * Brings the browsers and the Python package that tests need: by apt-get on Debian and its kin when we are root, otherwise it says
 * what to do.
 *
 * @returns {import('./find.mjs').Engine[]} The engines that are still missing.
 */
export function bringEngines() {
  const missing = [...missingEngines(), ...missingPython()];
  if (missing.length === 0) return [];
  const packages = missing.flatMap((what) => DEBIAN_PACKAGES[what].split(' '));
  if (process.getuid?.() === 0 && existsSync('/usr/bin/apt-get')) {
    console.log(`bringing ${packages.join(' and ')} by apt-get, once`);
    aptGet('update', '-qq');
    aptGet('install', '-y', '-qq', '--no-install-recommends', ...packages);
  }
  const still = missingEngines();
  const stillAll = [...still, ...missingPython()];
  if (stillAll.length > 0) {
    console.log(`missing: ${stillAll.join(' and ')}. On Debian, as root:`);
    console.log(`  apt-get update && apt-get install -y --no-install-recommends ${packages.join(' ')}`);
    console.log('elsewhere: npx playwright install chromium firefox,');
    console.log('or name the programs in WEBGRAM_CHROMIUM and WEBGRAM_FIREFOX');
  }
  return still;
}

/** @returns {'python'[]} Without it, the test with the independent client is skipped. */
function missingPython() {
  return findPython() === undefined ? ['python'] : [];
}

/** @param {string[]} args */
function aptGet(...args) {
  spawnSync('apt-get', args, {
    stdio: ['ignore', 'ignore', 'inherit'],
    env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' },
  });
}

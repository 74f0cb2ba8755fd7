// @ts-check
// Finds the browsers that tests drive: an own variable, then the usual paths, else Playwright's own download.
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { chromium, firefox } from 'playwright';

/** Keeps Chromium from calling its maker, which a closed network answers with many refused connections. */
export const CHROMIUM_ARGS = [
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
];

/** What is needed to bring an engine, or Python's cryptography, on Debian. */
export const DEBIAN_PACKAGES = {
  chromium: 'chromium',
  firefox: 'firefox-esr',
  webkit: 'webkit2gtk-driver xvfb xauth',
  python: 'python3-cryptography',
};

/**
 * @returns {string | undefined} Path of a Chromium or Chrome; `undefined` when there is none.
 * @throws {Error} when WEBGRAM_CHROMIUM names a file that does not exist.
 */
export function findChromium() {
  return (
    fromVariable('WEBGRAM_CHROMIUM') ??
    firstExisting([
      '/usr/bin/chromium',
      '/usr/bin/chromium-browser',
      '/usr/bin/google-chrome-stable',
      '/usr/bin/google-chrome',
      '/Applications/Chromium.app/Contents/MacOS/Chromium',
      '/Applications/Google Chrome.app/Contents/MacOS/Google Chrome',
      playwrightsOwn(chromium),
    ])
  );
}

/**
 * A stock Firefox is driven over WebDriver BiDi (`channel: 'moz-firefox'`); Playwright's own build is not.
 *
 * @returns {{ executablePath: string, channel?: 'moz-firefox' } | undefined} Launch options; `undefined` when
 *   there is none.
 * @throws {Error} when WEBGRAM_FIREFOX names a file that does not exist.
 */
export function findFirefox() {
  const stock =
    fromVariable('WEBGRAM_FIREFOX') ??
    firstExisting([
      '/usr/bin/firefox-esr',
      '/usr/bin/firefox',
      '/Applications/Firefox.app/Contents/MacOS/firefox',
    ]);
  if (stock !== undefined) return { executablePath: stock, channel: 'moz-firefox' };
  const own = firstExisting([playwrightsOwn(firefox)]);
  return own === undefined ? undefined : { executablePath: own };
}

/**
 * WebKitGTK, by its WebDriver; its MiniBrowser shows pages, and needs a display.
 *
 * @returns {{ driver: string, browser: string } | undefined} Paths of both; `undefined` when one is missing, or `xvfb-run`.
 */
export function findWebKit() {
  const driver = firstExisting(['/usr/bin/WebKitWebDriver']);
  const browser = firstExisting(
    ['x86_64', 'aarch64'].map((machine) => `/usr/lib/${machine}-linux-gnu/webkit2gtk-4.1/MiniBrowser`),
  );
  if (driver === undefined || browser === undefined || !existsSync('/usr/bin/xvfb-run')) return undefined;
  return { driver, browser };
}

/** @typedef {'chromium' | 'firefox' | 'webkit'} Engine */

/** @returns {Engine[]} The engines that are not on this machine. */
export function missingEngines() {
  /** @type {Engine[]} */
  const missing = [];
  if (findChromium() === undefined) missing.push('chromium');
  if (findFirefox() === undefined) missing.push('firefox');
  if (findWebKit() === undefined) missing.push('webkit');
  return missing;
}

/**
 * @returns {string | undefined} A Python 3 that has the package `cryptography`, for the independent client;
 *   `undefined` when there is none.
 */
export function findPython() {
  const candidates = [fromVariable('WEBGRAM_PYTHON'), '/usr/bin/python3', 'python3'];
  return candidates.find(
    (path) => path !== undefined && spawnSync(path, ['-c', 'import cryptography']).status === 0,
  );
}

/** @param {string} name */
function fromVariable(name) {
  const path = process.env[name];
  if (path === undefined || path === '') return undefined;
  if (!existsSync(path)) throw new Error(`${name} must be the path of a browser, but there is no ${path}`);
  return path;
}

/** @param {(string | undefined)[]} paths */
function firstExisting(paths) {
  return paths.find((path) => path !== undefined && existsSync(path));
}

/** @param {import('playwright').BrowserType} engine */
function playwrightsOwn(engine) {
  try {
    return engine.executablePath();
  } catch {
    return undefined; // Playwright has no build of this engine for this platform.
  }
}

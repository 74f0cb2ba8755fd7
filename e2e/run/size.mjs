// @ts-check
// Prints the compressed sizes of the browser files and fails when one is over its budget.
import { readdirSync, readFileSync } from 'node:fs';
import { gzipSync } from 'node:zlib';

const BROWSER = new URL('../../dist/browser/', import.meta.url);
const BUDGETS = [
  { name: /^webgram\.js$/, maxBytes: 5_999 },
  { name: /^worker-.+\.js$/, maxBytes: 20_000 },
  // Loaded only where an element is used: what both share, Lit included, and each alone.
  { name: /^elements-.+\.js$/, maxBytes: 11_500 },
  { name: /^accounts-[\w-]{8}\.js$/, maxBytes: 6_000 },
  { name: /^devices-[\w-]{8}\.js$/, maxBytes: 4_500 },
];

const files = readdirSync(BROWSER);
for (const { name: pattern, maxBytes } of BUDGETS) {
  const name = files.find((file) => pattern.test(file));
  if (name === undefined) {
    console.log(`missing   dist/browser/ has no file ${pattern}`);
    process.exitCode = 1;
    continue;
  }
  const bytes = gzipSync(readFileSync(new URL(name, BROWSER)), { level: 9 }).length;
  const fits = bytes <= maxBytes;
  console.log(`${fits ? 'ok       ' : 'too large'} ${name}: ${text(bytes)} of ${text(maxBytes)} bytes gzip`);
  if (!fits) process.exitCode = 1;
}

/** @param {number} bytes */
function text(bytes) {
  return bytes.toLocaleString('en');
}

import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Plugin } from 'vite';
import { bundleForNode } from '../../server/testing/bundle.ts';
import type { Bundle } from '../../server/testing/bundle.ts';
import type { Mutant } from './mutants.ts';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
/** Where the code under test is. */
const FOLDERS = ['webgram', 'worker/host', 'client', 'server'];

/**
 * Builds the worker that runs schedules, with one change to the product.
 *
 * @param mutant `undefined` for the product as it is.
 * @throws when the change no longer fits: its text must be found exactly once in the product.
 */
export function buildWorker(mutant?: Mutant): Promise<Bundle> {
  return bundleForNode('e2e/schedules/worker.ts', mutant === undefined ? [] : [change(mutant)]);
}

function change({ name, changes }: Mutant): Plugin {
  const before = productTexts();
  const after = new Map<string, string>();
  for (const { from, to } of changes) {
    const texts = [...before].map(([file, text]) => [file, after.get(file) ?? text] as const);
    const holders = texts.filter(([, text]) => text.includes(from));
    const [[file, text] = ['', '']] = holders;
    const times = holders.length === 1 ? text.split(from).length - 1 : holders.length;
    if (times !== 1) throw new Error(`the mutant '${name}' must fit once, it fits ${times} times: ${from}`);
    // A function, because $ means something in a text.
    after.set(
      file,
      text.replace(from, () => to),
    );
  }
  return {
    name: 'schedules:mutant',
    enforce: 'pre',
    load(id) {
      return after.get(path.normalize(id));
    },
  };
}

let texts: ReadonlyMap<string, string> | undefined;

/** The product, by file. */
function productTexts(): ReadonlyMap<string, string> {
  const files = (folder: string): string[] =>
    readdirSync(path.join(ROOT, folder), { recursive: true, encoding: 'utf8' })
      .filter((file) => file.endsWith('.ts') && !/\.(test|test-d|make)\.ts$|testing\//.test(file))
      .map((file) => path.join(ROOT, folder, file));
  return (texts ??= new Map(FOLDERS.flatMap(files).map((file) => [file, readFileSync(file, 'utf8')])));
}

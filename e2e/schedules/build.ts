import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'vite';
import type { Plugin } from 'vite';
import type { Mutant } from './mutants.ts';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const OUT = path.join(ROOT, 'node_modules/.cache/schedules');
/** Where the code under test is. */
const FOLDERS = ['webgram', 'worker/host', 'client', 'server'];

/**
 * Builds the worker that runs schedules, with one change to the product.
 *
 * @param mutant `undefined` for the product as it is.
 * @returns The built file.
 * @throws when the change no longer fits: its text must be found exactly once in the product.
 */
export async function buildWorker(mutant?: Mutant): Promise<string> {
  const outDir = path.join(OUT, mutant === undefined ? 'product' : mutant.name.replaceAll(/\W+/g, '-'));
  await build({
    configFile: false,
    root: ROOT,
    logLevel: 'error',
    define: { __WEBGRAM_WORKER_FILE__: '"worker-test.js"' },
    plugins: mutant === undefined ? [] : [change(mutant)],
    ssr: { noExternal: ['webgram', 'cborg'] },
    build: {
      ssr: 'e2e/schedules/worker.ts',
      outDir,
      emptyOutDir: true,
      target: 'node20',
      minify: false,
      sourcemap: 'inline',
      rolldownOptions: { output: { entryFileNames: 'worker.mjs' } },
    },
  });
  return path.join(outDir, 'worker.mjs');
}

function change({ name, changes }: Mutant): Plugin {
  const byFile = new Map<string, string>();
  for (const { from, to } of changes) {
    const holders = productFiles().filter((file) =>
      (byFile.get(file) ?? readFileSync(file, 'utf8')).includes(from),
    );
    const [file] = holders;
    const text = file === undefined ? '' : (byFile.get(file) ?? readFileSync(file, 'utf8'));
    const times = holders.length === 1 ? text.split(from).length - 1 : holders.length;
    if (file === undefined || times !== 1)
      throw new Error(`the mutant '${name}' must fit once, it fits ${times} times: ${from}`);
    // A function, because $ means something in a text.
    byFile.set(
      file,
      text.replace(from, () => to),
    );
  }
  return {
    name: 'schedules:mutant',
    enforce: 'pre',
    load(id) {
      return byFile.get(path.normalize(id));
    },
  };
}

function productFiles(): string[] {
  return FOLDERS.flatMap((folder) =>
    readdirSync(path.join(ROOT, folder), { recursive: true, encoding: 'utf8' })
      .filter((file) => file.endsWith('.ts') && !/\.(test|test-d|make)\.ts$|testing\//.test(file))
      .map((file) => path.join(ROOT, folder, file)),
  );
}

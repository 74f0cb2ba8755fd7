import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { build, type Plugin } from 'vite';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
/** Inside node_modules/, so that the packages are found from there. */
const CACHE = path.join(ROOT, 'node_modules/.cache');

/** A program that a Node of its own can run. */
export interface Bundle {
  file: string;
  remove: () => Promise<void>;
}

/**
 * Bundles a program of ours, because Node 20 runs no TypeScript.
 *
 * @param entry The file, from the root of the repository.
 * @param plugins What changes the code on its way.
 */
export async function bundleForNode(entry: string, plugins: Plugin[] = []): Promise<Bundle> {
  await mkdir(CACHE, { recursive: true });
  const outDir = await mkdtemp(path.join(CACHE, 'webgram-test-'));
  const fileName = `${path.basename(entry, '.ts')}.mjs`;
  await build({
    configFile: false,
    root: ROOT,
    publicDir: false,
    logLevel: 'error',
    define: { __WEBGRAM_WORKER_FILE__: '"worker-test.js"' },
    plugins,
    ssr: { noExternal: ['webgram'] },
    build: {
      ssr: entry,
      outDir,
      emptyOutDir: false,
      minify: false,
      sourcemap: 'inline',
      target: 'node20',
      rolldownOptions: { output: { entryFileNames: fileName } },
    },
  });
  return { file: path.join(outDir, fileName), remove: () => rm(outDir, { recursive: true, force: true }) };
}

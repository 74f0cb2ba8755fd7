// @ts-check
// `npm run bench -- [JOB …] [--rounds N] [--scale X] [--profile]`: bundles the sources, so that no build comes first, and
// runs them. See README.md.
import { fileURLToPath } from 'node:url';
import { build } from 'vite';

const ROOT = fileURLToPath(new URL('../', import.meta.url));
// Inside node_modules/, so that the packages are found from there.
const OUT = `${ROOT}node_modules/.cache/webgram-bench`;

await build({
  configFile: false,
  root: ROOT,
  publicDir: false,
  logLevel: 'warn',
  define: { __WEBGRAM_WORKER_FILE__: '"worker-bench.js"' },
  ssr: { noExternal: ['webgram'] },
  build: {
    ssr: true,
    outDir: OUT,
    emptyOutDir: true,
    target: 'node20',
    minify: false,
    rolldownOptions: {
      input: {
        main: 'bench/main.ts',
        server: 'bench/server.ts',
        load: 'bench/load.ts',
        browser: 'bench/browser.ts',
      },
      output: { format: 'es', entryFileNames: '[name].mjs', chunkFileNames: '[name].mjs' },
    },
  },
});

const { main } = await import(`${OUT}/main.mjs`);
process.exitCode = await main(process.argv.slice(2), { root: ROOT, code: OUT });

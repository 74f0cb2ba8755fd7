import { createHash } from 'node:crypto';
import { chmod, readdir, readFile, rm, rmdir, stat, writeFile } from 'node:fs/promises';
import { builtinModules } from 'node:module';
import path from 'node:path';
import { playwright } from '@vitest/browser-playwright';
import { rollup } from 'rollup';
import { dts } from 'rollup-plugin-dts';
import { minify, type MinifyOptions } from 'terser';
import uglify, { type SourceMapOptions } from 'uglify-js';
import type { EnvironmentOptions, Plugin, ViteBuilder } from 'vite';
import { configDefaults, defineConfig } from 'vitest/config';
import { closeClasses } from './closed-classes.ts';
import { CHROMIUM_ARGS, findChromium, findFirefox } from './e2e/engines/find.mjs';
import { INNER_NAMES } from './inner-names.config.ts';

const DIST = 'dist';
const EXAMPLES = 'examples';

/**
 * What `vite build` makes, in this order. `webgram/` is inlined everywhere.
 *
 * | environment | from | to |
 * | --- | --- | --- |
 * | queue | worker/host/later.ts: queue, wallet, renewal | dist/browser/queue-<hash>.js, a module |
 * | worker | worker/shared-worker | dist/browser/worker-<hash>.js, a classic script |
 * | leader | client/leader-tab | dist/browser/leader-tab-<hash>.js, a module |
 * | script | client/script-tag | dist/browser/webgram.js, a classic script |
 * | module | client | dist/browser/client.js, a module |
 * | devices | client/devices.ts | dist/browser/devices.js, a module |
 * | identities | client/identities.ts | dist/browser/identities.js, a module |
 * | elements | client/elements | dist/browser/{accounts,devices}-{element,define}.js, modules, and what they share |
 * | client | client | dist/client.js, and what it loads when it has to |
 * | examples | examples | dist/examples/index.html, which names them |
 * | plusOne, accounts | examples/plus-one, examples/accounts | dist/examples/plus-one/, dist/examples/accounts/, the pages |
 * | server | server, server/cli, examples | dist/server.js, dist/cli.js, dist/examples/server.js and plus-one-server.js |
 *
 * `writeIntegrity` adds dist/browser/integrity.json and copies that it names with a hash: webgram-<hash>.js and
 * client-<hash>.js. Types follow (dist/client.d.ts, dist/devices.d.ts, dist/identities.d.ts, dist/elements/*.d.ts, dist/server.d.ts), but not in
 * `--mode development`.
 */
const ENVIRONMENTS: Record<string, EnvironmentOptions> = {
  queue: browser({ queue: 'worker/host/later.ts' }, 'browser/[name]-[hash].js', 'es'),
  worker: browser({ worker: 'worker/shared-worker/shared-worker.ts' }, 'browser/[name]-[hash].js'),
  leader: browser({ 'leader-tab': 'client/leader-tab/leader-tab.ts' }, 'browser/[name]-[hash].js', 'es'),
  script: browser({ webgram: 'client/script-tag/script-tag.ts' }, 'browser/[name].js'),
  module: browser({ client: 'client/index.ts' }, 'browser/[name].js', 'es'),
  devices: browser({ devices: 'client/devices.ts' }, 'browser/[name].js', 'es'),
  identities: browser({ identities: 'client/identities.ts' }, 'browser/[name].js', 'es'),
  elements: elements(),
  client: {
    consumer: 'client',
    build: {
      ...common(),
      target: 'es2022',
      minify: false,
      sourcemap: true,
      rolldownOptions: {
        input: { client: 'client/index.ts' },
        preserveEntrySignatures: 'strict',
        output: { format: 'es', entryFileNames: '[name].js', chunkFileNames: '[name]-[hash].js' },
      },
    },
  },
  examples: page(EXAMPLES),
  plusOne: page(`${EXAMPLES}/plus-one`),
  accounts: page(`${EXAMPLES}/accounts`),
  // Together, because a handler's AskError must be the class that the server knows.
  server: node({
    server: 'server/index.ts',
    cli: 'server/cli/cli.ts',
    'examples/plus-one-server': `${EXAMPLES}/plus-one/server.ts`,
    'examples/server': `${EXAMPLES}/server.ts`,
  }),
};

export default defineConfig(({ command, mode }) => ({
  appType: 'custom',
  publicDir: false,
  base: './',
  resolve: {
    // Examples and tests write what a user writes.
    alias: [
      { find: /^webgram-sessions$/, replacement: path.resolve('client/index.ts') },
      { find: /^webgram-sessions\/devices$/, replacement: path.resolve('client/devices.ts') },
      { find: /^webgram-sessions\/identities$/, replacement: path.resolve('client/identities.ts') },
      {
        find: /^webgram-sessions\/elements\/([\w-]+)$/,
        replacement: path.resolve('client/elements/$1.ts'),
      },
      { find: /^webgram-sessions\/server$/, replacement: path.resolve('server/index.ts') },
    ],
  },
  ...(command === 'build' ? { environments: ENVIRONMENTS } : {}),
  experimental: {
    // What a page of an example loads lies beside it.
    renderBuiltUrl: (fileName, { hostType }) =>
      hostType === 'html' && fileName.startsWith(`${EXAMPLES}/`) ? `./${path.basename(fileName)}` : undefined,
  },
  plugins: [browserFileNames(), besideOwnFile(), terseHosts(), smallerScripts()],
  builder: {
    sharedConfigBuild: true,
    sharedPlugins: true,
    buildApp: (builder) => buildAll(builder, { types: mode !== 'development' }),
  },
  test: {
    reporters: ['default'],
    allowOnly: process.env['CI'] === undefined,
    projects: [
      {
        extends: true,
        define: { __WEBGRAM_WORKER_FILE__: '"worker-test.js"' },
        test: {
          name: 'unit',
          environment: 'node',
          include: ['{webgram,worker,client,server,examples,e2e/protocol}/**/*.test.ts'],
          exclude: [...configDefaults.exclude, '**/*.browser.test.ts', 'e2e/built/**'],
        },
      },
      {
        extends: true,
        define: { __WEBGRAM_WORKER_FILE__: '"worker-test.js"' },
        // Found on the way, it would reload the page in the middle of a test.
        optimizeDeps: { include: ['idb-keyval', 'cborg', 'lit', 'lit/directives/repeat.js', 'axe-core'] },
        test: {
          name: 'browser',
          include: ['{webgram,worker,client,e2e/protocol}/**/*.browser.test.ts'],
          browser: {
            enabled: true,
            headless: true,
            screenshotFailures: false,
            provider: playwright({ launchOptions: chromium() }),
            instances: [{ browser: 'chromium' }, ...firefox()],
          },
        },
      },
      {
        extends: true,
        test: {
          // The built files; `npm run build` comes first.
          name: 'built',
          environment: 'node',
          include: ['e2e/built/**/*.test.ts'],
          testTimeout: 120_000,
        },
      },
      {
        extends: true,
        define: { __WEBGRAM_WORKER_FILE__: '"worker-test.js"' },
        test: {
          // Kills the built server; `npm run build` comes first.
          name: 'kills',
          environment: 'node',
          include: ['e2e/kill/**/*.test.ts'],
          // Each has a server to kill, and two cores are few.
          fileParallelism: false,
        },
      },
      {
        extends: true,
        test: {
          // The real classes under a scheduler, in threads of their own: both cores are theirs.
          name: 'schedules',
          environment: 'node',
          include: ['e2e/schedules/**/*.test.ts'],
          fileParallelism: false,
          maxConcurrency: 2,
          testTimeout: 600_000,
        },
      },
      {
        extends: true,
        test: {
          name: 'types',
          include: [],
          typecheck: {
            enabled: true,
            only: true,
            checker: 'tsc',
            tsconfig: './tsconfig.json',
            ignoreSourceErrors: true, // `npm run typecheck` reports those
            include: ['{webgram,worker,client,server,examples}/**/*.test-d.ts'],
          },
        },
      },
    ],
  },
}));

function common() {
  return { outDir: DIST, emptyOutDir: false, modulePreload: false as const, reportCompressedSize: false };
}

/** One file without imports: a classic script, as a script tag and `new SharedWorker` take it, or a module. */
function browser(
  input: Record<string, string>,
  entryFileNames: string,
  format: 'iife' | 'es' = 'iife',
): EnvironmentOptions {
  return {
    consumer: 'client',
    build: {
      ...common(),
      target: 'es2022',
      sourcemap: 'hidden',
      rolldownOptions: {
        input,
        preserveEntrySignatures: 'strict',
        output: { format, entryFileNames, codeSplitting: false },
      },
    },
  };
}

/** The page of an example: its index.html, and what that loads, in a folder of the same name. */
function page(folder: string): EnvironmentOptions {
  return {
    consumer: 'client',
    build: {
      ...common(),
      target: 'es2022',
      assetsDir: folder,
      assetsInlineLimit: 0,
      rolldownOptions: {
        input: `${folder}/index.html`,
        output: {
          entryFileNames: `${folder}/[name]-[hash].js`,
          chunkFileNames: `${folder}/[name]-[hash].js`,
          assetFileNames: `${folder}/[name]-[hash][extname]`,
        },
      },
    },
  };
}

/**
 * Modules whose names stay, and which hold next to nothing: what they import is named by its content, so that browsers
 * keep it until it changes. Lit is in a file of its own for both elements, and in its own production mode.
 */
function elements(): EnvironmentOptions {
  return {
    consumer: 'client',
    resolve: { conditions: ['module', 'browser', 'default'] },
    build: {
      ...common(),
      target: 'es2022',
      sourcemap: 'hidden',
      rolldownOptions: {
        input: {
          'accounts-define': 'client/elements/accounts-define.ts',
          'accounts-element': 'client/elements/accounts.ts',
          'devices-define': 'client/elements/devices-define.ts',
          'devices-element': 'client/elements/devices.ts',
        },
        preserveEntrySignatures: 'strict',
        output: {
          format: 'es',
          entryFileNames: 'browser/[name].js',
          chunkFileNames: 'browser/[name]-[hash].js',
          codeSplitting: {
            // A group takes what its files import, but for what an earlier one has taken.
            groups: [
              {
                name: 'elements',
                test: /\/(node_modules|client\/elements\/(base-\w+|icons|labels)[.]ts)/,
                priority: 2,
              },
              { name: 'accounts', test: /\/client\/elements\/accounts[.]ts$/, priority: 1 },
              { name: 'devices', test: /\/client\/elements\/devices[.]ts$/, priority: 1 },
            ],
          },
        },
      },
    },
  };
}

/** Modules for Node; packages of `dependencies` stay imports, `webgram` does not. */
function node(input: Record<string, string>): EnvironmentOptions {
  return {
    consumer: 'server',
    resolve: { noExternal: ['webgram'], external: ['ws', 'classic-level', 'sirv', 'cborg'] },
    build: {
      ...common(),
      target: 'node20',
      ssr: true,
      minify: false,
      sourcemap: true,
      copyPublicDir: false,
      rolldownOptions: {
        input,
        output: {
          format: 'es',
          entryFileNames: '[name].js',
          // Beside the entries, so that `import.meta.url` has the same folder in all of them.
          chunkFileNames: '[name]-core.js',
        },
      },
    },
  };
}

/** Names of built files, by what stands for them in the code. */
const NAMED = {
  __WEBGRAM_QUEUE_FILE__: 'queue',
  __WEBGRAM_WORKER_FILE__: 'worker',
  __WEBGRAM_LEADER_FILE__: 'leader',
};

/** Puts in the names of files that are known once these are built: before the code is minified, which is shorter. */
function browserFileNames(): Plugin {
  const fileNames = new Map<string, string>();
  return {
    name: 'webgram:browser-file-names',
    apply: 'build',
    enforce: 'pre',
    sharedDuringBuild: true,
    transform(code) {
      let named = code;
      for (const [placeholder, environment] of Object.entries(NAMED)) {
        if (!code.includes(placeholder)) continue;
        const fileName = fileNames.get(environment);
        if (fileName === undefined) throw new Error(`'${environment}' must be built first`);
        named = named.replaceAll(placeholder, JSON.stringify(fileName));
      }
      return named === code ? null : { code: named, map: null };
    },
    writeBundle(_options, bundle) {
      const script = Object.keys(bundle).find((name) => name.endsWith('.js'));
      fileNames.set(this.environment.name, path.basename(script ?? ''));
    },
  };
}

/**
 * Hosts in browsers name a fault of the other side's frames by its code alone, and a call of our own in the wrong order
 * by its class: the words are for those who write another implementation, who read them in the server's log.
 */
function terseHosts(): Plugin {
  const CODE = /WebgramError\(\s*'WEBGRAM_(?:BAD_\w+|FRAME_TOO_LARGE)',/.source;
  const WORDS = /'(?:[^'\\]|\\.)*'|"[^"]*"|`[^`]*`/.source;
  const FAULT = new RegExp(`(\\b(?:(?:bad|refused|TypeError|RangeError)\\(|${CODE})\\s*)(?:${WORDS})`, 'g');
  // The second: cryptography, which is asked within `webgram/`.
  const WHERE = /\/webgram\/|\/worker\/host\/web-(?:crypto|keys)\.ts$/;
  // What a field is called, as parsers are told for such words alone.
  const NAME = /(\bparse\w+\([^()]*), '[\w.]+'\)/g;
  return {
    name: 'webgram:terse-hosts',
    apply: 'build',
    enforce: 'pre',
    sharedDuringBuild: true,
    transform(code, id) {
      const isHost = ['queue', 'worker', 'leader'].includes(this.environment.name);
      if (!isHost || !WHERE.test(id)) return null;
      return { code: code.replaceAll(FAULT, "$1''").replaceAll(NAME, '$1)'), map: null };
    },
  };
}

/** Environments whose script is the page's part. */
const PAGE_SCRIPTS = ['script', 'module'];

/**
 * Like those of Terser: what is shorter with `rests` is longer when it is compressed. `unsafe` writes `'' + x` for
 * `String(x)`, and `+x` for `Number(x)`, which fails for the bigints of hosts.
 */
function uglifyOf(isPage: boolean) {
  return { toplevel: true, compress: { passes: 2, rests: false, unsafe: isPage } };
}

/**
 * Makes the scripts of browsers smaller twice more, behind Vite's own minifier: Terser shortens names of properties, UglifyJS
 * merges variables.
 */
function smallerScripts(): Plugin {
  // Made anew each time: Terser notes in them which short names it has given.
  const optionsOf = (): MinifyOptions => ({
    ecma: 2020,
    toplevel: true,
    // What is shorter without these is longer when it is compressed.
    compress: {
      ...{ passes: 3, keep_fargs: false, hoist_funs: true, unsafe_methods: true },
      ...{ if_return: false, lhs_constants: false, sequences: false },
    },
    // Also to names that the platform has for something else: ours are no objects of the platform.
    mangle: { properties: { regex: new RegExp(`^(${INNER_NAMES.join('|')})$`), builtins: true } },
  });
  // The worker and the queue that it loads are given the same short names.
  const nameCache = {};
  return {
    name: 'webgram:smaller-scripts',
    apply: 'build',
    sharedDuringBuild: true,
    // The names of files say what is in them once this is done.
    augmentChunkHash: () => JSON.stringify([optionsOf().compress, uglifyOf(false), INNER_NAMES]),
    renderChunk(code) {
      return PAGE_SCRIPTS.includes(this.environment.name) ? closeClasses(code) : null;
    },
    async generateBundle(_options, bundle) {
      const { name } = this.environment;
      const isPage = PAGE_SCRIPTS.includes(name);
      if (!isPage && !['queue', 'worker'].includes(name)) return;
      const own = { ...optionsOf(), ...(isPage ? {} : { nameCache }) };
      for (const file of Object.values(bundle)) {
        if (file.type !== 'chunk') continue;
        const map = bundle[`${file.fileName}.map`];
        const content = map?.type === 'asset' ? String(map.source) : undefined;
        const smaller = await minify(file.code, { ...own, sourceMap: content ? { content } : false });
        const between =
          typeof smaller.map === 'string' ? (JSON.parse(smaller.map) as SourceMapOptions['content']) : false;
        const smallest = uglify.minify(smaller.code ?? file.code, {
          ...uglifyOf(isPage),
          sourceMap: between && { content: between },
        });
        if (smallest.error) throw smallest.error;
        file.code = smallest.code;
        if (map?.type === 'asset' && smallest.map) map.source = smallest.map;
      }
    },
  };
}

/** What stands for files of `client/` where there is no bundler: the build's other files lie beside the one that runs. */
const WITHOUT_BUNDLER: Record<string, Record<string, string>> = {
  script: { 'own-files': 'own-files', 'in-page': 'in-page', report: 'report' },
  module: {
    'own-files': 'own-files',
    'in-page': 'in-page',
    report: 'report',
    'own-address': 'module-address',
  },
};

/** Lets a script tag and a module without a bundler find what lies beside them. */
function besideOwnFile(): Plugin {
  return {
    name: 'webgram:beside-own-file',
    apply: 'build',
    enforce: 'pre',
    sharedDuringBuild: true,
    resolveId(source) {
      const other = WITHOUT_BUNDLER[this.environment.name]?.[path.basename(source, '.ts')];
      return other === undefined ? null : path.resolve(`client/script-tag/${other}.ts`);
    },
  };
}

async function buildAll(builder: ViteBuilder, { types }: { types: boolean }) {
  const startedMs = Date.now();
  for (const name of Object.keys(ENVIRONMENTS)) {
    const environment = builder.environments[name];
    if (environment !== undefined) await builder.build(environment);
  }
  if (types) {
    const entries = [
      ['client', 'index'],
      ['client', 'devices'],
      ['client', 'identities'],
      ['client', 'elements/accounts'],
      ['client', 'elements/accounts-define'],
      ['client', 'elements/devices'],
      ['client', 'elements/devices-define'],
      ['server', 'index'],
    ] as const;
    await Promise.all(entries.map(([folder, entry]) => bundleTypes(folder, entry)));
  }
  await chmod(`${DIST}/cli.js`, 0o755);
  await removeOlder(DIST, startedMs - 2_000);
  await writeIntegrity(`${DIST}/browser`);
}

/**
 * Writes what pages with integrity attributes need: the scripts that they load by name once more, under names with a hash,
 * which never change; and the SHA-384 of each file, by its name.
 */
async function writeIntegrity(folder: string) {
  for (const name of ['webgram', 'client']) {
    const code = await readFile(`${folder}/${name}.js`);
    const hash = createHash('sha256').update(code).digest('base64url').slice(0, 8);
    await writeFile(`${folder}/${name}-${hash}.js`, code);
  }
  const integrity: Record<string, string> = {};
  for (const name of (await readdir(folder)).filter((name) => name.endsWith('.js')).sort()) {
    const code = await readFile(`${folder}/${name}`);
    integrity[name] = `sha384-${createHash('sha384').update(code).digest('base64')}`;
  }
  await writeFile(`${folder}/integrity.json`, `${JSON.stringify(integrity, null, 2)}\n`);
}

/** Rolls the types of an entry up into one file, those of `webgram/` included. */
async function bundleTypes(folder: 'client' | 'server', entry: string) {
  const bundle = await rollup({
    input: `${folder}/${entry}.ts`,
    external: [/^node:/, ...builtinModules],
    plugins: [
      dts({
        tsconfig: `${folder}/tsconfig.json`,
        // Through node_modules/ it would be foreign, and each of its files a program of its own.
        compilerOptions: { paths: { webgram: [path.resolve('webgram/index.ts')] } },
      }),
    ],
    onwarn(warning) {
      throw new Error(warning.message);
    },
  });
  await bundle.write({ file: `${DIST}/${entry === 'index' ? folder : entry}.d.ts`, format: 'es' });
  await bundle.close();
}

/** Removes what an earlier build left, at the end, so that a running server misses no file meanwhile. */
async function removeOlder(folder: string, thanMs: number) {
  for (const entry of await readdir(folder, { withFileTypes: true })) {
    const name = path.join(folder, entry.name);
    if (entry.isDirectory()) {
      await removeOlder(name, thanMs);
      if ((await readdir(name)).length === 0) await rmdir(name);
    } else if ((await stat(name)).mtimeMs < thanMs) await rm(name);
  }
}

/** Runs what depends on the engine's own cryptography; the rest is for the stories. */
function firefox() {
  const launchOptions = findFirefox();
  if (launchOptions === undefined) return [];
  const include = ['e2e/protocol/**/*.browser.test.ts'];
  return [{ browser: 'firefox' as const, include, provider: playwright({ launchOptions }) }];
}

function chromium() {
  const executablePath = findChromium();
  return { args: CHROMIUM_ARGS, ...(executablePath === undefined ? {} : { executablePath }) };
}

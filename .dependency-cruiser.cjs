// The floors of the tree: imports point down only.
//
//   4  e2e/  examples/  bench/
//   3  client/   server/
//   2  worker/
//   1  webgram/

/** Tests, and what only tests use: `testing/` folders. */
const TESTS = '[.](test|test-d|browser[.]test)[.]ts$|/testing/';
const OTHERS = '^(worker|client|server|examples|e2e|bench|dist)/';

/** A library that one file of a folder may name, whichever file that is. */
const oneFile = (library, folder) => ({
  name: `one-file-names-${library}-in-${folder}`,
  comment: `One library, one file: only one file of ${folder}/ imports ${library}.`,
  severity: 'error',
  from: { path: `^${folder}/`, pathNot: TESTS },
  module: { path: `^node_modules/(@types/)?${library}/`, numberOfDependentsMoreThan: 1 },
});

/** A library that has no business outside one folder. */
const onlyIn = (library, folders) => ({
  name: `${library}-only-in-${folders.replace(/\W+/g, '-')}`,
  comment: `${library} belongs to ${folders}.`,
  severity: 'error',
  from: { path: '^(webgram|worker|client|server)/', pathNot: [`^(${folders})/`, TESTS] },
  to: { path: `^node_modules/(@types/)?${library}/` },
});

module.exports = {
  forbidden: [
    {
      name: 'no-cycles',
      comment: 'Two files that import each other are one; types count as well.',
      severity: 'error',
      from: {},
      to: { circular: true },
    },
    {
      name: 'webgram-stands-alone',
      comment: 'webgram/ runs anywhere: nothing else of ours, nothing of Node, and of npm the CBOR library.',
      severity: 'error',
      from: { path: '^webgram/', pathNot: TESTS },
      to: { pathNot: ['^webgram/', '^node_modules/cborg/'] },
    },
    onlyIn('cborg', 'webgram/wire'),
    oneFile('cborg', 'webgram'),
    {
      name: 'webgram-tests-stay-below',
      comment: 'Tests of webgram/ may use npm and Node, but nothing of the floors above.',
      severity: 'error',
      from: { path: `^webgram/` },
      to: { path: OTHERS },
    },
    {
      name: 'worker-on-webgram',
      comment: 'worker/ imports webgram and itself.',
      severity: 'error',
      from: { path: '^worker/' },
      to: { path: '^(client|server|examples|e2e|bench|dist)/' },
    },
    {
      name: 'client-on-worker',
      comment: 'client/ imports worker, webgram and itself.',
      severity: 'error',
      from: { path: '^client/' },
      to: { path: '^(server|examples|e2e|bench|dist)/' },
    },
    {
      name: 'server-on-webgram',
      comment: 'server/ imports webgram and itself.',
      severity: 'error',
      from: { path: '^server/' },
      to: { path: '^(client|worker|examples|e2e|bench|dist)/' },
    },
    {
      name: 'webgram-by-its-name',
      comment: "The other folders write `from 'webgram'`, not a path into it.",
      severity: 'error',
      from: { path: '^(worker|client|server|examples)/' },
      to: { path: '^webgram/', dependencyTypesNot: ['aliased-workspace'] },
    },
    {
      name: 'no-node-in-browsers',
      comment: 'worker/ and client/ run in browsers (client/node/ is the client for Node).',
      severity: 'error',
      from: { path: '^(worker|client)/', pathNot: ['^client/node/', TESTS] },
      to: { dependencyTypes: ['core'] },
    },
    {
      name: 'no-development-tools',
      comment: 'What we publish imports nothing of devDependencies.',
      severity: 'error',
      from: { path: '^(webgram|worker|client|server)/', pathNot: TESTS },
      to: {
        dependencyTypes: ['npm-dev'],
        dependencyTypesNot: ['type-only'],
        pathNot: '^node_modules/@types/',
      },
    },
    {
      name: 'resolvable',
      comment: 'Every import leads somewhere (into dist/ once it is built).',
      severity: 'error',
      from: {},
      to: { couldNotResolve: true, pathNot: '/dist/' },
    },
    onlyIn('idb-keyval', 'worker'),
    oneFile('idb-keyval', 'worker'),
    onlyIn('lit', 'client/elements'),
    onlyIn('ws', 'server|client/node'),
    oneFile('ws', 'server'),
    onlyIn('classic-level', 'server/store'),
    oneFile('classic-level', 'server'),
  ],
  options: {
    doNotFollow: { path: 'node_modules' },
    exclude: { path: '^dist/' },
    tsPreCompilationDeps: true,
    tsConfig: { fileName: 'tsconfig.json' },
    enhancedResolveOptions: {
      exportsFields: ['exports'],
      conditionNames: ['import', 'types', 'node', 'default'],
      extensions: ['.ts', '.d.ts', '.mjs', '.js', '.json'],
    },
  },
};

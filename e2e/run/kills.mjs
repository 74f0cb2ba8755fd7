// @ts-check
// `npm run test:kills -- [ROUNDS] [SEED]`: the harness of e2e/kill/ alone, 200 rounds unless told otherwise.
// `npm run build` comes first.
import { spawn } from 'node:child_process';

const [rounds = '200', seed] = process.argv.slice(2);
const environment = {
  ...process.env,
  WEBGRAM_KILL_ROUNDS: rounds,
  ...(seed === undefined ? {} : { WEBGRAM_SEED: seed }),
};
spawn('npx', ['--no-install', 'vitest', 'run', '--project', 'kills', 'e2e/kill/kills.test.ts'], {
  stdio: 'inherit',
  env: environment,
}).once('exit', (code) => {
  process.exitCode = code ?? 1;
});

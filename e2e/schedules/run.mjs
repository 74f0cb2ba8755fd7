// @ts-check
// `npm run test:schedules -- N SEED`: N random schedules from a seed on (default 100,000 from a new seed each time).
// With N = 1 a failure is told with all its steps.
import { spawnSync } from 'node:child_process';

const [count = '100000', seed = String(Math.floor(Math.random() * 1e9))] = process.argv.slice(2);
console.log(`WEBGRAM_SCHEDULES=${count} WEBGRAM_SEED=${seed}`);
const args = ['--no-install', 'vitest', 'run', '--project', 'schedules', '-t', 'random schedules'];
const { status } = spawnSync('npx', args, {
  stdio: 'inherit',
  env: { ...process.env, WEBGRAM_SCHEDULES: count, WEBGRAM_SEED: seed },
});
process.exitCode = status ?? 1;

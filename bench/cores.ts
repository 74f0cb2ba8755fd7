import { spawnSync } from 'node:child_process';
import { availableParallelism } from 'node:os';

/** Server on one core and load on the other. */
const CAN_PIN = availableParallelism() > 1 && spawnSync('taskset', ['-V']).status === 0;

/** @returns `undefined` where that cannot be arranged. */
export function coreFor(side: 'server' | 'load'): number | undefined {
  if (!CAN_PIN) return undefined;
  return side === 'server' ? 0 : 1;
}

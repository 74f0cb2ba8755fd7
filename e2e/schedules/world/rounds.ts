/** How many rounds share one turn of the event loop. */
const BATCH = 64;

/** Taken before a schedule puts anything in its place. */
const immediately = setImmediate;
let ready = 0;
let waiting: (() => void) | undefined;

function round(): void {
  ready -= 1;
  const go = waiting;
  waiting = undefined;
  go?.();
}

/**
 * Calls back when everything that has been started is done, up to what another step must bring.
 *
 * Nothing under test waits for the event loop itself, only for microtasks and `process.nextTick`, and Node runs all of
 * those between two immediates of one turn. So one turn does for many rounds; turns cost more than most steps.
 *
 * @see https://nodejs.org/en/learn/asynchronous-work/understanding-setimmediate
 */
export function afterRound(go: () => void): void {
  waiting = go;
  if (ready > 0) return;
  for (; ready < BATCH; ready++) immediately(round);
}

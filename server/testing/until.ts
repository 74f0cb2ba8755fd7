/** Lets the process go on until something holds. Bounded; no timer is waited for, so timers may be faked. */
export async function until(holds: () => boolean, what = 'it'): Promise<void> {
  const startedNs = process.hrtime.bigint();
  while (!holds()) {
    if (process.hrtime.bigint() - startedNs > 4_000_000_000n) throw new Error(`${what} did not come`);
    await turn();
  }
}

/** Lets what has arrived be handled. */
export function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

/** Lets the process go on until something holds. Bounded, and no timer is waited for. */
export async function until(holds: () => boolean, what = 'it'): Promise<void> {
  const startedMs = performance.now();
  while (!holds()) {
    if (performance.now() - startedMs > 4_000) throw new Error(`${what} did not come`);
    await turn();
  }
}

/** Lets everything that is under way come to rest: some turns of the event loop, with crypto in other threads. */
export async function rest(turns = 20): Promise<void> {
  for (let i = 0; i < turns; i++) await turn();
}

function turn(): Promise<void> {
  return new Promise((resolve) => {
    setTimeout(resolve, 0);
  });
}

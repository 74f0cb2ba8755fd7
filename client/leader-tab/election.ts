/** The tab that holds it leads the others of this browser. */
const LEADER_LOCK = 'webgram-leader';
/** Whoever gets it may steal the other one, and keeps it for a minute. */
const SEIZURE_LOCK = 'webgram-leader-seizure';
const SEIZURE_PAUSE_MS = 60_000;

export interface Candidate {
  /** From now on this tab leads. */
  elected: () => void;
  /** Another tab has taken the lead, because this one did not answer. */
  deposed: () => void;
}

/**
 * Waits for the lead.
 *
 * @returns Gives it up, or no longer waits for it.
 * @see https://developer.mozilla.org/docs/Web/API/LockManager/request
 */
export function stand(candidate: Candidate): () => void {
  const controller = new AbortController();
  return request(candidate, controller, { signal: controller.signal });
}

/**
 * Takes the lead from a tab that does not answer, when `maySeize` has allowed it.
 *
 * @param incarnation Lock that the silent leader holds as long as it lives, if anybody knows it: those who wait for that
 * tab's death are told that it is as good as dead.
 * @returns Gives the lead up.
 */
export function seize(candidate: Candidate, incarnation: string | undefined): () => void {
  const resign = request(candidate, new AbortController(), { steal: true });
  if (incarnation !== undefined) {
    void navigator.locks.request(incarnation, { steal: true }, () => undefined);
  }
  return resign;
}

/** Allows one tab a minute to seize the lead: tabs that are all slow would do it in turn for ever. */
export function maySeize(): Promise<boolean> {
  return new Promise((resolve, reject) => {
    navigator.locks
      .request(SEIZURE_LOCK, { ifAvailable: true }, (lock) => {
        resolve(lock !== null);
        if (lock === null) return;
        return new Promise((over) => setTimeout(over, SEIZURE_PAUSE_MS));
      })
      .catch(reject);
  });
}

function request(candidate: Candidate, controller: AbortController, options: LockOptions): () => void {
  let resign: (() => void) | undefined;
  navigator.locks
    .request(LEADER_LOCK, options, () => {
      if (controller.signal.aborted) return;
      const held = new Promise<void>((resolve) => (resign = resolve));
      candidate.elected();
      return held;
    })
    .catch(() => {
      // Stolen; or aborted before it was had, and then nobody waits any more.
      if (resign !== undefined && !controller.signal.aborted) candidate.deposed();
    });
  return () => {
    controller.abort();
    resign?.();
  };
}

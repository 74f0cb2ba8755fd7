/** The tab that holds it leads the others of this browser. */
const LEADER_LOCK = 'webgram-leader';
/** Whoever holds it may steal the other one; kept for a minute, so that steals cannot follow each other. */
const STEAL_LOCK = 'webgram-leader-steal';
const STEAL_PAUSE_MS = 60_000;

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
 * Takes the lead from a tab that does not answer, and tells those who wait for that tab's death that it is as good as
 * dead. Does nothing when one was taken within the last minute: tabs that are all slow would steal in turn for ever.
 *
 * @param incarnation Lock that the silent leader holds as long as it lives; `undefined` when nobody knows it.
 * @returns Gives the lead up; `undefined` when it was not taken.
 */
export async function steal(candidate: Candidate, incarnation?: string): Promise<(() => void) | undefined> {
  if (!(await holdForAMinute())) return undefined;
  if (incarnation !== undefined) {
    await navigator.locks.request(incarnation, { steal: true }, () => undefined);
  }
  return request(candidate, new AbortController(), { steal: true });
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

function holdForAMinute(): Promise<boolean> {
  return new Promise((resolve, reject) => {
    navigator.locks
      .request(STEAL_LOCK, { ifAvailable: true }, (lock) => {
        resolve(lock !== null);
        if (lock === null) return;
        return new Promise((over) => setTimeout(over, STEAL_PAUSE_MS));
      })
      .catch(reject);
  });
}

import { hold } from '../../worker/host/web-locks.ts';

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

/** Waits for the lead. @returns Gives it up, or no longer waits for it. */
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
    void hold(incarnation, { steal: true }).then((release) => {
      release();
    });
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

function request(
  { elected, deposed }: Candidate,
  controller: AbortController,
  options: LockOptions,
): () => void {
  const { signal } = controller;
  let resign: (() => void) | undefined;
  const lost = (): void => {
    if (!signal.aborted) deposed();
  };
  hold(LEADER_LOCK, options, lost).then(
    (release) => {
      if (signal.aborted) release();
      else {
        resign = release;
        elected();
      }
    },
    () => {
      // `lost` was called.
    },
  );
  return () => {
    controller.abort();
    resign?.();
  };
}

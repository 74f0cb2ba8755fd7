import { delayMs, unreachable } from 'webgram';

/** A link that lived shorter than this, in ms, does not count as a success: the next wait goes on growing. */
export const STABLE_MS = 10_000;
/** Shortest time between two attempts that somebody asked for, in ms, however often the page is focused. */
export const WAKE_PAUSE_MS = 1_000;

/**
 * Where a link stands.
 *
 * - `idle`: nobody needs it.
 * - `connecting`: attempt number `attempt` (from 0 after a success) is under way.
 * - `active`: both proofs have been verified.
 * - `resuming`: the link was ended in good order and the next one is on its way: nobody need notice.
 * - `waiting`: until `retryAtMs`, then `connecting`.
 * - `denied`: an authenticated word of the server ended it, and only the application can go on. Final.
 *
 * Times are the host's clock, in ms.
 */
export type ReconnectState =
  | { name: 'idle' }
  | { name: 'connecting'; attempt: number; sinceMs: number }
  | { name: 'active'; attempt: number; sinceMs: number }
  | { name: 'resuming'; attempt: number; sinceMs: number }
  | { name: 'waiting'; attempt: number; sinceMs: number; retryAtMs: number; reason: string }
  | { name: 'denied'; reason: string };

export type ReconnectEvent =
  /** Somebody needs the link. */
  | { name: 'start'; nowMs: number }
  /** Nobody needs it any more. */
  | { name: 'stop' }
  | { name: 'up'; nowMs: number }
  /**
   * The attempt failed or the link ended.
   *
   * `random` is a number in [0, 1); `minimumMs` is how long to wait at least (0: try again at once).
   */
  | { name: 'down'; nowMs: number; reason: string; random: number; minimumMs?: number }
  /** The link was ended so that another one can take its place at once. */
  | { name: 'resume'; nowMs: number }
  /** The wait is over. */
  | { name: 'retry'; nowMs: number }
  /** The page was focused or shown, or the network came back. */
  | { name: 'wake'; nowMs: number }
  | { name: 'denied'; reason: string };

/**
 * Decides what a link does next. Pure: time and chance come in with the event.
 *
 * An event that means nothing in a state leaves it as it is, and the same object comes back.
 */
export function next(state: ReconnectState, event: ReconnectEvent): ReconnectState {
  if (event.name === 'stop') return { name: 'idle' };
  switch (state.name) {
    case 'idle':
      return event.name === 'start' ? { name: 'connecting', attempt: 0, sinceMs: event.nowMs } : state;
    case 'connecting':
    case 'active':
    case 'resuming':
      switch (event.name) {
        case 'up':
          return { name: 'active', attempt: state.attempt, sinceMs: event.nowMs };
        case 'down':
          return waiting(state, event);
        case 'denied':
          return { name: 'denied', reason: event.reason };
        case 'resume':
          return state.name === 'active' ? { ...state, name: 'resuming' } : state;
        default:
          return state;
      }
    case 'waiting': {
      if (event.name !== 'retry' && event.name !== 'wake') return state;
      const earliestMs = event.name === 'retry' ? 0 : state.sinceMs + WAKE_PAUSE_MS;
      if (event.nowMs >= earliestMs)
        return { name: 'connecting', attempt: state.attempt, sinceMs: event.nowMs };
      return earliestMs < state.retryAtMs ? { ...state, retryAtMs: earliestMs } : state;
    }
    case 'denied':
      return state;
    default:
      return unreachable(state);
  }
}

function waiting(
  from: { name: 'connecting' | 'active' | 'resuming'; attempt: number; sinceMs: number },
  event: ReconnectEvent & { name: 'down' },
): ReconnectState {
  const wasStable = from.name !== 'connecting' && event.nowMs - from.sinceMs >= STABLE_MS;
  const failures = wasStable ? 0 : from.attempt;
  const backoffMs = delayMs(failures, event.random);
  return {
    name: 'waiting',
    attempt: failures + 1,
    sinceMs: event.nowMs,
    retryAtMs: event.nowMs + Math.max(backoffMs, event.minimumMs ?? 0),
    reason: event.reason,
  };
}

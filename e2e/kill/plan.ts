import { KINDS } from './tally.ts';
import type { Kind } from './tally.ts';

/** What is done to the system, and when in the round, in ms. */
export type Harm = { atMs: number } &
  /** `kill -9`, and started again after some time. */
  (
    | { name: 'kill-server'; downMs: number }
    /** Every connection is reset. */
    | { name: 'cut' }
    /** Nothing comes through for some time; then all of it, or the connections are reset. */
    | { name: 'stall'; forMs: number; endsCut: boolean }
    /** Bytes come in slices, until the round is over. */
    | { name: 'slice'; bytes: number; delayMs: number }
    | { name: 'kill-host'; browser: number }
    | { name: 'kill-tab'; browser: number; tab: number }
  );

/** Messages that a tab sends in one go, and how long it waits then, in ms. */
export interface Burst {
  kinds: Kind[];
  pauseMs: number;
}

export interface Plan {
  harms: Harm[];
  /** By browser and tab. */
  bursts: Burst[][][];
  /** Somebody looks at the pages, so that no back-off is waited for. */
  wakes: boolean;
}

export const BROWSERS = 4;
export const TABS = 3;

/** How long the harm of a round goes on, in ms. */
const HARM_MS = 220;
const BURSTS = 4;
const ALL_KINDS = Object.keys(KINDS) as Kind[];

/** Plans one round: the same for the same numbers. */
export function planRound(random: () => number): Plan {
  const upTo = (limit: number): number => Math.floor(random() * limit);
  const chance = (share: number): boolean => random() < share;
  const atMs = (): number => upTo(HARM_MS);
  const harms: Harm[] = [{ name: 'kill-server', atMs: atMs(), downMs: upTo(150) }];
  if (chance(0.15)) harms.push({ name: 'kill-server', atMs: HARM_MS + upTo(800), downMs: upTo(50) });
  if (chance(0.5)) harms.push({ name: 'cut', atMs: atMs() });
  if (chance(0.25)) {
    harms.push({ name: 'stall', atMs: atMs(), forMs: 20 + upTo(200), endsCut: chance(0.5) });
  }
  if (chance(0.3)) harms.push({ name: 'slice', atMs: 0, bytes: 1 + upTo(200), delayMs: upTo(2) });
  if (chance(0.3)) harms.push({ name: 'kill-host', atMs: atMs(), browser: upTo(BROWSERS) });
  if (chance(0.4)) {
    harms.push({ name: 'kill-tab', atMs: atMs(), browser: upTo(BROWSERS), tab: upTo(TABS) });
  }
  const kinds = (): Kind[] => Array.from({ length: 1 + upTo(3) }, () => ALL_KINDS[upTo(ALL_KINDS.length)]!);
  const bursts = (): Burst[] => Array.from({ length: BURSTS }, () => ({ kinds: kinds(), pauseMs: upTo(60) }));
  return {
    harms,
    bursts: Array.from({ length: BROWSERS }, () => Array.from({ length: TABS }, bursts)),
    wakes: chance(0.8),
  };
}

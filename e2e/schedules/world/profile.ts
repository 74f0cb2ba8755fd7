import { KINDS } from './messages.ts';
import type { Kind } from './messages.ts';
import type { Random } from './random.ts';

/** What can go wrong, or at least otherwise. */
export const FAULTS = [
  'cut',
  'half-open',
  'kill host',
  'add host',
  'kill tab',
  'add tab',
  'freeze tab',
  'hide tab',
  'wake tab',
  'crash node',
  'pause node',
  'fail commit',
  'sleep',
] as const;
export type Fault = (typeof FAULTS)[number];

/** What kind of schedule it is. */
export interface Profile {
  /** What tabs send. */
  kinds: readonly Kind[];
  tabs: number;
  /** Messages of each tab. */
  messages: number;
  nodes: number;
  faults: readonly Fault[];
  /** Probability of a fault, a step of time, and a call of the application outside handlers, each step. */
  faultRate: number;
  timeRate: number;
  outsideRate: number;
  /** Most times that a handler waits. */
  waits: number;
  flushesAtOnce: boolean;
  /** Where frames of several envelopes are cut, in bytes. */
  frameBytes: number;
  /** Probabilities that the store, and a handler that waits, let another step go before. */
  storeDelay: number;
  handlerDelay: number;
  /** Steps before everything is healed. */
  steps: number;
}

/** Draws a profile; what is fixed stays. */
export function drawProfile(random: Random, fixed: Partial<Profile>): Profile {
  const some = <T>(list: readonly T[], probability: number): T[] =>
    list.filter(() => random.chance(probability));
  const kinds = some(KINDS, 0.5);
  const drawn: Profile = {
    kinds: kinds.length > 0 ? kinds : ['save', 'pure'],
    tabs: 1 + random.below(3),
    messages: 1 + random.below(4),
    nodes: 1 + random.below(2),
    // A long sleep excuses much, so it is rare.
    faults: some(FAULTS, 0.45).filter((fault) => fault !== 'sleep' || random.chance(0.3)),
    faultRate: [0.02, 0.04, 0.08, 0.15][random.below(4)]!,
    timeRate: [0, 0.01, 0.05][random.below(3)]!,
    outsideRate: [0, 0.03, 0.1][random.below(3)]!,
    waits: random.below(3),
    flushesAtOnce: random.chance(0.7),
    frameBytes: random.chance(0.7) ? 32_768 : 60,
    storeDelay: [0, 0.5, 0.8][random.below(3)]!,
    handlerDelay: [0, 0.5, 0.9][random.below(3)]!,
    steps: 30 + random.below(90),
  };
  // Without a bus no node tells another that its link was superseded: until something is to be committed both serve.
  if (drawn.nodes > 1) drawn.faults = drawn.faults.filter((fault) => fault !== 'add host');
  return { ...drawn, ...fixed };
}

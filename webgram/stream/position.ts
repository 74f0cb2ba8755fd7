import type { Position } from '../wire/envelope.ts';

/** Before every message. */
export const START: Readonly<Position> = { life: 0, n: 0 };

/** Whether `a` stands at or before `b`. */
export function isCovered(a: Position, b: Position): boolean {
  return a.life < b.life || (a.life === b.life && a.n <= b.n);
}

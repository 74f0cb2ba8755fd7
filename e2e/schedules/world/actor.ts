/**
 * Something with a memory of its own: a tab, a host, a node of the server, the store. Every step is taken by one of
 * them, and what the step starts (timers, microtasks, posts) belongs to it.
 */
export interface Actor {
  readonly name: string;
  /** False for ever after its death: none of its timers fires and nothing reaches it. */
  isAlive: boolean;
  /** Nothing of it runs, and what comes for it waits. */
  isFrozen: boolean;
  /** How many random bytes it has asked for, so that its randomness does not depend on the others. */
  randoms: number;
}

/** One thing that can happen next. */
export interface Step {
  readonly actor: Actor;
  /** Names it within the schedule; the same text for the same thing. */
  readonly what: string;
  /** What the actor learns by it, for telling states apart. */
  readonly content?: () => string;
  run(): void;
}

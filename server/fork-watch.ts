import type { SessionLink } from './session-link.ts';

/** What `$forked` listeners are given: what is known of the two ends that hold the same identity. Either is the copy. */
export interface Forked {
  /** The end that is here now, after it was superseded. */
  address: SessionLink['address'];
  generation: number;
  /** The end that had superseded it. */
  other: { address: SessionLink['address']; generation: number };
}

/** Links that took over and are remembered: enough for one who comes back after 10 minutes of waits that double. */
const MAX_LINKS = 8;

/**
 * Tells a copy of an identity from a host that has died.
 *
 * A proof that a dead host has left on its way takes the session over like any other, but nobody is behind it. So a
 * link that takes over is pinged; one that answers is alive, and when the end that it superseded comes back and still
 * owns its identity, there are two of it. PROTOCOL.md, "Closing".
 */
export class ForkWatch {
  readonly #tookOver = new Map<number, SessionLink>();

  /** The link has superseded another one. */
  tookOver(link: SessionLink): void {
    this.#tookOver.set(link.generation, link);
    for (const [oldest] of this.#tookOver) {
      if (this.#tookOver.size <= MAX_LINKS) break;
      this.#tookOver.delete(oldest);
    }
    link.probe();
  }

  /** @returns What is known, when the link comes from an end that was superseded by one that lives and is another. */
  check({ supersededBy, address, generation }: SessionLink): Forked | undefined {
    const other = supersededBy === undefined ? undefined : this.#tookOver.get(supersededBy);
    if (other?.hasAnswered !== true) return undefined;
    return { address, generation, other: { address: other.address, generation: other.generation } };
  }
}

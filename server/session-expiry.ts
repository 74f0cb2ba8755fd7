import { endOfLife, extensionStepMs } from './lifetime.ts';
import type { SessionContext } from './session-context.ts';
import type { StoredSession } from './store/store.ts';

/** When the lifetime of a session is over: use moves it, and the store is told now and then. */
export class SessionExpiry {
  readonly #sessionID: number;
  readonly #createdMs: number;
  readonly #context: Pick<SessionContext, 'store' | 'clock' | 'lifetime' | 'log'>;
  #expiresAtMs: number | undefined;
  /** What the store knows of it. */
  #storedMs: number | undefined;

  constructor(
    { sessionID, createdMs, expiresAtMs }: StoredSession,
    context: Pick<SessionContext, 'store' | 'clock' | 'lifetime' | 'log'>,
  ) {
    this.#sessionID = sessionID;
    this.#createdMs = createdMs;
    this.#context = context;
    this.#expiresAtMs = this.#storedMs = expiresAtMs;
  }

  isOver(nowMs: number): boolean {
    return this.#expiresAtMs !== undefined && this.#expiresAtMs <= nowMs;
  }

  /** The session is in use: that moves its end, and the store is told when it has moved far enough. */
  use(): void {
    const { clock, lifetime } = this.#context;
    const nowMs = clock();
    // What is over stays over, until it is swept.
    if (this.isOver(nowMs)) return;
    this.#expiresAtMs = endOfLife(lifetime, this.#createdMs, nowMs);
    const movedMs = Math.abs((this.#expiresAtMs ?? Infinity) - (this.#storedMs ?? Infinity));
    if (movedMs >= extensionStepMs(lifetime)) void this.write();
  }

  /** Tells the store. Does not reject. */
  async write(): Promise<void> {
    if (this.#expiresAtMs === this.#storedMs) return;
    const before = this.#storedMs;
    this.#storedMs = this.#expiresAtMs;
    try {
      await this.#context.store.extend(this.#sessionID, this.#expiresAtMs);
    } catch (error) {
      this.#storedMs = before;
      this.#context.log.debug({ sessionID: this.#sessionID, error }, 'the end of a lifetime was not stored');
    }
  }
}

/**
 * `webgram-step-up`: the application wants another proof before it logs devices out (`mayRevoke`).
 *
 * Whoever listens asks the user and says `event.respondWith(proof)`. It comes again while the proof is not good enough.
 */
export class StepUpEvent extends Event {
  /** What shall be done. */
  readonly action: 'revoke' | 'revoke-others';
  /** The device that shall be signed out; `undefined` for all others. */
  readonly sessionID: number | undefined;
  /** 1 at first; more when the last proof was not good enough. */
  readonly attempt: number;
  #response: Promise<unknown> | undefined;

  constructor(action: StepUpEvent['action'], sessionID: number | undefined, attempt: number) {
    super('webgram-step-up', { bubbles: true, composed: true });
    this.action = action;
    this.sessionID = sessionID;
    this.attempt = attempt;
  }

  /**
   * Supplies the proof, while the event is dispatched.
   *
   * @param proof For `mayRevoke` of the server; `undefined` or `null` when the user will not.
   */
  respondWith(proof: unknown): void {
    this.#response = Promise.resolve(proof);
    // It is waited for a moment later; until then nobody is to be told that nobody looks.
    this.#response.catch(() => undefined);
  }

  /** What was said; `undefined` when nobody has listened. */
  get response(): Promise<unknown> | undefined {
    return this.#response;
  }
}

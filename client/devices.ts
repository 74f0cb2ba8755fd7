import type { Device, DeviceSession } from 'webgram';

export type { Device, DeviceSession };

/** What asks: a `Client`. */
export interface Asking {
  ask(type: never, ...args: never[]): Promise<unknown>;
}

/** Sessions that come with one answer of the server. */
const PAGE = 100;

/**
 * The devices of the account that a client's session is bound to: every browser that is logged in.
 *
 * Without an account there is one device, this one. Every call is an ask of the client and rejects as asks do; what
 * concerns a session of another account, or none, is answered as if there were none.
 */
export class Devices {
  readonly #ask: (what: string, ...args: unknown[]) => Promise<unknown>;

  /** @param client A `Client` of any application. */
  constructor(client: Asking) {
    // It is no message of the application's.
    const loose: { ask(type: string, ...args: unknown[]): Promise<unknown> } = client;
    this.#ask = (...args) => loose.ask('$devices', ...args);
  }

  /** Lists them all, the oldest session first. */
  async list(): Promise<DeviceSession[]> {
    const all: DeviceSession[] = [];
    for (;;) {
      const page = (await this.#ask('list', all.at(-1)?.sessionID ?? 0)) as DeviceSession[];
      all.push(...page);
      if (page.length < PAGE) return all;
    }
  }

  /**
   * Logs a device out for good: its tabs are told at once (`denied`, reason `revoked`). Of this device the ask rejects with
   * `WEBGRAM_DENIED`, because it is no more.
   *
   * @param proof What the application wants besides, such as a password.
   * @returns Whether there was one.
   * @throws {AskError} `WEBGRAM_STEP_UP_REQUIRED`, or the application's own code, when it wants another proof.
   */
  revoke(sessionID: number, proof?: unknown): Promise<boolean> {
    return this.#ask('revoke', sessionID, proof ?? null) as Promise<boolean>;
  }

  /** Logs out every device but this one. @returns How many. @throws {AskError} as `revoke` does. */
  revokeOthers(proof?: unknown): Promise<number> {
    return this.#ask('revoke-others', proof ?? null) as Promise<number>;
  }

  /**
   * Gives a device a name, of at most 64 characters; an empty one takes it away.
   *
   * @returns Whether there is such a device.
   * @throws {AskError} `WEBGRAM_BAD_REQUEST` when the name is too long.
   */
  rename(sessionID: number, name: string): Promise<boolean> {
    return this.#ask('rename', sessionID, name) as Promise<boolean>;
  }
}

import { AskError } from 'webgram';
import type { DeviceSession } from '../../devices.ts';
import type { ClientState } from '../../state.ts';
import type { ElementClient } from '../base-element.ts';
import { Gate } from './gate.ts';

/** A client whose state a test sets, and which answers `$devices` from a list as a server does. */
export class TestClient implements ElementClient {
  /** What was asked of `$devices`. */
  readonly asked: unknown[][] = [];
  sessions: DeviceSession[] = [];
  /** What the next ask rejects with. */
  fault: Error | undefined;
  readonly gate = new Gate();
  /** The proof that `revoke` wants. */
  proof: unknown;
  state: ClientState = { name: 'active' };
  readonly #listeners = new Set<(state: ClientState) => unknown>();
  readonly #switchListeners = new Set<() => unknown>();

  get listeners(): number {
    return this.#listeners.size + this.#switchListeners.size;
  }

  readonly pinned: string | undefined = undefined;

  pin(): void {
    throw new TypeError('a test gives `identities`');
  }

  on(event: '$identities' | '$switched', listener: () => unknown): () => void;
  on(event: '$state', listener: (state: ClientState) => unknown): () => void;
  on(event: string, listener: (...args: never[]) => unknown): () => void {
    if (event === '$identities') return () => undefined;
    const listeners: Set<typeof listener> = event === '$state' ? this.#listeners : this.#switchListeners;
    listeners.add(listener);
    return () => listeners.delete(listener);
  }

  /** Goes over to an identity with these devices, and is not in session yet. */
  switch(sessions: DeviceSession[]): void {
    this.sessions = sessions;
    this.become({ name: 'connecting', attempt: 0 });
    for (const listener of this.#switchListeners) listener();
  }

  become(state: ClientState): void {
    this.state = state;
    for (const listener of this.#listeners) listener(state);
  }

  readonly ask = async (...[, ...args]: unknown[]): Promise<unknown> => {
    this.asked.push(args);
    await this.gate.opened;
    const { fault } = this;
    this.fault = undefined;
    if (fault !== undefined) throw fault;
    return this.#answer(...(args as [string, ...unknown[]]));
  };

  #answer(what: string, ...args: unknown[]): unknown {
    const [id, name] = args as [number, string];
    const found = this.sessions.find(({ sessionID }) => sessionID === id);
    switch (what) {
      case 'list':
        return this.sessions.filter(({ sessionID }) => sessionID > id);
      case 'rename':
        if (found !== undefined) found.device = { ...found.device, name };
        return found !== undefined;
      case 'revoke':
        this.#check(args[1]);
        this.sessions = this.sessions.filter((session) => session !== found);
        return found !== undefined;
      default: {
        this.#check(args[0]);
        const others = this.sessions.filter(({ isCurrent }) => !isCurrent);
        this.sessions = this.sessions.filter(({ isCurrent }) => isCurrent);
        return others.length;
      }
    }
  }

  #check(proof: unknown): void {
    if (this.proof !== undefined && proof !== this.proof)
      throw new AskError('WEBGRAM_STEP_UP_REQUIRED', 'another proof is wanted');
  }
}

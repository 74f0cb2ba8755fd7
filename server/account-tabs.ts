import type { AnyApp, AppShape, PageMessages, SendTypeOf } from 'webgram';
import type { Conn } from './conn.ts';
import type { SendArgs } from './delivery.ts';
import type { LiveSession } from './live-session.ts';

/** A person, as the server's application reaches him: all tabs of all browsers that are logged in as that account. */
export class AccountTabs<A extends AppShape = AnyApp> {
  readonly name: string;
  readonly #sessions: () => Iterable<LiveSession<A>>;

  /** @internal Made by the server. */
  constructor(name: string, sessions: () => Iterable<LiveSession<A>>) {
    this.name = name;
    this.#sessions = sessions;
  }

  /** Sessions of the account that are in memory: those with tabs, and those that had some just now. */
  get sessions(): ReadonlySet<LiveSession<A>> {
    return new Set(this.#sessions());
  }

  /** Tabs of all of them; some may be offline. */
  get conns(): ReadonlySet<Conn<A>> {
    return new Set([...this.#sessions()].flatMap(({ conns }) => [...conns]));
  }

  /**
   * Sends a message to the tabs of every session of the account; `{ deliver }` behind the arguments is for each session.
   *
   * @returns How many tabs it is meant for: 0 when the account has none open.
   */
  send<T extends SendTypeOf<PageMessages<A>>>(type: T, ...args: SendArgs<A, T>): number {
    return sendToAll(this.#sessions(), type, ...args);
  }
}

/** Sends a message to the tabs of each session. @returns How many tabs it is meant for. */
export function sendToAll<A extends AppShape, T extends SendTypeOf<PageMessages<A>>>(
  sessions: Iterable<LiveSession<A>>,
  type: T,
  ...args: SendArgs<A, T>
): number {
  let count = 0;
  for (const session of [...sessions]) count += session.send(type, ...args);
  return count;
}

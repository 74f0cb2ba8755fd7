import { DEFAULT_LIMITS, WebgramError } from 'webgram';
import type { Views } from 'webgram';
import { AddressLimits, DEFAULT_ADDRESS_RATES } from '../../../server/address-limits.ts';
import { Handlers } from '../../../server/handlers.ts';
import { DEFAULT_LIFETIME } from '../../../server/lifetime.ts';
import { Link } from '../../../server/link.ts';
import type { LiveSession } from '../../../server/live-session.ts';
import { Sessions } from '../../../server/sessions.ts';
import type { Actor } from './actor.ts';
import { Application } from './application.ts';
import type { Ledger } from './ledger.ts';
import type { NodeStores } from './node-store.ts';
import { SERVER_KEY, toyCrypto } from './toy-crypto.ts';
import type { Wire } from './wire.ts';

/** A stream is forgotten sooner than by default, so that it happens within a schedule. */
const RETENTION = { streamGraceMs: 120_000, streamRetentionMs: 1_200_000 };

const VIEWS: Views = {
  origin: 'https://page.example',
  authority: 'server.example',
  offered: 'webgram.2.json',
  chosen: 'webgram.2.json',
};
/** What only a peer that breaks the protocol leads to. */
const NEVER: ReadonlySet<string> = new Set(['WEBGRAM_BAD_FRAME', 'WEBGRAM_BAD_TAG', 'WEBGRAM_BAD_HANDSHAKE']);
/** How often links are looked after, in ms. */
const IDLE_CHECK_MS = 15_000;

export interface NodeOptions {
  name: string;
  stores: NodeStores;
  ledger: Ledger;
  /** Sees every frame before the node does. */
  gets: (link: number, frame: string) => void;
  print: (text: string) => void;
  /** Where frames of several envelopes are cut, in bytes. */
  frameBytes: number;
  /** Makes the present step this node's. */
  own: (node: Actor) => void;
}

/** One process of the server: the real `Sessions` and `Link`, over the store that all nodes share. */
export class ServerNode implements Actor {
  readonly name: string;
  isAlive = true;
  isFrozen = false;
  randoms = 0;
  readonly application: Application;
  readonly #sessions: Sessions;
  readonly #context: ConstructorParameters<typeof Link>[0];
  readonly #links = new Set<Link>();
  readonly #gets: (link: number, frame: string) => void;

  constructor({ name, stores, ledger, gets, print, own, frameBytes }: NodeOptions) {
    own(this);
    this.name = name;
    this.#gets = gets;
    const log = logger((text, error) => {
      print(`${this.name} logs: ${text}${error instanceof Error ? `: ${error.message}` : ''}`);
      if (error instanceof WebgramError && NEVER.has(error.code))
        ledger.failed(`${text}: ${error.code} ${error.message}`);
      // Our application throws nothing but AskErrors.
      if (text.includes('internal error') || text === 'a handler threw' || text.startsWith('a listener of')) {
        ledger.failed(`${text}: ${error instanceof Error ? error.stack : 'no error'}`);
      }
    });
    const store = stores.forNode(this);
    const limits = { ...DEFAULT_LIMITS, ...DEFAULT_ADDRESS_RATES, tickFrameBytes: frameBytes };
    const clock = (): number => Date.now();
    const handlers = new Handlers(log);
    this.application = new Application(this, handlers, ledger);
    this.#sessions = new Sessions({
      store,
      clock,
      limits,
      retention: RETENTION,
      lifetime: DEFAULT_LIFETIME,
      handlers,
      log,
      dataVersion: 1,
      upgradeData: undefined,
    });
    this.#context = {
      crypto: toyCrypto(this),
      serverKey: SERVER_KEY,
      otherServerKey: null,
      store,
      sessions: this.#sessions,
      limits,
      lifetime: DEFAULT_LIFETIME,
      addresses: new AddressLimits(limits),
      clock,
      log,
      storeIsBehind: () => false,
    };
    setInterval(() => {
      for (const link of this.#links) link.checkIdle();
    }, IDLE_CHECK_MS);
  }

  /** The session in this node's memory. */
  get session(): LiveSession | undefined {
    return [...this.#sessions.live.values()].find(({ isLive }) => isLive);
  }

  accept(wire: Wire): void {
    const link = new Link(this.#context, {
      socket: wire.linkSocket,
      address: ['192.0.2.1', 1],
      proved: () => undefined,
    });
    this.#links.add(link);
    wire.accept(this, {
      receive: (data) => {
        this.#gets(wire.n, data);
        link.receive(Buffer.from(data), false);
      },
      closed: () => {
        this.#links.delete(link);
        link.socketClosed();
      },
    });
    link.start(VIEWS);
  }
}

function logger(print: (text: string, error: unknown) => void): ConstructorParameters<typeof Handlers>[0] {
  const say = (fields: Record<string, unknown>, text: string): void => {
    print(text, fields['error']);
  };
  return { debug: say, info: say, warn: say, error: say };
}

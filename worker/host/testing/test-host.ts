import type { TabDown, TabUp } from 'webgram';
import { EndableHub } from '../endable-hub.ts';
import type { HubPlatform } from '../hub.ts';
import { MemoryKeyStore } from '../key-store.ts';
import type { KeyStore } from '../key-store.ts';
import { PORT_PROTOCOL } from '../port-protocol.ts';
import type { HostToTab, TabToHost } from '../port-protocol.ts';
import type { PortLike } from '../tab-port.ts';
import { webCrypto } from '../web-crypto.ts';
import { webKeys } from '../web-keys.ts';
import type { FakeServer } from './fake-server.ts';
import { ManualClock } from './manual-clock.ts';
import { ManualLocks } from './manual-locks.ts';
import { until } from './until.ts';

export const ADDRESS = 'wss://server.example/';

/** A hub on a fake platform. The server can be changed while it runs. */
export class TestHost {
  readonly clock = new ManualClock();
  readonly locks: ManualLocks;
  readonly hub: EndableHub;
  readonly keyStore: KeyStore;
  server: FakeServer;
  /** What `Math.random` gives. */
  random = 0.5;
  readonly #loadLater: NonNullable<HubPlatform['loadLater']>;

  constructor(
    server: FakeServer,
    {
      keyStore = new MemoryKeyStore('persistent'),
      locks = new ManualLocks(),
      loadLater = () => Promise.reject(new Error('offline')),
    }: { keyStore?: KeyStore; locks?: ManualLocks; loadLater?: HubPlatform['loadLater'] } = {},
  ) {
    this.server = server;
    this.#loadLater = loadLater;
    this.keyStore = keyStore;
    this.locks = locks;
    this.hub = new EndableHub(this.platform);
  }

  get platform(): HubPlatform {
    return {
      loadLater: this.#loadLater,
      kind: 'in-process',
      build: 'test',
      origin: this.server.origin,
      openSocket: (address, protocols) => this.server.openSocket(address, protocols),
      watchLock: (lock, gone) => this.locks.watch(lock, gone),
      clock: this.clock,
      random: () => this.random,
      crypto: webCrypto,
      keys: webKeys,
      keyStore: this.keyStore,
      schedule: (flush) => {
        setTimeout(flush);
      },
    };
  }

  /** A tab that has said hello. */
  tab(name: string, hello: Partial<TabToHost & { kind: 'hello' }> = {}): TestTab {
    const tab = new TestTab(this, name);
    this.locks.hold(name);
    tab.hello(hello);
    return tab;
  }
}

/** What a tab is played against. */
interface TestPlace {
  readonly hub: Pick<EndableHub, 'connect'>;
  readonly locks: Pick<ManualLocks, 'release'>;
  readonly clock: Pick<ManualClock, 'advance'>;
}

type FromHost<K extends HostToTab['kind']> = HostToTab & { kind: K };

/** The page's end of a port, played by a test. */
export class TestTab {
  readonly messages: HostToTab[] = [];
  readonly tabID: string;
  readonly lock: string;
  readonly #host: TestPlace;
  readonly #port: PortLike;
  #counter = 0;

  /** @param name Web Lock of the tab. */
  constructor(host: TestPlace, name: string) {
    this.#host = host;
    this.lock = name;
    this.tabID = tabIDOf(name);
    this.#port = {
      onmessage: null,
      postMessage: (message) => this.messages.push(structuredClone(message as HostToTab)),
      close: () => undefined,
    };
    host.hub.connect(this.#port);
  }

  /** The host's end of its port. */
  get port(): PortLike {
    return this.#port;
  }

  /** Posts anything at all. */
  post(message: unknown): void {
    this.#port.onmessage?.({ data: structuredClone(message) });
  }

  hello(hello: Partial<TabToHost & { kind: 'hello' }> = {}): void {
    const { lock } = this;
    const rest = { address: ADDRESS, build: 'test', fresh: false, demands: {} };
    this.post({ kind: 'hello', protocol: PORT_PROTOCOL, lock, ...rest, ...hello });
  }

  up(link: number, envelope: TabUp): void {
    this.post({ kind: 'up', link, envelope });
  }

  /** Attaches as a tab's stream does. @returns The attach's counter. */
  attach(link: number, { oldest = 1, tabID = this.tabID, seenMs = 0 } = {}): number {
    this.up(link, {
      kind: 'attach',
      tabID,
      counter: ++this.#counter,
      received: { life: 0, n: 0 },
      oldest,
      seen: { timeMs: seenMs, life: 0, commit: 0 },
      info: {},
    });
    return this.#counter;
  }

  send(link: number, seq: number, type = 'hello'): void {
    this.up(link, { kind: 'send', seq, ack: { life: 0, n: 0 }, type, args: [seq] });
  }

  /** The tab is gone without a word. */
  die(): void {
    this.#host.locks.release(this.lock);
    this.#host.clock.advance(1_000);
  }

  get links(): number[] {
    return this.of('link').map(({ link }) => link);
  }

  get downs(): TabDown[] {
    return this.of('down').map(({ envelope }) => envelope);
  }

  get state(): string | undefined {
    return this.of('state').at(-1)?.state.name;
  }

  get sessionID(): number | undefined {
    return this.of('state').at(-1)?.identity?.sessionID;
  }

  of<K extends HostToTab['kind']>(kind: K): FromHost<K>[] {
    return this.messages.filter((message): message is FromHost<K> => message.kind === kind);
  }

  /** Waits for the next link after so many. */
  async link(after = 0): Promise<number> {
    await until(() => this.links.length > after, 'a link');
    return this.links.at(-1)!;
  }

  async isActive(): Promise<void> {
    await until(() => this.state === 'active', 'the state active');
  }
}

/** 16 bytes in base64url, told apart by a name. */
function tabIDOf(name: string): string {
  return (
    name
      .replaceAll(/[^a-z0-9]/gi, '')
      .padEnd(21, '0')
      .slice(0, 21) + 'A'
  );
}

import { WebSocket } from 'ws';
import { WebgramError } from 'webgram';
import { Client } from '../../client/client.ts';
import type { HostPort, PageListener, TabEnvironment } from '../../client/environment.ts';
import { createInProcessHost } from '../../worker/host/in-process.ts';
import type { InProcessHost } from '../../worker/host/in-process.ts';
import { MemoryKeyStore } from '../../worker/host/key-store.ts';
import type { Socket } from '../../worker/host/platform.ts';
import type { HostToTab, TabToHost } from '../../worker/host/port-protocol.ts';
import { ManualLocks } from '../../worker/host/testing/manual-locks.ts';
import { webCrypto } from '../../worker/host/web-crypto.ts';
import { webKeys } from '../../worker/host/web-keys.ts';
import { KINDS, newRecord } from './tally.ts';
import type { Kept, Kind, TabRecord } from './tally.ts';

/** Longer than any time in which the harness gives up, in ms: an ask that ends by itself would hide that it hangs. */
const ASK_TIMEOUT_MS = 600_000;

/**
 * A browser profile in this process: locks and keys that outlive hosts, the real host over real message ports, and tabs
 * with the real client in them. Host and tabs can be killed as an operating system does it: at any moment and without
 * a word.
 */
export class FakeBrowser {
  readonly name: string;
  readonly tabs: FakeTab[] = [];
  readonly #address: string;
  readonly #random: () => number;
  readonly #locks = new ManualLocks();
  readonly #keyStore = new MemoryKeyStore('persistent');
  #host: FakeHost | undefined;
  #opened = 0;

  /** @param random For the host's back-off. */
  constructor(name: string, address: string, random: () => number) {
    this.name = name;
    this.#address = address;
    this.#random = random;
  }

  get living(): FakeTab[] {
    return this.tabs.filter(({ record }) => record.end.name === 'alive');
  }

  openTab(): FakeTab {
    const tab = new FakeTab(`${this.name}t${++this.#opened}`, this.#address, this.#locks, () => {
      this.#host ??= new FakeHost(this.#locks, this.#keyStore, this.#random);
      return this.#host;
    });
    this.tabs.push(tab);
    return tab;
  }

  /** The host's process is gone; the tabs find out by its lock, and the next of them starts another. */
  killHost(): void {
    const host = this.#host;
    this.#host = undefined;
    if (host === undefined) return;
    for (const { record, lastHost, hasArrived } of this.tabs) {
      if (record.end.name === 'killed' && lastHost === host && !hasArrived) record.end = { name: 'lost' };
    }
    host.kill();
  }

  /** The pages are focused. */
  wake(): void {
    for (const tab of this.living) tab.listener?.wake();
  }

  /** What the server holds, asked by one of the tabs. */
  kept(): Promise<Kept> {
    const [tab] = this.living;
    if (tab === undefined) throw new Error('no tab is left to ask');
    return tab.client.with({ timeoutMs: ASK_TIMEOUT_MS }).ask('dump') as Promise<Kept>;
  }

  close(): void {
    for (const tab of this.living) tab.client.close();
    this.#host?.kill();
  }
}

/** One life of a host. */
class FakeHost {
  readonly #host: InProcessHost;
  readonly #locks: ManualLocks;
  readonly #ports = new Set<MessagePort>();
  readonly #sockets = new Set<WebSocket>();
  #isAlive = true;

  constructor(locks: ManualLocks, keyStore: MemoryKeyStore, random: () => number) {
    this.#locks = locks;
    const whileAlive = (callback: () => void) => () => {
      if (this.#isAlive) callback();
    };
    this.#host = createInProcessHost({
      build: 'kill',
      origin: '',
      openSocket: (address, protocols) => {
        const socket = new WebSocket(address, protocols, { perMessageDeflate: false });
        this.#sockets.add(socket);
        // A close event follows.
        socket.on('error', () => undefined);
        socket.once('close', () => this.#sockets.delete(socket));
        return socket as unknown as Socket;
      },
      watchLock: (lock, gone) => locks.watch(lock, whileAlive(gone)),
      clock: {
        nowMs: () => Date.now(),
        after: (delayMs, callback) => {
          const timer = setTimeout(whileAlive(callback), delayMs);
          return () => {
            clearTimeout(timer);
          };
        },
      },
      random,
      crypto: webCrypto,
      keys: webKeys,
      keyStore,
      schedule: (flush) => {
        setImmediate(whileAlive(flush));
      },
    });
    locks.hold(this.#host.hub.incarnation);
  }

  get isAlive(): boolean {
    return this.#isAlive;
  }

  connect(): MessagePort {
    const port = this.#host.connect();
    this.#ports.add(port);
    return port;
  }

  kill(): void {
    this.#isAlive = false;
    for (const socket of this.#sockets) {
      socket.onopen = socket.onmessage = socket.onclose = null;
      socket.terminate();
    }
    for (const port of this.#ports) port.close();
    this.#locks.release(this.#host.hub.incarnation);
  }
}

/** The page's end of a port, until the page is killed. */
class PageEnd implements HostPort {
  onmessage: ((event: { data: HostToTab }) => void) | null = null;
  readonly #port: MessagePort;
  readonly #isAlive: () => boolean;
  readonly #posted: (message: TabToHost) => void;

  constructor(port: MessagePort, isAlive: () => boolean, posted: (message: TabToHost) => void) {
    this.#port = port;
    this.#isAlive = isAlive;
    this.#posted = posted;
    port.onmessage = (event: MessageEvent<HostToTab>) => {
      if (isAlive()) this.onmessage?.(event);
    };
  }

  postMessage(message: unknown): void {
    if (!this.#isAlive()) return;
    this.#posted(message as TabToHost);
    this.#port.postMessage(message);
  }

  close(): void {
    this.#port.close();
  }
}

/** A tab with the real client in it, which keeps a record of what it does and sees. */
export class FakeTab {
  readonly client: Client;
  readonly record: TabRecord;
  listener: PageListener | undefined;
  /** The host that it has spoken to last. */
  lastHost: FakeHost | undefined;
  /** All that it had handed over is known to have arrived. */
  hasArrived = false;
  /** Number of the last message that this host was handed. */
  #handedOver = 0;
  readonly #locks: ManualLocks;
  readonly #held = new Set<string>();
  #isAlive = true;

  constructor(name: string, address: string, locks: ManualLocks, host: () => FakeHost) {
    this.#locks = locks;
    this.record = newRecord(name);
    this.client = new Client(address, {}, this.#environment(host));
    const { record } = this;
    this.client.on('told', (n) => record.told.push(n as number));
    this.client.on('updated', (n) => record.updated.push(n as number));
    this.client.on('all', (place) => record.all.push(place as number));
  }

  /** Sends or asks the next message. */
  say(kind: Kind): void {
    const { record, client } = this;
    const n = record.kinds.push(kind);
    if (KINDS[kind].how === 'send') {
      client.send(kind, record.tab, n);
      return;
    }
    client
      .with({ timeoutMs: ASK_TIMEOUT_MS })
      .ask(kind, record.tab, n)
      .then(
        (value) => (record.answers[n] = { value }),
        (error: unknown) => {
          record.answers[n] = { code: codeOf(error) };
        },
      );
  }

  /** The page's process is gone: nothing of it runs any more, and what it has posted arrives. */
  kill(): void {
    // What it has posted to a host that is dead already was never handed over.
    const isHeard = this.lastHost?.isAlive === true;
    this.record.end = isHeard ? { name: 'killed', handedOver: this.#handedOver } : { name: 'lost' };
    this.#isAlive = false;
    for (const lock of this.#held) this.#locks.release(lock);
  }

  #environment(host: () => FakeHost): TabEnvironment {
    return {
      findHost: async () => {
        if (!this.#isAlive) return new Promise(() => undefined);
        const found = host();
        const port = found.connect();
        const page = new PageEnd(
          port,
          () => this.#isAlive,
          (message) => {
            this.#note(found, message);
          },
        );
        const welcome = await new Promise<HostToTab>((resolve) => {
          page.onmessage = ({ data }) => {
            resolve(data);
          };
        });
        return { port: page, welcome: welcome as HostToTab & { kind: 'welcome' }, why: 'a test' };
      },
      holdLock: async (name) => {
        this.#locks.hold(name);
        this.#held.add(name);
        return () => {
          this.#held.delete(name);
          this.#locks.release(name);
        };
      },
      watchLock: (name, gone) =>
        this.#locks.watch(name, () => {
          if (this.#isAlive) gone();
        }),
      listen: (listener) => {
        this.listener = listener;
        return () => undefined;
      },
    };
  }

  /** A host is handed everything that is not acknowledged, beginning with an attach. */
  #note(host: FakeHost, message: TabToHost): void {
    if (message.kind !== 'up') return;
    if (host !== this.lastHost) this.#handedOver = 0;
    this.lastHost = host;
    const { envelope } = message;
    if (envelope.kind === 'attach') this.#handedOver = Math.max(this.#handedOver, envelope.oldest - 1);
    else if ('seq' in envelope) this.#handedOver = envelope.seq;
  }
}

function codeOf(error: unknown): string {
  if (error instanceof WebgramError) return error.code;
  return (error as { code?: string }).code ?? String(error);
}

import { WebSocket } from 'ws';
import type { Limits, PayloadCodec } from 'webgram';
import { Client } from '../../client/client.ts';
import type { TabEnvironment } from '../../client/environment.ts';
import { createInProcessHost, type InProcessHost } from '../../worker/host/in-process.ts';
import { MemoryKeyStore, type KeyStore } from '../../worker/host/key-store.ts';
import type { Socket } from '../../worker/host/platform.ts';
import type { HostToTab } from '../../worker/host/port-protocol.ts';
import { webCrypto } from '../../worker/host/web-crypto.ts';
import { webKeys } from '../../worker/host/web-keys.ts';
import { systemClock } from '../../worker/host/web-platform.ts';

export interface NodeHostOptions {
  codecs?: readonly PayloadCodec[];
  /** What its clients want. */
  sealed?: boolean;
  /** Default: one of its own, in memory. */
  keyStore?: KeyStore;
  limits?: Partial<Limits>;
}

/** A host in this Node process, on real sockets and with the cryptography of browsers, and clients as its tabs. */
export class NodeHost {
  readonly #host: InProcessHost;
  readonly #sealed: boolean;
  readonly #clients: Client[] = [];
  readonly #ports: { close(): void }[] = [];

  constructor({
    keyStore = new MemoryKeyStore('persistent'),
    sealed = false,
    ...options
  }: NodeHostOptions = {}) {
    this.#sealed = sealed;
    this.#host = createInProcessHost({
      build: 'node',
      origin: '',
      openSocket: (address, protocols) => {
        const socket = new WebSocket(address, protocols, { perMessageDeflate: false });
        // Where nobody listens ws throws them; the close that follows says all.
        socket.on('error', () => undefined);
        return socket as unknown as Socket;
      },
      // All live in this process, so nobody goes without a word.
      watchLock: () => () => undefined,
      clock: systemClock,
      random: () => 0,
      crypto: webCrypto,
      keys: webKeys,
      keyStore,
      schedule: (flush) => {
        setImmediate(flush);
      },
      ...options,
    });
  }

  /** A tab of this host. */
  client(address: string): Client {
    const client = new Client(address, { sealed: this.#sealed }, this.#environment());
    this.#clients.push(client);
    return client;
  }

  close(): void {
    for (const client of this.#clients.splice(0)) client.close();
    this.#host.close();
    // An open port keeps the process alive.
    for (const port of this.#ports.splice(0)) port.close();
  }

  #environment(): TabEnvironment {
    return {
      findHost: async () => {
        const port = this.#host.connect();
        this.#ports.push(port);
        const welcome = await new Promise<HostToTab>((resolve) => {
          port.onmessage = ({ data }: MessageEvent<HostToTab>) => {
            resolve(data);
          };
        });
        if (welcome.kind !== 'welcome') throw new Error('no host');
        return { port, welcome, why: 'a host in this process' };
      },
      holdLock: () => Promise.resolve(() => undefined),
      watchLock: () => () => undefined,
      listen: () => () => undefined,
    };
  }
}

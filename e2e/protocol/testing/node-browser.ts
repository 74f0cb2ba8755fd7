import { WebSocket } from 'ws';
import { Client, type ClientOptions } from '../../../client/client.ts';
import type { HostPort, TabEnvironment } from '../../../client/environment.ts';
import type { EndableHub } from '../../../worker/host/endable-hub.ts';
import {
  addressPrefix,
  parseIdentityRecord,
  type IdentityRecord,
} from '../../../worker/host/identity-records.ts';
import { createInProcessHost } from '../../../worker/host/in-process.ts';
import { MemoryKeyStore, type KeyStore } from '../../../worker/host/key-store.ts';
import type { HubPlatform } from '../../../worker/host/hub.ts';
import type { Socket } from '../../../worker/host/platform.ts';
import type { HostToTab } from '../../../worker/host/port-protocol.ts';
import { ManualLocks } from '../../../worker/host/testing/manual-locks.ts';
import { webCrypto } from '../../../worker/host/web-crypto.ts';
import { webKeys } from '../../../worker/host/web-keys.ts';
import { systemClock } from '../../../worker/host/web-platform.ts';

/** Where a test reaches in between a host and what is around it. Each can be exchanged. */
export interface Around {
  keyStore: KeyStore;
  /** Wraps a socket that was just made. */
  socket: (socket: Socket) => Socket;
  platform: Partial<HubPlatform>;
}

/** A browser profile in this process: real hosts and clients, sockets of `ws`, and a disk that outlives them. */
export class NodeBrowser {
  readonly address: string;
  readonly disk: MemoryKeyStore;
  readonly locks = new ManualLocks();
  readonly clients: Client[] = [];
  readonly sockets = new Set<WebSocket>();
  /** Where a test reaches in between a tab and its host. */
  portOf: (port: MessagePort) => HostPort = (port) => port;
  #host: { hub: EndableHub; connect: () => MessagePort } | undefined;

  /** @param disk That of another browser for a copied profile. */
  constructor(address: string, disk = new MemoryKeyStore('persistent')) {
    this.address = new URL(address).href;
    this.disk = disk;
  }

  get hub(): EndableHub {
    if (this.#host === undefined) throw new TypeError('start first');
    return this.#host.hub;
  }

  /** Starts a host. Clients that are made from now on are served by it. */
  start({ keyStore = this.disk, socket = (made) => made, platform = {} }: Partial<Around> = {}): EndableHub {
    const host = createInProcessHost({
      build: 'test',
      origin: '',
      openSocket: (address, protocols) => socket(this.#open(address, protocols)),
      watchLock: (lock, gone) => this.locks.watch(lock, gone),
      clock: systemClock,
      random: () => 0,
      crypto: webCrypto,
      keys: webKeys,
      keyStore,
      schedule: (flush) => {
        setImmediate(flush);
      },
      ...platform,
    });
    this.locks.hold(host.hub.incarnation);
    this.#host = host;
    return host.hub;
  }

  /** A tab of its own. @param around What it has otherwise around it. */
  tab(options: ClientOptions = {}, around: Partial<TabEnvironment> = {}): Client {
    const client = new Client(this.address, options, { ...this.#environment(), ...around });
    this.clients.push(client);
    return client;
  }

  /** The identities that are on the disk, the oldest first. */
  async identities(): Promise<IdentityRecord[]> {
    const records = await this.disk.read(`${addressPrefix(this.address)}identity `);
    const identities = [...records.values()].map(parseIdentityRecord);
    return identities
      .filter((record): record is IdentityRecord => typeof record === 'object')
      .sort((a, b) => a.createdAtMs - b.createdAtMs);
  }

  close(): void {
    for (const client of this.clients.splice(0)) client.close();
    this.#host?.hub.close();
    for (const socket of this.sockets) socket.terminate();
  }

  #open(address: string, protocols: string[]): Socket {
    const socket = new WebSocket(address, protocols, { perMessageDeflate: false });
    this.sockets.add(socket);
    socket.on('close', () => this.sockets.delete(socket));
    socket.on('error', () => undefined);
    return socket as unknown as Socket;
  }

  #environment(): TabEnvironment {
    return {
      findHost: async () => {
        const own = this.#host!.connect();
        // Closed with the client; until then the test keeps the process alive itself.
        (own as MessagePort & { unref(): void }).unref();
        const port = this.portOf(own);
        const welcome = await new Promise<HostToTab & { kind: 'welcome' }>((resolve) => {
          port.onmessage = ({ data }: { data: HostToTab & { kind: 'welcome' } }) => {
            resolve(data);
          };
        });
        return { port, welcome, why: 'a test' };
      },
      holdLock: async (name) => {
        this.locks.hold(name);
        return () => {
          this.locks.release(name);
        };
      },
      watchLock: (name, gone) => this.locks.watch(name, gone),
      listen: () => () => undefined,
    };
  }
}

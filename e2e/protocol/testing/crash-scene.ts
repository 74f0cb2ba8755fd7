import { generateKeyPairSync } from 'node:crypto';
import { createServer, type Server as HttpServer } from 'node:http';
import type { AddressInfo, Socket as TcpSocket } from 'node:net';
import { once } from 'node:events';
import type { Client } from '../../../client/client.ts';
import { attach } from '../../../server/attach.ts';
import type { Conn } from '../../../server/conn.ts';
import type { Server } from '../../../server/server.ts';
import { MemoryStore } from '../../../server/store/memory-store.ts';
import type { Store } from '../../../server/store/store.ts';
import type { KeyStore } from '../../../worker/host/key-store.ts';
import type { StoredKey } from '../../../worker/host/identity-records.ts';
import type { Socket } from '../../../worker/host/platform.ts';
import { webKeys } from '../../../worker/host/web-keys.ts';
import { NodeBrowser } from './node-browser.ts';

/** Who dies. */
export type Side = 'host' | 'server' | 'both';

/** When somebody dies: at the step of that name. */
export interface Death {
  step: string;
  side: Side;
}

/**
 * Counts the steps of a run, and lets one side die at one of them. What comes next on that side never happens; what it
 * has done before stays on its disk or on its way.
 */
export class Steps {
  /** Each is told apart by how often its like was there before: the order of what happens at once can differ. */
  readonly names: string[] = [];
  /** `undefined`: nobody dies. */
  readonly death: Death | undefined;
  readonly died: Promise<Side>;
  #isArmed = false;
  #kill!: (side: Side) => void;

  constructor(death?: Death) {
    this.death = death;
    this.died = new Promise((resolve) => (this.#kill = resolve));
  }

  arm(): void {
    this.#isArmed = true;
  }

  disarm(): void {
    this.#isArmed = false;
  }

  reach(name: string, onDeath: (side: Side) => void): void {
    if (!this.#isArmed) return;
    const count = this.names.filter((other) => other.startsWith(`${name} #`)).length + 1;
    const step = `${name} #${count}`;
    this.names.push(step);
    if (step !== this.death?.step) return;
    onDeath(this.death.side);
    this.#kill(this.death.side);
  }
}

/** Of something that has died: it settles never. */
const never = new Promise<never>(() => undefined);

/** One side while it runs. */
interface Run {
  isAlive: boolean;
}

const STORE_STEPS: ReadonlySet<string> = new Set<keyof Store>([
  'create',
  'findKey',
  'claim',
  'load',
  'commit',
  'renew',
  'headTag',
  'end',
  'writeVisits',
  'extend',
]);

const SERVER_KEY = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  .privateKey.export({ type: 'pkcs8', format: 'pem' })
  .toString();

/** A real host and a real server, each of which can die at any step; two disks outlive them. */
export class CrashScene {
  readonly serverDisk = new MemoryStore();
  readonly steps: Steps;
  /** Every key that was ever made in the browser. */
  readonly keys: StoredKey[] = [];
  browser!: NodeBrowser;
  server!: Server;
  conn: Conn | undefined;
  #port = 0;
  #hostRun: Run = { isAlive: false };
  #serverRun: Run & { http?: HttpServer; sockets?: Set<TcpSocket> } = { isAlive: false };

  constructor(steps: Steps) {
    this.steps = steps;
  }

  get address(): string {
    return `ws://127.0.0.1:${this.#port}/`;
  }

  async startServer(): Promise<void> {
    const http = createServer();
    const sockets = new Set<TcpSocket>();
    http.on('connection', (socket: TcpSocket) => {
      sockets.add(socket.on('close', () => sockets.delete(socket)));
    });
    const run = (this.#serverRun = { isAlive: true, http, sockets });
    await this.serverDisk.close();
    const log = () => undefined;
    const server = attach(http, {
      store: this.#serverStore(run),
      log: { debug: log, info: log, warn: log, error: log },
      serverKeys: [SERVER_KEY],
      manualStart: true,
    });
    server.on('$session-active', (conn) => {
      if (run.isAlive) this.conn = conn;
    });
    server.answer['who'] = (conn) => [conn.session.sessionID, conn.session.account ?? null];
    await server.start();
    http.listen(this.#port, '127.0.0.1');
    await once(http, 'listening');
    this.#port = (http.address() as AddressInfo).port;
    this.server = server;
  }

  startHost(): Client {
    this.browser ??= new NodeBrowser(this.address);
    const run = (this.#hostRun = { isAlive: true });
    this.browser.start({
      keyStore: this.#keyStore(run),
      socket: (socket) => this.#socket(socket, run),
      platform: {
        keys: {
          ...webKeys,
          generate: async () => {
            const made = await webKeys.generate();
            this.keys.push(made);
            return made;
          },
        },
      },
    });
    return this.browser.tab();
  }

  /** Starts what has died. */
  async restart(side: Side): Promise<Client | undefined> {
    if (side !== 'host') await this.startServer();
    return side === 'server' ? undefined : this.startHost();
  }

  close(): void {
    this.#die('both');
    this.browser.close();
  }

  #reach(name: string): void {
    this.steps.reach(name, (side) => this.#die(side));
  }

  #die(side: Side): void {
    if (side !== 'server') {
      this.#hostRun.isAlive = false;
      for (const socket of this.browser.sockets) {
        // What it had written is on its way.
        setTimeout(() => socket.terminate(), 2);
      }
    }
    if (side !== 'host') {
      const { http, sockets = [] } = this.#serverRun;
      this.#serverRun.isAlive = false;
      this.conn = undefined;
      http?.close();
      for (const socket of sockets) socket.destroy();
    }
  }

  #serverStore(run: Run): Store {
    return new Proxy<Store>(this.serverDisk, {
      get: (disk, name: keyof Store) => {
        const member: unknown = disk[name];
        if (typeof member !== 'function') return member;
        const call = (member as (...args: unknown[]) => unknown).bind(disk);
        if (!STORE_STEPS.has(name)) return call;
        return async (...args: unknown[]): Promise<unknown> => {
          this.#reach(`server before ${name}`);
          if (!run.isAlive) return never;
          const result = await call(...args);
          this.#reach(`server after ${name}`);
          return run.isAlive ? result : never;
        };
      },
    });
  }

  #keyStore(run: Run): KeyStore {
    const { disk } = this.browser;
    const step = async <T>(name: string, work: () => Promise<T>): Promise<T> => {
      this.#reach(`host before ${name}`);
      if (!run.isAlive) return never;
      const result = await work();
      this.#reach(`host after ${name}`);
      return run.isAlive ? result : never;
    };
    return {
      storage: 'persistent',
      read: (prefix) => step('read', () => disk.read(prefix)),
      update: (prefix, change) => step('update', () => disk.update(prefix, change)),
    };
  }

  /** Lets a message be a step at both of its ends. */
  #socket(socket: Socket, run: Run): Socket {
    const wrapped: Socket = {
      onopen: null,
      onmessage: null,
      onclose: null,
      onerror: null,
      binaryType: 'arraybuffer',
      get protocol() {
        return socket.protocol;
      },
      send: (data) => {
        this.#reach('up before');
        if (!run.isAlive) return;
        socket.send(data);
        this.#reach('up after');
      },
      close: () => {
        if (run.isAlive) socket.close();
      },
    };
    socket.binaryType = 'arraybuffer';
    socket.onopen = () => {
      if (run.isAlive) wrapped.onopen?.();
    };
    socket.onmessage = (event) => {
      if (!run.isAlive) return;
      this.#reach('down before');
      if (!run.isAlive) return;
      wrapped.onmessage?.(event);
      this.#reach('down after');
    };
    socket.onclose = (event) => {
      if (run.isAlive) wrapped.onclose?.(event);
    };
    socket.onerror = () => undefined;
    return wrapped;
  }
}

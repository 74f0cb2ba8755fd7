import { WebSocket } from 'ws';
import type { Answer } from 'webgram';
import type { Logger } from '../log.ts';
import { NodeSigningKey } from '../node-crypto.ts';
import type { ServerOptions } from '../options.ts';
import { Server } from '../server.ts';
import { MemoryStore } from '../store/memory-store.ts';
import type { Store } from '../store/store.ts';
import { TestLink, TestTab, type TestIdentity, type TestLinkOptions } from './test-client.ts';

/** One record of the log. */
export interface Logged {
  level: 'debug' | 'info' | 'warn' | 'error';
  fields: Record<string, unknown>;
  message: string;
}

/** A server in this process, its clients, and what it has logged. */
export class Scene {
  store: Store = new MemoryStore();
  /** What links offer. Default: as `TestLink`. */
  protocols: string[] | undefined;
  readonly links: TestLink[] = [];
  readonly logged: Logged[] = [];
  #server: Server | undefined;

  get server(): Server {
    if (this.#server === undefined) throw new TypeError('start first');
    return this.#server;
  }

  get log(): Logger {
    const at = (level: Logged['level']) => (fields: Record<string, unknown>, message: string) => {
      this.logged.push({ level, fields, message });
    };
    return { debug: at('debug'), info: at('info'), warn: at('warn'), error: at('error') };
  }

  /** Messages of one level, or of warnings and errors. */
  messages(...levels: Logged['level'][]): string[] {
    const wanted = levels.length === 0 ? ['warn', 'error'] : levels;
    return this.logged.filter(({ level }) => wanted.includes(level)).map(({ message }) => message);
  }

  async start(options: ServerOptions = {}): Promise<Server> {
    const store = options.db === undefined ? { store: this.store } : {};
    const server = new Server({ port: 0, ...store, log: this.log, manualStart: true, ...options });
    this.#server = server;
    server.answer['incr'] = (_conn, x) => (x as number) + 1;
    await server.start();
    return server;
  }

  identity(): TestIdentity {
    return { key: NodeSigningKey.generate() };
  }

  async connect(options: Partial<TestLinkOptions> = {}): Promise<TestLink> {
    const link = await TestLink.open({
      address: this.server.address,
      WebSocket,
      ...(this.protocols === undefined ? {} : { protocols: this.protocols }),
      ...options,
    });
    this.links.push(link);
    return link;
  }

  /** Connects and proves the identity. @throws unless it is accepted. */
  async enter(identity = this.identity(), options: Partial<TestLinkOptions> = {}): Promise<TestLink> {
    const link = await this.connect(options);
    const answer = await link.enter(identity);
    if (answer.kind !== 'ok') throw new Error(`denied: ${answer.code}`);
    return link;
  }

  /** What a key is answered with. */
  async attempt(identity: TestIdentity): Promise<Answer> {
    const link = await this.connect();
    const answer = await link.enter({ ...identity });
    link.socket.terminate();
    return answer;
  }

  /** A tab of its own link. */
  async tab(identity = this.identity()): Promise<TestTab> {
    const tab = new TestTab(await this.enter(identity));
    await tab.attach();
    return tab;
  }

  async close(): Promise<void> {
    for (const { socket } of this.links.splice(0)) socket.terminate();
    await this.#server?.close();
  }
}

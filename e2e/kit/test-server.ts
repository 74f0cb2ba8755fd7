import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const CLI = path.join(ROOT, 'dist/cli.js');
const PAGE = path.join(ROOT, 'dist/examples/plus-one');
const APP = path.join(ROOT, 'e2e/kit/app.mjs');

/** How long the server may take to say that it listens, and to end, in ms. */
const LIMIT_MS = 20_000;

/** What the test application answers when asked for `stats`. */
export interface Stats {
  /** WebSockets that are open. */
  sockets: number;
  /** Sessions in memory. */
  sessions: number;
  /** Connections (tabs) of all sessions that are online. */
  conns: number;
}

/** The built command line with the test application. */
const SERVE = [CLI, 'serve', APP, '--root', PAGE];

/** A server as a process of its own, on a port and a database of its own; serves the plus-one page. */
export class TestServer {
  readonly folder: string;
  /** 0 until it was started once; the same ever after. */
  port = 0;
  #child: ChildProcess | undefined;
  #output = '';

  readonly #command: readonly string[];

  private constructor(folder: string, command: readonly string[]) {
    this.folder = folder;
    this.#command = command;
  }

  /**
   * A database in a new folder; nothing runs yet.
   *
   * @param command What Node is to run. It takes `--db` and `--port`, and prints `is at http://…` when it listens.
   */
  static async prepare(command: readonly string[] = SERVE): Promise<TestServer> {
    return new TestServer(await mkdtemp(path.join(tmpdir(), 'webgram-e2e-')), command);
  }

  get db(): string {
    return path.join(this.folder, 'sessions');
  }

  /** File of the server's key. */
  get keyFile(): string {
    return `${this.db}.key`;
  }

  get url(): string {
    return `http://127.0.0.1:${this.port}/`;
  }

  get wsUrl(): string {
    return `ws://127.0.0.1:${this.port}/`;
  }

  /** All that the process has printed, over all its starts. */
  get output(): string {
    return this.#output;
  }

  get isRunning(): boolean {
    return this.#child !== undefined;
  }

  /**
   * Starts it, and waits for the line that says where it is.
   *
   * @param more Arguments for this time only.
   */
  async start(more: readonly string[] = []): Promise<void> {
    if (this.#child !== undefined) throw new Error('the server runs already');
    const args = [...this.#command, ...more, '--db', this.db, '--port', String(this.port)];
    const child = spawn(process.execPath, args, {
      cwd: this.folder,
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    this.#child = child;
    this.port = await new Promise<number>((resolve, reject) => {
      let printed = '';
      const limit = setTimeout(() => reject(new Error(`the server did not start: ${printed}`)), LIMIT_MS);
      const read = (chunk: Buffer) => {
        this.#output += chunk.toString();
        printed += chunk.toString();
        const port = /is at http:\/\/[^\s/]+:(\d+)/.exec(printed)?.[1];
        if (port === undefined) return;
        clearTimeout(limit);
        resolve(Number(port));
      };
      child.stdout.on('data', read);
      child.stderr.on('data', read);
      child.once('exit', (code, signal) => {
        clearTimeout(limit);
        if (this.#child === child) this.#child = undefined;
        reject(new Error(`the server ended with ${code ?? signal}: ${printed}`));
      });
    });
  }

  /** `kill -9`: nothing of it runs any more when this returns. */
  async kill(): Promise<void> {
    await this.#end('SIGKILL');
  }

  /** Lets it drain. */
  async stop(): Promise<void> {
    await this.#end('SIGTERM');
  }

  /** Ends it for good, and removes what it has stored. */
  async dispose(): Promise<void> {
    await this.kill();
    await rm(this.folder, { recursive: true, force: true });
  }

  async #end(signal: 'SIGKILL' | 'SIGTERM'): Promise<void> {
    const child = this.#child;
    if (child === undefined) return;
    const ended = once(child, 'exit', { signal: AbortSignal.timeout(LIMIT_MS) });
    child.kill(signal);
    await ended;
    this.#child = undefined;
  }
}

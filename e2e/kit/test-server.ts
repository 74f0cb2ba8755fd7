import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { cp, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const CLI = path.join(ROOT, 'dist/cli.js');
const PAGE = path.join(ROOT, 'dist/examples/plus-one');
const APP = path.join(ROOT, 'e2e/kit/app.mjs');
const LIBRARY_SERVER = path.join(ROOT, 'e2e/kit/library-server.mjs');

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

export interface TestServerOptions {
  /** Serve a copy of the plus-one page, which a test may change. */
  ownPage?: boolean;
  /** Attributes of the script tag, in a copy of the page. */
  attributes?: string;
  /** Arguments of every start. */
  flags?: readonly string[];
  /** How long a link may live, in ms. Default: the server's own. */
  maxLinkMs?: number;
  /** Folder of the built scripts. Default: that of the build. */
  browserFolder?: string;
  /** What every response has as `Content-Security-Policy`. Default `default-src 'self'`. */
  policy?: string;
  /**
   * What Node is to run. It takes `--db` and `--port`, and prints `is at http://…` when it listens. Default: the built
   * command line with the test application.
   */
  command?: readonly string[];
}

/** A server as a process of its own, on a port and a database of its own; serves the plus-one page. */
export class TestServer {
  readonly folder: string;
  /** 0 until it was started once; the same ever after. */
  port = 0;
  readonly #options: TestServerOptions;
  #child: ChildProcess | undefined;
  #output = '';

  private constructor(folder: string, options: TestServerOptions) {
    this.folder = folder;
    this.#options = { ...options };
  }

  /** A database in a new folder; nothing runs yet. */
  static async prepare(options: TestServerOptions = {}): Promise<TestServer> {
    const server = new TestServer(await mkdtemp(path.join(tmpdir(), 'webgram-e2e-')), options);
    const { ownPage, attributes } = options;
    if (ownPage || attributes !== undefined) await cp(PAGE, server.root, { recursive: true });
    if (attributes !== undefined) await server.tag(attributes);
    return server;
  }

  /** Gives the script tag of its own page other attributes. */
  async tag(attributes: string): Promise<void> {
    const html = await readFile(path.join(PAGE, 'index.html'), 'utf8');
    const tag = '<script src="/.well-known/webgram/webgram.js"';
    if (!html.includes(tag)) throw new Error('the page has no such tag');
    await writeFile(path.join(this.root, 'index.html'), html.replace(tag, `${tag} ${attributes}`));
  }

  /** Deploys other scripts: they are served from the next start on. */
  deploy(browserFolder: string): void {
    this.#options.browserFolder = browserFolder;
  }

  /** Puts a file beside its own page. */
  async write(name: string, text: string): Promise<void> {
    const file = path.join(this.root, name);
    await mkdir(path.dirname(file), { recursive: true });
    await writeFile(file, text);
  }

  /** Folder of the page. */
  get root(): string {
    const { ownPage, attributes } = this.#options;
    return ownPage || attributes !== undefined ? path.join(this.folder, 'public') : PAGE;
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
    const { maxLinkMs, browserFolder, policy, command, flags: always = [] } = this.#options;
    const flags = [...always, ...more, '--db', this.db, '--port', String(this.port)];
    const page = ['--root', this.root];
    // The command line has no flag for these: they are for tests alone.
    const library = [
      ...(maxLinkMs === undefined ? [] : ['--max-link-ms', String(maxLinkMs)]),
      ...(browserFolder === undefined ? [] : ['--browser-folder', browserFolder]),
    ];
    const program =
      library.length === 0 ? [CLI, 'serve', APP, ...page] : [LIBRARY_SERVER, ...page, ...library];
    const args = [...(command ?? program), ...flags];
    const child = spawn(process.execPath, args, {
      cwd: this.folder,
      stdio: ['ignore', 'pipe', 'pipe'],
      ...(policy === undefined ? {} : { env: { ...process.env, TEST_POLICY: policy } }),
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

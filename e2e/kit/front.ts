import { createServer, request, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { connect, type AddressInfo } from 'node:net';
import { once } from 'node:events';
import type { Duplex } from 'node:stream';

export interface FrontOptions {
  /** What it serves itself, by path: HTML, and JavaScript where the path ends in `.js`. */
  pages?: Record<string, string>;
  /** What every page has as `Content-Security-Policy`. Default: none. */
  policy?: string;
  /** Hands what is below this path on, without it, as a reverse proxy does; ends with a slash. */
  prefix?: string;
  /** What it breaks off in place of handing it on. */
  breaks?: (path: string) => boolean;
  /** The server behind it, on 127.0.0.1. */
  target?: () => number;
}

/** Another web server: of another origin, or in front of ours. */
export class Front {
  readonly port: number;
  readonly #http: Server;
  readonly #options: FrontOptions;
  readonly #sockets = new Set<Duplex>();

  private constructor(http: Server, options: FrontOptions) {
    this.#http = http;
    this.#options = options;
    this.port = (http.address() as AddressInfo).port;
    http.on('connection', (socket) => {
      this.#sockets.add(socket);
      socket.once('close', () => this.#sockets.delete(socket));
    });
    http.on('request', (req, res) => {
      this.#respond(req, res);
    });
    http.on('upgrade', (req, socket, head) => {
      this.#upgrade(req, socket, head);
    });
  }

  static async start(options: FrontOptions): Promise<Front> {
    const http = createServer().listen(0);
    await once(http, 'listening');
    return new Front(http, options);
  }

  /** Address of its pages, on this machine. */
  get url(): string {
    return `http://127.0.0.1:${this.port}/`;
  }

  /** The same under a name that browsers find here, and trust, but that servers take for a stranger's. */
  get strangeUrl(): string {
    return `http://app.localhost:${this.port}/`;
  }

  async close(): Promise<void> {
    this.#http.close();
    for (const socket of this.#sockets) socket.destroy();
    await once(this.#http, 'close');
  }

  #respond(req: IncomingMessage, res: ServerResponse): void {
    const { pages = {}, policy, target, breaks } = this.#options;
    const url = req.url ?? '';
    if (breaks?.(url)) {
      req.socket.destroy();
      return;
    }
    const page = pages[url];
    if (page !== undefined) {
      res.setHeader('Content-Type', url.endsWith('.js') ? 'text/javascript' : 'text/html');
      if (policy !== undefined) res.setHeader('Content-Security-Policy', policy);
      res.end(page);
      return;
    }
    const behind = this.#behind(url);
    if (behind === undefined || target === undefined) {
      res.writeHead(404).end();
      return;
    }
    const options = { port: target(), host: '127.0.0.1', path: behind, headers: req.headers };
    const onward = request(options, (answer) => {
      res.writeHead(answer.statusCode ?? 502, answer.headers);
      answer.pipe(res);
    });
    onward.on('error', () => res.destroy());
    onward.end();
  }

  #upgrade(req: IncomingMessage, socket: Duplex, head: Buffer): void {
    const { target } = this.#options;
    const behind = this.#behind(req.url ?? '');
    if (behind === undefined || target === undefined) {
      socket.destroy();
      return;
    }
    const server = connect(target(), '127.0.0.1');
    const lines = [`GET ${behind} HTTP/1.1`];
    for (let n = 0; n < req.rawHeaders.length; n += 2)
      lines.push(`${req.rawHeaders[n]}: ${req.rawHeaders[n + 1]}`);
    server.write(`${lines.join('\r\n')}\r\n\r\n`);
    server.write(head);
    server.pipe(socket).pipe(server);
    server.on('error', () => socket.destroy());
    socket.on('error', () => server.destroy());
    socket.on('close', () => server.destroy());
  }

  #behind(path: string): string | undefined {
    const { prefix } = this.#options;
    if (prefix === undefined || !path.startsWith(prefix)) return undefined;
    return path.slice(prefix.length - 1);
  }
}

import type { IncomingMessage, ServerResponse } from 'node:http';
import { isNamedByContent, SCRIPT_FILE, type BrowserFiles } from './browser-files.ts';
import { isReading, rawPathOf, respondText } from './respond.ts';

const DISCOVERY_PATH = '/.well-known/webgram.json';
const FOLDER_PATH = '/.well-known/webgram/';

/** What `/.well-known/webgram.json` says. Relative addresses are relative to it. */
export interface Discovery {
  /** Where the socket is; `//host/path` when the server cannot know whether TLS ends in front of it. */
  wsAddress: string;
  /** The worker of this build. */
  worker: string;
  /** The page script. */
  script: string;
  /** Why a page of the asking origin would be refused, and the line that lets it in. */
  refused?: string;
}

export interface WellKnownOptions {
  files: BrowserFiles;
  /** `worker-<hash>.js`. */
  workerFile: string;
  /** What depends on who asks. */
  describe: (req: IncomingMessage) => Pick<Discovery, 'wsAddress' | 'refused'>;
}

/** Everybody may load these: they are the same for all and hold no secret. */
const PUBLIC = {
  'Access-Control-Allow-Origin': '*',
  'Cross-Origin-Resource-Policy': 'cross-origin',
  'X-Content-Type-Options': 'nosniff',
};

/** Serves the discovery document and the built scripts, and nothing else. */
export class WellKnown {
  readonly #options: WellKnownOptions;

  constructor(options: WellKnownOptions) {
    this.#options = options;
  }

  /** Whether the path belongs to us, also when there is nothing behind it. */
  owns(req: IncomingMessage): boolean {
    const path = rawPathOf(req);
    return path === DISCOVERY_PATH || path.startsWith(FOLDER_PATH);
  }

  /** Answers a request that `owns` has found to be ours. */
  async handle(req: IncomingMessage, res: ServerResponse): Promise<void> {
    if (!isReading(req, res)) return;
    const path = rawPathOf(req);
    if (path === DISCOVERY_PATH) this.#sendDiscovery(req, res);
    else await this.#sendFile(path.slice(FOLDER_PATH.length), req, res);
  }

  #sendDiscovery(req: IncomingMessage, res: ServerResponse): void {
    const { workerFile, describe } = this.#options;
    const discovery: Discovery = {
      ...describe(req),
      worker: FOLDER_PATH + workerFile,
      script: FOLDER_PATH + SCRIPT_FILE,
    };
    const body = Buffer.from(JSON.stringify(discovery));
    res.writeHead(200, {
      ...PUBLIC,
      'Content-Type': 'application/json',
      'Content-Length': body.length,
      'Cache-Control': 'no-store',
      Vary: 'Origin',
    });
    res.end(body);
  }

  async #sendFile(name: string, req: IncomingMessage, res: ServerResponse): Promise<void> {
    const file = await this.#options.files.read(name);
    if (file === undefined) {
      respondText(res, 404);
      return;
    }
    const cache = isNamedByContent(name) ? 'public, max-age=31536000, immutable' : 'no-cache';
    const headers = { ...PUBLIC, 'Cache-Control': cache, ETag: file.etag };
    if (includesTag(req.headers['if-none-match'], file.etag)) {
      res.writeHead(304, headers);
      res.end();
      return;
    }
    res.writeHead(200, {
      ...headers,
      'Content-Type': 'text/javascript; charset=utf-8',
      'Content-Length': file.body.length,
    });
    res.end(file.body);
  }
}

/** @see https://www.rfc-editor.org/rfc/rfc9110#section-13.1.2 */
function includesTag(header: string | undefined, etag: string): boolean {
  const tags = (header ?? '').split(',').map((tag) => tag.trim().replace(/^W\//, ''));
  return tags.includes(etag) || tags.includes('*');
}

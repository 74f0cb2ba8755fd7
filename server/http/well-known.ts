import type { IncomingMessage, ServerResponse } from 'node:http';
import Negotiator from 'negotiator';
import { CODINGS, type Coding } from './browser-file.ts';
import { SCRIPT_FILE, type BrowserFiles } from './browser-files.ts';
import { isReading, rawPathOf, respondText } from './respond.ts';

const DISCOVERY_PATH = '.well-known/webgram.json';
const FOLDER_PATH = '.well-known/webgram/';
/** The folder as the discovery document sees it, below whatever path a proxy has put in front of both. */
const FOLDER_BESIDE = 'webgram/';

/** What `.well-known/webgram.json` says. Relative addresses are relative to it. */
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
  /** Path of the WebSocket: the files are beside it as well as at the root. */
  socketPath: string;
  /** What depends on who asks. */
  describe: (req: IncomingMessage) => Pick<Discovery, 'wsAddress' | 'refused'>;
}

/** Everybody may load these: they are the same for all and hold no secret. */
const PUBLIC = {
  'Access-Control-Allow-Origin': '*',
  'Cross-Origin-Resource-Policy': 'cross-origin',
  'X-Content-Type-Options': 'nosniff',
};

/** Serves the discovery document and the built scripts, and nothing else: at the root, and where the socket is. */
export class WellKnown {
  readonly #options: WellKnownOptions;
  /** Paths that `.well-known` can be at, each with a slash at its end. */
  readonly #bases: ReadonlySet<string>;

  constructor(options: WellKnownOptions) {
    this.#options = options;
    this.#bases = new Set(['/', options.socketPath.replace(/[^/]*$/, '')]);
  }

  /** Whether the path belongs to us, also when there is nothing behind it. */
  owns(req: IncomingMessage): boolean {
    return this.#pathOf(req) !== undefined;
  }

  /** Answers a request that `owns` has found to be ours. */
  async handle(req: IncomingMessage, res: ServerResponse): Promise<void> {
    const path = this.#pathOf(req);
    if (path === undefined || !isReading(req, res)) return;
    if (path === DISCOVERY_PATH) this.#sendDiscovery(req, res);
    else await this.#sendFile(path.slice(FOLDER_PATH.length), req, res);
  }

  /** @returns What is asked for, from `.well-known` on; `undefined` when it is not ours. */
  #pathOf(req: IncomingMessage): string | undefined {
    const path = rawPathOf(req);
    for (const base of this.#bases) {
      if (!path.startsWith(base)) continue;
      const rest = path.slice(base.length);
      if (rest === DISCOVERY_PATH || rest.startsWith(FOLDER_PATH)) return rest;
    }
    return undefined;
  }

  #sendDiscovery(req: IncomingMessage, res: ServerResponse): void {
    const { workerFile, describe } = this.#options;
    const discovery: Discovery = {
      ...describe(req),
      worker: FOLDER_BESIDE + workerFile,
      script: FOLDER_BESIDE + SCRIPT_FILE,
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
    const cache = file.isImmutable ? 'public, max-age=31536000, immutable' : 'no-cache';
    const coding = codingFor(req);
    const etag = file.etag(coding);
    const headers = { ...PUBLIC, 'Cache-Control': cache, ETag: etag, Vary: 'Accept-Encoding' };
    if (includesTag(req.headers['if-none-match'], etag)) {
      res.writeHead(304, headers);
      res.end();
      return;
    }
    const body = await file.encoded(coding);
    res.writeHead(200, {
      ...headers,
      ...(coding === 'identity' ? {} : { 'Content-Encoding': coding }),
      'Content-Type': 'text/javascript; charset=utf-8',
      'Content-Length': body.length,
    });
    res.end(body);
  }
}

/** @returns The shortest that the client takes. */
function codingFor(req: IncomingMessage): Coding {
  const accepted = new Negotiator(req).encodings();
  return CODINGS.find((coding) => accepted.includes(coding)) ?? 'identity';
}

/** @see https://www.rfc-editor.org/rfc/rfc9110#section-13.1.2 */
function includesTag(header: string | undefined, etag: string): boolean {
  const tags = (header ?? '').split(',').map((tag) => tag.trim().replace(/^W\//, ''));
  return tags.includes(etag) || tags.includes('*');
}

import { realpathSync } from 'node:fs';
import type { IncomingMessage, ServerResponse } from 'node:http';
import path from 'node:path';
import sirv from 'sirv';
import { isReading, rawPathOf, respondText } from './respond.ts';

/**
 * Serves the files under a folder: `index.html` for folders, ranges, conditional requests, and 404 for the rest.
 *
 * Files are looked up when they are asked for, so that new ones are seen. Names that begin with a dot are not served.
 */
export class StaticFiles {
  readonly #serve: ReturnType<typeof sirv>;

  /**
   * @param root The folder.
   * @param secrets Files and folders that must not lie under it.
   * @throws {TypeError} when there is no such folder, or a secret lies under it.
   */
  constructor(root: string, secrets: readonly string[] = []) {
    const folder = realFolder(root);
    for (const secret of secrets) {
      if (isUnder(folder, realPath(secret))) {
        throw new TypeError(`'root' must not hold what must stay secret: '${secret}' lies in '${root}'`);
      }
    }
    this.#serve = sirv(folder, {
      dev: true,
      etag: true,
      setHeaders: (res) => {
        res.setHeader('X-Content-Type-Options', 'nosniff');
        // A file can go between being found and being read, and nobody else listens to the stream.
        res.once('pipe', (stream) => stream.once('error', () => res.destroy()));
      },
    });
  }

  handle(req: IncomingMessage, res: ServerResponse): void {
    if (!isReading(req, res)) return;
    if (hasHiddenPart(rawPathOf(req))) {
      respondText(res, 404);
      return;
    }
    // A server may ignore any Range; sirv throws for one that ends before it begins.
    if (!/^bytes=\d+-\d*$/.test(req.headers.range ?? '') || isBackwards(req.headers.range))
      delete req.headers.range;
    this.#serve(req, res, () => {
      respondText(res, 404);
    });
  }
}

/** A name that begins with a dot, in any spelling; what cannot be decoded counts as one. */
function hasHiddenPart(rawPath: string): boolean {
  try {
    return decodeURIComponent(rawPath)
      .split(/[/\\]/)
      .some((part) => part.startsWith('.') || part.includes('\0'));
  } catch {
    return true;
  }
}

function isBackwards(range = ''): boolean {
  const [first = '', last = ''] = range.replace('bytes=', '').split('-');
  return last !== '' && Number(last) < Number(first);
}

function realFolder(root: string): string {
  try {
    return realpathSync(root);
  } catch (cause) {
    throw new TypeError(`'root' must be a folder that exists, got '${root}'`, { cause });
  }
}

/** Without symbolic links, also for what does not exist yet. */
function realPath(file: string): string {
  const absolute = path.resolve(file);
  try {
    return realpathSync(absolute);
  } catch {
    const folder = path.dirname(absolute);
    return folder === absolute ? absolute : path.join(realPath(folder), path.basename(absolute));
  }
}

function isUnder(folder: string, file: string): boolean {
  const relative = path.relative(folder, file);
  return !relative.startsWith(`..${path.sep}`) && relative !== '..' && !path.isAbsolute(relative);
}

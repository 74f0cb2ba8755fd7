import { existsSync } from 'node:fs';
import { readFile, stat } from 'node:fs/promises';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { BrowserFile } from './browser-file.ts';

/** Name of the page script in the folder of built scripts. */
export const SCRIPT_FILE = 'webgram.js';

/** What keeps its name when it changes. The first two are there under names with a hash as well. */
const STABLE_NAME = /^(webgram|client|devices|identities|(accounts|devices)-(define|element))\.js$/;
const HASHED_NAME = /^(webgram|client|worker|queue|leader-tab|elements|accounts|devices)-[\w-]+\.js$/;

/**
 * The built scripts of this package, read when they are asked for and again when they have changed.
 *
 * Only names that the build can make are looked up, so that there is nothing to traverse.
 */
export class BrowserFiles {
  readonly #folder: string;
  readonly #cache = new Map<string, { version: string; read: BrowserFile }>();

  /** @param folder Default: `dist/browser` of this package. */
  constructor(folder: string = packagedFolder()) {
    this.#folder = folder;
  }

  /** @returns `undefined` when there is no such file. */
  async read(name: string): Promise<BrowserFile | undefined> {
    const isStable = STABLE_NAME.test(name);
    if (!isStable && !HASHED_NAME.test(name)) return undefined;
    const file = path.join(this.#folder, name);
    try {
      const { mtimeMs, size } = await stat(file);
      const version = `${mtimeMs} ${size}`;
      const cached = this.#cache.get(name);
      if (cached?.version === version) return cached.read;
      const read = new BrowserFile(await readFile(file), !isStable);
      this.#cache.set(name, { version, read });
      return read;
    } catch (error) {
      if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined;
      throw error;
    }
  }
}

/** Beside the built `server.js`; in the sources, where the build puts it. */
function packagedFolder(): string {
  const here = path.dirname(fileURLToPath(import.meta.url));
  const built = path.join(here, 'browser');
  return existsSync(built) ? built : path.join(here, '../../dist/browser');
}

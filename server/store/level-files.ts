import { link, mkdir, readdir, rename, rm, statfs, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { WITNESS_FILE } from './witness.ts';

/** Files that LevelDB makes anew, or that we write in place. */
const PASSING = new Set(['LOCK', 'LOG', 'LOG.old', WITNESS_FILE]);

/** What the folders of second names begin with. */
const BEFORE_OPEN = 'before-open-';

/** Free space that opening a database again needs beside what its log holds, in bytes. */
const SPARE_BYTES = 1_048_576;

/** The files of a database in a folder; `[]` when there is no folder. */
export async function databaseFiles(folder: string): Promise<string[]> {
  try {
    const entries = await readdir(folder, { withFileTypes: true });
    return entries.filter((entry) => entry.isFile() && !PASSING.has(entry.name)).map(({ name }) => name);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw error;
  }
}

/**
 * A second name for every file of a database, taken before it is opened: LevelDB deletes what it believes it does
 * not need, on the word of files that may be damaged. It changes no file in place, so a name is as good as a copy.
 */
export class Originals {
  readonly #folder: string;
  readonly #kept: string;

  private constructor(folder: string, kept: string) {
    this.#folder = folder;
    this.#kept = kept;
  }

  /** @returns `undefined` when there is nothing to keep, or the file system knows no second names. */
  static async keep(folder: string): Promise<Originals | undefined> {
    const files = await databaseFiles(folder);
    if (files.length === 0) return undefined;
    const kept = path.join(folder, `${BEFORE_OPEN}${process.pid}-${Date.now()}`);
    try {
      await mkdir(kept, { recursive: true });
      for (const file of files) {
        await link(path.join(folder, file), path.join(kept, file)).catch(unlessMissing);
      }
    } catch {
      // Without it the database is opened as it always was.
      await rm(kept, { recursive: true, force: true });
      return undefined;
    }
    return new Originals(folder, kept);
  }

  /** Puts the files back as they were. The database must be closed. */
  async putBack(): Promise<void> {
    for (const file of await databaseFiles(this.#folder)) await rm(path.join(this.#folder, file));
    for (const file of await databaseFiles(this.#kept)) {
      await link(path.join(this.#kept, file), path.join(this.#folder, file));
    }
  }

  async forget(): Promise<void> {
    await rm(this.#kept, { recursive: true, force: true });
  }

  /** Forgets also those of processes that died while they opened it. The database must be open, and whole. */
  async forgetAll(): Promise<void> {
    for (const name of await readdir(this.#folder)) {
      if (name.startsWith(BEFORE_OPEN))
        await rm(path.join(this.#folder, name), { recursive: true, force: true });
    }
  }

  /** Keeps them for good. @returns Where. */
  async keepAs(name: string): Promise<string> {
    const folder = path.join(this.#folder, name);
    await rename(this.#kept, folder);
    return folder;
  }
}

/**
 * Tries whether a folder can be written again.
 *
 * @throws as Node does; with code `ENOSPC` when there is no room for `bytes` and some more.
 */
export async function probeFolder(folder: string, bytes: number): Promise<void> {
  const { bavail, bsize } = await statfs(folder);
  if (bavail * bsize < bytes + SPARE_BYTES) {
    throw Object.assign(new Error('no space is left on the medium'), { code: 'ENOSPC' });
  }
  const file = path.join(folder, 'PROBE');
  try {
    await writeFile(file, Buffer.alloc(4_096), { flush: true });
  } finally {
    await rm(file, { force: true });
  }
}

export function isFull(error: unknown): boolean {
  const code = error instanceof Error ? (error as NodeJS.ErrnoException).code : undefined;
  return code === 'ENOSPC' || code === 'EDQUOT';
}

/** For files that a process which has the database open may just delete. It will not let us open it. */
export function unlessMissing(error: NodeJS.ErrnoException): undefined {
  if (error.code !== 'ENOENT') throw error;
  return undefined;
}

import { randomBytes } from 'node:crypto';
import { link, open, readFile, rm, stat } from 'node:fs/promises';
import path from 'node:path';
import type { Logger } from './log.ts';
import { NodeSigningKey } from './node-crypto.ts';

/** Environment variable that holds the server's key instead of a file. */
export const SERVER_KEY_VARIABLE = 'WEBGRAM_SERVER_KEY';

/** Where the server's key is kept. */
export type KeySource =
  | { name: 'environment'; value: string }
  | { name: 'file'; path: string }
  /** Lives as long as `owner`, which is a store in memory. */
  | { name: 'memory'; owner: object };

export interface LoadedKey {
  key: NodeSigningKey;
  /** It was made just now. */
  isNew: boolean;
}

const keysInMemory = new WeakMap<object, NodeSigningKey>();

/** The key's file for a store's folder: `./sessions.key` for `./sessions`. */
export function keyFileFor(storeFolder: string): string {
  return `${path.resolve(storeFolder)}.key`;
}

/**
 * Reads the server's key, making one where there is none yet.
 *
 * A file is made whole or not at all, readable by its owner only, and two servers that start at once agree on one.
 *
 * @throws {Error} with what to do, when the key cannot be read or written, or when everybody can read the file.
 */
export async function loadServerKey(source: KeySource, log: Logger): Promise<LoadedKey> {
  switch (source.name) {
    case 'environment':
      return { key: parseKey(source.value, `the environment variable ${SERVER_KEY_VARIABLE}`), isNew: false };
    case 'file': {
      const key = await readKeyFile(source.path, log);
      return key === undefined ? makeKeyFile(source.path, log) : { key, isNew: false };
    }
    case 'memory': {
      const known = keysInMemory.get(source.owner);
      const key = known ?? NodeSigningKey.generate();
      keysInMemory.set(source.owner, key);
      return { key, isNew: known === undefined };
    }
  }
}

async function readKeyFile(file: string, log: Logger): Promise<NodeSigningKey | undefined> {
  try {
    const { mode } = await stat(file);
    checkMode(file, mode, log);
    return parseKey(await readFile(file, 'utf8'), `the file '${file}'`);
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return undefined;
    if (codeOf(error) === undefined) throw error;
    throw new Error(`the server's key '${file}' cannot be read (${codeOf(error)})`, { cause: error });
  }
}

async function makeKeyFile(file: string, log: Logger): Promise<LoadedKey> {
  const key = NodeSigningKey.generate();
  const temporary = `${file}.${randomBytes(6).toString('hex')}.tmp`;
  try {
    await writeSynced(temporary, key.toPem());
    // Unlike a rename this fails when somebody else was faster.
    await link(temporary, file);
    await syncFolder(path.dirname(file));
  } catch (error) {
    const other = codeOf(error) === 'EEXIST' ? await readKeyFile(file, log) : undefined;
    if (other !== undefined) return { key: other, isNew: false };
    const message = `the server's key '${file}' cannot be written (${codeOf(error) ?? 'unknown'})`;
    throw new Error(`${message}; make the folder writable, or set ${SERVER_KEY_VARIABLE}`, { cause: error });
  } finally {
    await rm(temporary, { force: true });
  }
  return { key, isNew: true };
}

async function writeSynced(file: string, text: string): Promise<void> {
  const handle = await open(file, 'wx', 0o600);
  try {
    await handle.writeFile(text);
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/** Makes the new name last: clients pin this key, so losing it in a power cut would lock them out. */
async function syncFolder(folder: string): Promise<void> {
  if (process.platform === 'win32') return;
  const handle = await open(folder, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

function checkMode(file: string, mode: number, log: Logger): void {
  // Windows has no such bits.
  if (process.platform === 'win32') return;
  if ((mode & 0o007) !== 0) {
    throw new Error(
      `the server's key '${file}' is open to every user of this machine; run: chmod 600 '${file}'`,
    );
  }
  if ((mode & 0o070) !== 0)
    log.warn({ file }, "the server's key is open to a group of users; chmod 600 is better");
}

/** Takes PKCS #8 as PEM, or what stands between its lines in base64 (for variables of one line). */
function parseKey(text: string, where: string): NodeSigningKey {
  const trimmed = text.trim();
  // Some ways to set a variable leave \n as two characters.
  const body = trimmed.replaceAll('\\n', '\n').replace(/-----(BEGIN|END) PRIVATE KEY-----|\s/g, '');
  try {
    if (!/^[A-Za-z0-9+/]+=*$/.test(body)) throw new TypeError('not base64');
    return NodeSigningKey.fromPem(`-----BEGIN PRIVATE KEY-----\n${body}\n-----END PRIVATE KEY-----\n`);
  } catch {
    // The cause could quote the key.
    const command = 'openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256';
    throw new Error(`${where} must hold a P-256 private key in PKCS #8 (PEM); one is made by: ${command}`);
  }
}

function codeOf(error: unknown): string | undefined {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : undefined;
}

import { execFile } from 'node:child_process';
import { cp, mkdir, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { ROOT } from './readme.ts';

const SOURCES = ['webgram', 'worker', 'client', 'server', 'examples', 'e2e/engines'];
const FILES = [
  'vite.config.ts',
  'closed-classes.ts',
  'inner-names.config.ts',
  'package.json',
  'tsconfig.json',
];

/** The product with a later port protocol, built from its sources as they are released. */
export class NextBuild {
  readonly #folder: string;

  private constructor(folder: string) {
    this.#folder = folder;
  }

  static async make(): Promise<NextBuild> {
    const folder = await mkdtemp(path.join(tmpdir(), 'webgram-next-'));
    await mkdir(path.join(folder, 'e2e'));
    for (const name of [...SOURCES, ...FILES]) {
      await cp(path.join(ROOT, name), path.join(folder, name), { recursive: true });
    }
    await symlink(path.join(ROOT, 'node_modules'), path.join(folder, 'node_modules'));
    const file = path.join(folder, 'worker/host/port-protocol.ts');
    const source = await readFile(file, 'utf8');
    const next = source.replace(/(?<=PORT_PROTOCOL = )\d+/, (now) => String(Number(now) + 1));
    if (next === source) throw new Error('there is no port protocol');
    await writeFile(file, next);
    const vite = path.join(ROOT, 'node_modules/vite/bin/vite.js');
    await promisify(execFile)(process.execPath, [vite, 'build', '--mode', 'development'], { cwd: folder });
    return new NextBuild(folder);
  }

  /** Of the built files for browsers. */
  get browserFolder(): string {
    return path.join(this.#folder, 'dist/browser');
  }

  async dispose(): Promise<void> {
    await rm(this.#folder, { recursive: true, force: true });
  }
}

import path from 'node:path';
import { LevelStore } from '../store/level-store.ts';
import { MemoryStore } from '../store/memory-store.ts';
import type { Store } from '../store/store.ts';

/** Every kind of store, for tests of what must hold on each. */
export const STORES: readonly (readonly [kind: string, make: (folder: string) => Store])[] = [
  ['MemoryStore', () => new MemoryStore()],
  ['LevelStore', (folder) => new LevelStore(path.join(folder, 'db'))],
];

/** What the next process opens behind a store: its folder, or the same memory, which nothing else has. */
export function nextStore(store: Store, folder: string): Store {
  return store.kind === 'memory' ? store : new LevelStore(path.join(folder, 'db'));
}

import { describe, it } from 'vitest';
import { MemoryStore } from './memory-store.ts';
import { describeStore } from './store-conformance.ts';

describeStore('MemoryStore', {
  make() {
    const store = new MemoryStore();
    return { store: () => store, remove: () => undefined };
  },
  describe,
  it,
});

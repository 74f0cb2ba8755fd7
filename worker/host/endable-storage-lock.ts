import { StorageLock } from './storage-lock.ts';

/** Of a host that can end while what runs it lives on. A SharedWorker ends with its locks. */
export class EndableStorageLock extends StorageLock {
  /** Lets it go. */
  release(): void {
    for (const release of this.releases) release();
  }
}

import { Hub } from '../host/hub.ts';
import { IdbKeyStore } from '../host/idb-key-store.ts';
import { canKeepKeys } from '../host/key-proof.ts';
import { StorageLock } from '../host/storage-lock.ts';
import type { HostAddress } from '../host/port-protocol.ts';
import { hold } from '../host/web-locks.ts';
import { webPlatform } from '../host/web-platform.ts';
import { loadLater } from './load-later.ts';

declare const self: SharedWorkerGlobalScope;

// The page names the worker after the build.
const platform = webPlatform('shared-worker', self.name);
const store = new IdbKeyStore();
const ready = canKeepKeys({ ...platform, store }).then(async (canServe) => {
  if (canServe) await lock.take();
  return canServe;
});
const isAlone = (): Promise<boolean> => lock.isAlone();
const hub = new Hub({ ...platform, keyStore: store, isAlone, loadLater }, ready);
const own = { script: self.location.href, build: self.name, why: 'SharedWorker' };
const lock = new StorageLock(hub.incarnation, own, (to) => {
  // A tab that only knows this script starts it anew.
  hub.standDown(to, () => {
    self.close();
  });
});

// Held as long as this worker lives: a tab that gets it knows that its host is dead, which no event tells.
const alive = hold(hub.incarnation, {});

self.onconnect = ({ ports: [port] }) => {
  if (port === undefined) return;
  void alive.then(
    () => {
      hub.connect(port);
    },
    () => {
      // Without the lock no tab could tell that this worker has died.
      const moved: HostAddress = { script: '', build: '', why: 'the worker cannot hold a Web Lock' };
      port.postMessage({ kind: 'moved', ...moved });
    },
  );
};

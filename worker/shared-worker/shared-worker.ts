import { Hub } from '../host/hub.ts';
import { IdbKeyStore } from '../host/idb-key-store.ts';
import { canKeepKeys } from '../host/key-proof.ts';
import { webPlatform } from '../host/web-platform.ts';

declare const self: SharedWorkerGlobalScope;

// The page names the worker after the build.
const platform = webPlatform('shared-worker', self.name);
const store = new IdbKeyStore();
const hub = new Hub({ ...platform, keyStore: store }, canKeepKeys({ ...platform, store }));

// Held as long as this worker lives: a tab that gets it knows that its host is dead, which no event tells.
const alive = new Promise<void>((held, failed) => {
  navigator.locks
    .request(hub.incarnation, () => {
      held();
      return new Promise(() => undefined);
    })
    .catch(failed);
});

self.onconnect = ({ ports: [port] }) => {
  if (port === undefined) return;
  void alive.then(
    () => {
      hub.connect(port);
    },
    () => {
      // Without the lock no tab could tell that this worker has died.
      port.postMessage({ kind: 'refused', code: 'WEBGRAM_NO_HOST', message: 'no Web Lock can be held here' });
    },
  );
};

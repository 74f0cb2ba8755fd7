import { Hub } from '../host/hub.ts';
import { IdbKeyStore } from '../host/idb-key-store.ts';
import { canKeepKeys } from '../host/keyring.ts';
import { webPlatform } from '../host/web-platform.ts';

declare const self: SharedWorkerGlobalScope;

// The page names the worker after the build.
const platform = webPlatform('shared-worker', self.name);
const store = new IdbKeyStore();
const hub = new Hub({ ...platform, keyStore: store }, canKeepKeys({ ...platform, store }));

// Held as long as this worker lives: a tab that gets it knows that its host is dead, which no event tells.
const alive = new Promise<void>((held) => {
  void navigator.locks.request(hub.incarnation, () => {
    held();
    return new Promise(() => undefined);
  });
});

self.onconnect = ({ ports: [port] }) => {
  if (port !== undefined) void alive.then(() => hub.connect(port));
};

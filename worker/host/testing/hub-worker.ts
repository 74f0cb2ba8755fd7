import { Hub } from '../hub.ts';
import { IdbKeyStore } from '../idb-key-store.ts';
import { canKeepKeys } from '../key-proof.ts';
import { webPlatform } from '../web-platform.ts';
import { FakeServer } from './fake-server.ts';
import { FakeSession } from './fake-session.ts';
import { answerCalls } from './worker-calls.ts';

declare const self: SharedWorkerGlobalScope;

// The worker's name is that of its database. The server is a fake one in here; everything else is the browser's.
const started = FakeServer.start().then((server) => {
  server.origin = self.origin;
  const session = new FakeSession(server);
  const keyStore = new IdbKeyStore(self.name);
  const platform = { ...webPlatform('shared-worker', 'test'), keyStore, openSocket: server.openSocket };
  const hub = new Hub(platform, canKeepKeys({ ...platform, store: keyStore }));
  const calls = {
    sockets: () => server.connections.length,
    ups: () => server.last.ups,
    handled: () => session.handled,
  };
  return { hub, calls };
});

self.onconnect = ({ ports: [port] }) => {
  void started.then(({ hub, calls }) => {
    const { port1, port2 } = new MessageChannel();
    // First of all a port on which the test can look inside.
    port!.postMessage('inside', [port2]);
    answerCalls(port1, calls);
    hub.connect(port!);
  });
};

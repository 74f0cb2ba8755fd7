/** Run by raw-frames.test.ts in a process of its own: serves, and says how much memory it takes when asked. */
import { Server } from '../server.ts';
import { MemoryStore } from '../store/memory-store.ts';

const server = new Server({
  port: 0,
  store: new MemoryStore(),
  manualStart: true,
  limits: { createBurst: 1_000 },
});
server.answer['incr'] = (_conn, x) => (x as number) + 1;
process.on('message', () => {
  globalThis.gc?.();
  const { rss, heapUsed, external } = process.memoryUsage();
  process.send?.({ rss, used: heapUsed + external, sockets: server.sockets });
});
process.on('disconnect', () => process.exit());
await server.start();
process.send?.({ address: server.address });

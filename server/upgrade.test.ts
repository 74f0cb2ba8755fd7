import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { afterEach, expect, test } from 'vitest';
import { WebSocket } from 'ws';
import { NodeSigningKey } from './node-crypto.ts';
import { Server } from './server.ts';
import { MemoryStore } from './store/memory-store.ts';
import { TestLink } from './testing/test-client.ts';

const http = createServer();
const server = new Server({ server: http, store: new MemoryStore(), manualStart: true });

afterEach(async () => {
  await server.close();
  http.close();
});

/** Counts the times that a socket asks the system to write. */
function countWrites(socket: Socket): () => number {
  let count = 0;
  const { _write, _writev } = socket;
  socket._write = (...args) => {
    count += 1;
    _write.apply(socket, args);
  };
  socket._writev = (...args) => {
    count += 1;
    _writev!.apply(socket, args);
  };
  return () => count;
}

test('the 101 goes out with the hello, and the answer to the proof with what the session says first', async () => {
  const connected = once(http, 'connection') as Promise<[Socket]>;
  let writes = (): number => 0;
  void connected.then(([socket]) => {
    writes = countWrites(socket);
  });
  await once(http.listen(0, '127.0.0.1'), 'listening');
  await server.start();
  const { port } = http.address() as AddressInfo;
  const link = await TestLink.open({ address: `ws://127.0.0.1:${port}/`, WebSocket });
  expect(writes()).toBe(1);
  await link.enter({ key: NodeSigningKey.generate() });
  await expect.poll(() => link.profiles).toHaveLength(1);
  expect(writes()).toBe(2);
  link.socket.terminate();
});

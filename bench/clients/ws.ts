import { WebSocket } from 'ws';
import type { Asker } from './asker.ts';

/** A bare connection to a server that sends back what it gets. */
export function connectWs(port: number): Promise<Asker> {
  const socket = new WebSocket(`ws://127.0.0.1:${port}/`, { perMessageDeflate: false });
  const waiting: (() => void)[] = [];
  let first = 0;
  socket.on('message', () => {
    const done = waiting[first];
    first += 1;
    if (first === waiting.length) first = waiting.length = 0;
    done?.();
  });
  return new Promise((resolve, reject) => {
    socket.on('error', reject);
    socket.once('open', () => {
      resolve({
        ask(_type, data, done) {
          waiting.push(done);
          socket.send(data);
        },
        cut() {
          socket.terminate();
        },
      });
    });
  });
}

import { io } from 'socket.io-client';
import type { Asker } from './asker.ts';

/** With acknowledgements, which is what an ask is there. */
export function connectSocketIO(port: number): Promise<Asker> {
  const socket = io(`http://127.0.0.1:${port}/`, {
    transports: ['websocket'],
    forceNew: true,
    reconnection: false,
  });
  return new Promise((resolve, reject) => {
    socket.on('connect_error', reject);
    socket.once('connect', () => {
      resolve({
        ask(type, data, done) {
          socket.emitWithAck(type, data).then(done, reject);
        },
        cut() {
          socket.io.engine.close();
        },
      });
    });
  });
}

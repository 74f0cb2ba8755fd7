/**
 * Run by login-kill.test.ts in a process of its own: a server on LevelDB that kills itself, as `kill -9` does, at one step
 * of a login. Steps are counted from the ask for it on: before and after everything that the store writes and that
 * goes out over a socket.
 *
 * Arguments: the store's folder, the port (0 for any), the step (-1 for none). Prints its port, then how many steps
 * the login had.
 */
import { writeSync } from 'node:fs';
import { WebSocket } from 'ws';
import { Server } from '../../../server/server.ts';
import { LevelStore } from '../../../server/store/level-store.ts';
import type { Store } from '../../../server/store/store.ts';

const [folder = '', port = '0', dieAt = '-1'] = process.argv.slice(2);
let step = -1;

function reach(): void {
  if (step >= 0 && step++ === Number(dieAt)) process.kill(process.pid, 'SIGKILL');
}

const WRITES: ReadonlySet<string> = new Set<keyof Store>(['renew', 'claim', 'load', 'commit']);

const store = new Proxy<Store>(new LevelStore(folder), {
  get(target, name: keyof Store) {
    const member: unknown = target[name];
    if (typeof member !== 'function') return member;
    const call = (member as (...args: unknown[]) => unknown).bind(target);
    if (!WRITES.has(name)) return call;
    return (...args: unknown[]): unknown => {
      reach();
      const result = call(...args);
      // One step where it has begun and nobody knows, another when it is done.
      reach();
      return result instanceof Promise ? result.finally(reach) : result;
    };
  },
});

const send = WebSocket.prototype.send as (this: WebSocket, ...args: unknown[]) => void;
WebSocket.prototype.send = function (this: WebSocket, ...args: unknown[]) {
  reach();
  send.apply(this, args);
  reach();
} as WebSocket['send'];

const server = new Server({ store, port: Number(port), keyFile: `${folder}.key`, manualStart: true });
server.answer['login'] = (conn) => {
  step = 0;
  return conn.login('alice');
};
server.answer['who'] = (conn) => {
  if (step > 0) writeSync(1, `${step}\n`);
  step = -1;
  return [conn.session.sessionID, conn.session.account ?? null];
};
await server.start();
writeSync(1, `${server.port}\n`);

import type { IncomingMessage, Server as HttpServer, ServerResponse } from 'node:http';
import type { Server as HttpsServer } from 'node:https';
import type { Duplex } from 'node:stream';

/** What is ours of an HTTP server that belongs to somebody else. Each returns whether it was. */
export interface Interceptors {
  request(req: IncomingMessage, res: ServerResponse): boolean;
  /** @param isOnlyOne Nobody else listens for upgrades. */
  upgrade(req: IncomingMessage, socket: Duplex, head: Buffer, isOnlyOne: boolean): boolean;
}

/**
 * Takes what is ours before the listeners of an HTTP server see it, in whatever order they were added.
 *
 * Listeners alone would not do: all of them are called, so that two would answer one request, or upgrade one socket.
 *
 * @returns Gives the server back as it was.
 */
export function intercept(server: HttpServer | HttpsServer, ours: Interceptors): () => void {
  const emit = server.emit.bind(server) as (event: string | symbol, ...args: unknown[]) => boolean;
  let isOn = true;
  const wrapped = (event: string | symbol, ...args: unknown[]): boolean => {
    if (isOn && event === 'request') {
      const [req, res] = args as [IncomingMessage, ServerResponse];
      if (ours.request(req, res)) return true;
    }
    if (isOn && event === 'upgrade') {
      const [req, socket, head] = args as [IncomingMessage, Duplex, Buffer];
      if (ours.upgrade(req, socket, head, server.listenerCount('upgrade') === 1)) return true;
    }
    return emit(event, ...args);
  };
  server.emit = wrapped as typeof server.emit;
  // Without a listener Node takes an upgrade for a plain request.
  server.on('upgrade', noop);
  return () => {
    isOn = false;
    server.off('upgrade', noop);
    // Somebody may have wrapped it after us; then it stays, and does nothing.
    if (server.emit === (wrapped as typeof server.emit)) delete (server as { emit?: unknown }).emit;
  };
}

function noop(): void {
  // `emit` has done it.
}

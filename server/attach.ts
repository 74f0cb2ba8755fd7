import type { Server as HttpServer } from 'node:http';
import type { Server as HttpsServer } from 'node:https';
import type { AnyApp, AppShape } from 'webgram';
import type { ServerOptions } from './options.ts';
import { Server } from './server.ts';

/**
 * Adds sessions to an HTTP server that is there already: plain `node:http`, Express, Fastify, Vite in middleware mode.
 *
 * Only upgrades on its own path with a subprotocol of its own, and `.well-known/webgram*` at the root and beside that path,
 * are touched; the rest goes where it went before. The HTTP server is neither started nor stopped.
 *
 * @param server A `Server` of this package has sessions already and comes back as it is.
 */
export function attach<A extends AppShape = AnyApp>(
  server: HttpServer | HttpsServer | Server<A>,
  options: Omit<ServerOptions, 'server' | 'port' | 'hostname' | 'root'> = {},
): Server<A> {
  if (!(server instanceof Server)) return new Server<A>({ ...options, server });
  if (Object.keys(options).length > 0) throw new TypeError('give options to the constructor of Server');
  return server;
}

// The test application on a server with options that the command line has no flag for, because they are for tests alone:
// `node e2e/kit/library-server.mjs --max-link-ms 500 --browser-folder ./next …`.
import { parseArgs } from 'node:util';
import { Server } from '../../dist/server.js';
import app from './app.mjs';

/** @type {import('node:util').ParseArgsConfig['options']} */
const options = {
  root: { type: 'string' },
  db: { type: 'string' },
  port: { type: 'string' },
  'max-link-ms': { type: 'string' },
  'browser-folder': { type: 'string' },
};
const {
  root,
  db,
  port,
  'max-link-ms': maxLinkMs,
  'browser-folder': browserFolder,
} = /** @type {Record<string, string | undefined>} */ (parseArgs({ options }).values);

const server = new Server({
  root: String(root),
  db: String(db),
  port: Number(port),
  manualStart: true,
  ...(browserFolder === undefined ? {} : { browserFolder }),
  ...(maxLinkMs === undefined ? {} : { limits: { maxLinkMs: Number(maxLinkMs), linkGraceMs: 5_000 } }),
});
app(/** @type {any} */ (server));
await server.start();
console.log(`The server is at http://127.0.0.1:${server.port}/`);

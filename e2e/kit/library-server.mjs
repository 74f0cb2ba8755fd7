// The test application on a server whose links live a moment: `node e2e/kit/short-links.mjs --max-link-ms 500 …`.
import { parseArgs } from 'node:util';
import { Server } from '../../dist/server.js';
import app from './app.mjs';

/** @type {import('node:util').ParseArgsConfig['options']} */
const options = {
  root: { type: 'string' },
  db: { type: 'string' },
  port: { type: 'string' },
  'max-link-ms': { type: 'string' },
};
const {
  root,
  db,
  port,
  'max-link-ms': maxLinkMs,
} = /** @type {Record<string, string>} */ (parseArgs({ options }).values);

const server = new Server({
  root: String(root),
  db: String(db),
  port: Number(port),
  manualStart: true,
  limits: { maxLinkMs: Number(maxLinkMs), linkGraceMs: 5_000 },
});
app(/** @type {any} */ (server));
await server.start();
console.log(`The server is at http://127.0.0.1:${server.port}/`);

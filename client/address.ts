import { inPage } from './in-page.ts';
import { HOME } from './own-files.ts';

/**
 * Returns the WebSocket address of a server.
 *
 * @param address Absolute, or relative to the base URL of the document (HTML section 2.4.1), which a frame without an
 *   address of its own has as well. Default: `HOME`.
 * @throws {TypeError} when it is none.
 */
export function toSocketAddress(address: string | URL = HOME): string {
  const url = new URL(address, inPage() ? document.baseURI : undefined);
  url.protocol = url.protocol.replace('http', 'ws');
  if (!url.protocol.startsWith('ws')) throw new TypeError("'address' must be ws: or wss:");
  return url.href;
}

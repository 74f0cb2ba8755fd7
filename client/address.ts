/**
 * Returns the WebSocket address of a server.
 *
 * @param address Absolute, or relative to the page. Default: the page's own origin.
 * @throws {TypeError} when it is none.
 */
export function toSocketAddress(address: string | URL = '/'): string {
  const url = new URL(address, globalThis.location?.href);
  url.protocol = url.protocol.replace('http', 'ws');
  if (!/^wss?:/.test(url.href)) throw new TypeError("'address' must be ws: or wss:");
  return url.href;
}

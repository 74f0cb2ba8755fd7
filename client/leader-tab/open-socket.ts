import type { Socket } from '../../worker/host/platform.ts';

/** How long the server may take to give its reason, in ms. */
const REASON_LIMIT_MS = 5_000;

/**
 * Opens a WebSocket; when a server of another origin does not take it, the event of its end has the reason.
 *
 * Browsers tell scripts nothing of an upgrade that was refused, so the server is asked what it thinks of this origin.
 */
export function openSocket(address: string, protocols: string[]): Socket {
  const webSocket = new WebSocket(address, protocols);
  const socket = webSocket as Socket;
  if (webSocket.url.split('/')[2] === location.host) return socket;
  const opened = new AbortController();
  webSocket.addEventListener('open', () => {
    opened.abort();
  });
  webSocket.addEventListener(
    'close',
    (event) => {
      // It is before `onclose`, which is set when the socket is there.
      event.stopImmediatePropagation();
      void reasonOf(address).then((reason) => socket.onclose?.({ code: event.code, reason }));
    },
    { signal: opened.signal },
  );
  return socket;
}

/** @returns "" when the server would take this page, or cannot be asked. */
async function reasonOf(address: string): Promise<string> {
  try {
    const discovery = new URL('.well-known/webgram.json', address.replace(/^ws/, 'http'));
    const response = await fetch(discovery, { signal: AbortSignal.timeout(REASON_LIMIT_MS) });
    const { refused } = (await response.json()) as { refused?: unknown };
    return typeof refused === 'string' ? refused : '';
  } catch {
    // It is away, or no server of ours.
    return '';
  }
}

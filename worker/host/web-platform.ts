import { webCrypto } from './web-crypto.ts';
import type { Clock, HostPlatform, Socket } from './platform.ts';
import { webKeys } from './web-keys.ts';

/** Returns what a host gets from a browser, but for the key store. */
export function webPlatform(kind: HostPlatform['kind'], build: string): Omit<HostPlatform, 'keyStore'> {
  return {
    kind,
    build,
    origin: globalThis.origin,
    openSocket: (address, protocols) => new WebSocket(address, protocols) as Socket,
    watchLock,
    clock: systemClock,
    random: Math.random,
    crypto: webCrypto,
    keys: webKeys,
    schedule: afterArrived(),
  };
}

export const systemClock: Clock = {
  nowMs: () => Date.now(),
  after(delayMs, callback) {
    const timer = setTimeout(callback, delayMs);
    return () => {
      clearTimeout(timer);
    };
  },
};

function watchLock(lock: string, gone: () => void): () => void {
  const controller = new AbortController();
  navigator.locks
    .request(lock, { mode: 'shared', signal: controller.signal }, () => {
      if (!controller.signal.aborted) gone();
    })
    .catch((error: unknown) => {
      // Aborted: nobody watches any more. Anything else must not go unnoticed: such a tab would stay for ever.
      if (!controller.signal.aborted) throw error;
    });
  return () => {
    controller.abort();
  };
}

/** Runs callbacks behind the port messages that have already arrived, so that these share a frame. */
function afterArrived(): HostPlatform['schedule'] {
  const { port1, port2 } = new MessageChannel();
  const waiting: (() => void)[] = [];
  port1.onmessage = () => {
    waiting.shift()?.();
  };
  return (flush) => {
    waiting.push(flush);
    port2.postMessage(null);
  };
}

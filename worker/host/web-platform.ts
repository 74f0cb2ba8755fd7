import { webCrypto } from './web-crypto.ts';
import type { Clock, HostPlatform, Socket } from './platform.ts';
import { webKeys } from './web-keys.ts';
import { watchLock } from './web-locks.ts';

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

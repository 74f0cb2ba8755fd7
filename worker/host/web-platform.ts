import { webCrypto } from './web-crypto.ts';
import type { Clock, HostPlatform, Socket } from './platform.ts';
import type { HostAddress } from './port-protocol.ts';
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

/** Web Lock of the host that serves the identities of this origin. */
const SERVING = 'webgram-serving';
/** What the names of those locks begin with that tell where a host is. */
const AT = 'webgram-host-at ';

/**
 * Makes this worker the host that serves the identities of this origin: the one that has started last does, so that
 * after a deploy the newest build takes over. Resolves when it does.
 *
 * @param lost Called once another has taken over, with its place.
 */
export async function serveStorage(own: HostAddress, lost: (to: HostAddress) => void): Promise<void> {
  const { locks } = navigator;
  const hold = (name: string, options: LockOptions): Promise<() => void> =>
    new Promise((held, failed) => {
      let release: () => void;
      const until = new Promise<void>((resolve) => (release = resolve));
      locks
        .request(name, options, () => {
          held(release);
          return until;
        })
        .catch((error: unknown) => {
          failed(error);
          stolen();
        });
    });
  let stolen = (): void => undefined;
  const name = AT + JSON.stringify(own);
  const leave = await hold(name, {});
  await hold(SERVING, { steal: true });
  stolen = () => {
    void locks.query().then(({ held = [] }) => {
      const other = held.find((lock) => lock.name?.startsWith(AT) && lock.name !== name)?.name;
      leave();
      if (other !== undefined) lost(JSON.parse(other.slice(AT.length)) as HostAddress);
    });
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

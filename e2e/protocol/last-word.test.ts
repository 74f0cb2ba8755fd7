/** A host's link over a real socket: what a server says last must be heard, because only that changes an identity. */
import { afterEach, expect, test } from 'vitest';
import { DEFAULT_LIMITS, type SigningKey } from 'webgram';
import { WebSocket } from 'ws';
import { Server } from 'webgram-sessions/server';
import { MemoryStore } from '../../server/store/memory-store.ts';
import { Link, type LinkEnd } from '../../worker/host/link.ts';
import type { Socket } from '../../worker/host/platform.ts';
import { generateSigningKey, signingKeyOf, webCrypto } from '../../worker/host/web-crypto.ts';
import { systemClock } from '../../worker/host/web-platform.ts';

let server: Server;

afterEach(() => server.close());

/** Opens a link with a key. @returns How it ends, after `act` where it comes up. */
function endOf(
  key: SigningKey,
  sessionID: number | undefined,
  act: () => Promise<unknown>,
): Promise<LinkEnd> {
  return new Promise((resolve, reject) => {
    new Link({
      number: 1,
      address: server.address,
      limits: DEFAULT_LIMITS,
      fromPlatform: {
        openSocket: (address, protocols) => new WebSocket(address, protocols) as unknown as Socket,
        origin: '',
        clock: systemClock,
        // Slower than in a browser, so that the end of the socket comes before a frame is verified.
        crypto: {
          ...webCrypto,
          verify: async (...args) => (await aWhile(), webCrypto.verify(...args)),
          sealKey: async (bytes) => slow(await webCrypto.sealKey(bytes), 'open'),
          macKey: async (bytes) => slow(await webCrypto.macKey(bytes), 'mac'),
        },
        schedule: (flush) => {
          setImmediate(flush);
        },
      },
      sealed: server === sealedServer,
      identify: async () => ({
        key,
        caps: [],
        intent:
          sessionID === undefined ? { kind: 'create', fromClient: null } : { kind: 'resume', sessionID },
      }),
      opened: () => undefined,
      aged: () => undefined,
      up: () => {
        act().catch(reject);
      },
      receive: () => undefined,
      dropped: (_envelope, error) => {
        reject(error);
      },
      down: resolve,
    });
  });
}

let sealedServer: Server | undefined;

/** Longer than a socket takes to close behind its last frame. */
function aWhile(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, 20));
}

function slow<K extends string, T extends Record<K, (...args: never[]) => unknown>>(key: T, name: K): T {
  const own: (...args: never[]) => unknown = key[name].bind(key);
  // The bytes are theirs again when the call returns.
  const late = async (...args: never[]) => (await Promise.all([own(...args), aWhile()]))[0];
  return { ...key, [name]: late };
}

test.each([false, true])(
  'a bye and a denial are heard, also when the socket ends before they are verified (sealed: %s)',
  async (sealed) => {
    server = new Server({ port: 0, store: new MemoryStore(), manualStart: true, sealed });
    sealedServer = sealed ? server : undefined;
    await server.start();
    for (let sessionID = 1; sessionID <= 3; sessionID += 1) {
      const key = signingKeyOf(await generateSigningKey());
      const revoked = await endOf(key, undefined, () => server.sessions.revoke(sessionID));
      expect(revoked).toMatchObject({ name: 'bye', bye: { reason: 'revoked' } });
      const denied = await endOf(key, sessionID, () => Promise.resolve());
      expect(denied).toEqual({ name: 'denied', code: 'revoked' });
    }
  },
);

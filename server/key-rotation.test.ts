import { afterEach, beforeEach, expect, test } from 'vitest';
import { toBase64url } from 'webgram';
import { NodeSigningKey } from './node-crypto.ts';
import type { ServerOptions } from './options.ts';
import { MemoryStore } from './store/memory-store.ts';
import { Scene } from './testing/scene.ts';
import type { TestIdentity } from './testing/test-client.ts';

let scene: Scene;
let identity: TestIdentity;
/** What the client remembers of this address; PROTOCOL.md, "The server's key". */
let pins: string[];

beforeEach(() => {
  scene = new Scene();
  identity = scene.identity();
  pins = [];
});

afterEach(() => scene.close());

/** Resumes as a client with pins does. @returns Whether it took the server's key. */
async function visit(): Promise<boolean> {
  const link = await scene.connect();
  const key = toBase64url(link.hello.serverKey);
  if (pins.length > 0 && !pins.includes(key)) return false;
  const answer = await link.enter(identity);
  if (answer.kind !== 'ok') throw new Error(answer.code);
  pins = [key, ...(answer.otherServerKey === null ? [] : [toBase64url(answer.otherServerKey)])];
  return true;
}

async function restart(serverKeys: NonNullable<ServerOptions['serverKeys']>): Promise<void> {
  await scene.close();
  await scene.start({ serverKeys });
}

test('a server changes its key in three steps and loses no client that came in between', async () => {
  const [before, after] = [NodeSigningKey.generate(), NodeSigningKey.generate()];
  const [S, next] = [toBase64url(before.publicKey), toBase64url(after.publicKey)];
  await scene.start({ serverKeys: [before.toPem()] });
  expect([await visit(), pins]).toEqual([true, [S]]);
  await restart([before.toPem(), after.toPem()]);
  expect([await visit(), pins]).toEqual([true, [S, next]]);
  await restart([after.toPem(), before.toPem()]);
  expect([await visit(), pins]).toEqual([true, [next, S]]);
  await restart([after.toPem()]);
  expect([await visit(), pins]).toEqual([true, [next]]);
  expect(identity.sessionID).toBe(1);
});

test('a client that was not told of the new key stays away from it', async () => {
  const [before, after] = [NodeSigningKey.generate(), NodeSigningKey.generate()];
  await scene.start({ serverKeys: [before.toPem()] });
  await visit();
  await restart([after.toPem(), before.toPem()]);
  expect(await visit()).toBe(false);
});

test('serverKeys and keyFile cannot both be given', async () => {
  const serverKeys = [NodeSigningKey.generate().toPem()] as const;
  await expect(scene.start({ store: new MemoryStore(), serverKeys, keyFile: './x.key' })).rejects.toThrow(
    "'serverKeys'",
  );
});

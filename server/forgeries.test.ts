import { beforeEach, expect, test } from 'vitest';
import { toBase64url } from 'webgram';
import { nodeCrypto, NodeSigningKey } from './node-crypto.ts';
import { MemoryStore } from './store/memory-store.ts';
import { forgeAnswers, forgeResumes, recordHandshake, type ForgeryOptions } from './testing/forgeries.ts';

/** `npm run test:forgeries` makes 10,000 in each direction. */
const COUNT = Number(process.env['WEBGRAM_FORGERIES'] ?? 300);
const SEED = Number(process.env['WEBGRAM_SEED'] ?? Date.now() % 2 ** 31);
const TIMEOUT_MS = 30_000 + COUNT * 20;

let options: ForgeryOptions;
let victim: NodeSigningKey;

beforeEach(async () => {
  const store = new MemoryStore();
  await store.open();
  const serverKey = NodeSigningKey.generate();
  const stolen: { keyID: string; row: { sessionID: number; publicKey: Uint8Array } }[] = [];
  const keys: NodeSigningKey[] = [];
  for (let i = 0; i < 20; i += 1) {
    const key = NodeSigningKey.generate();
    const keyID = toBase64url((nodeCrypto.sha256(key.publicKey) as Uint8Array).slice(0, 16));
    await store.create({ keyID, publicKey: key.publicKey, nowMs: 1, fromClient: undefined });
    stolen.push({ keyID, row: (await store.findKey(keyID))! });
    keys.push(key);
  }
  victim = keys[0]!;
  const { accepted, ...recorded } = await recordHandshake(serverKey, store, victim, 1);
  // What is forged below would be taken, were it real.
  expect(accepted).toBe(true);
  options = { count: COUNT, seed: SEED, store, stolen, serverKey, recorded };
});

test(
  `a copied store lets nobody in: ${COUNT} forged resumes (seed ${SEED})`,
  async () => {
    expect(await forgeResumes(options)).toEqual({ tried: COUNT, accepted: 0 });
  },
  TIMEOUT_MS,
);

test(
  `a copied store makes nobody the server: ${COUNT} forged answers (seed ${SEED})`,
  async () => {
    expect(await forgeAnswers({ ...options, victim })).toEqual({ tried: COUNT, accepted: 0 });
  },
  TIMEOUT_MS,
);

import { expect, test } from 'vitest';
import { nodeCrypto, NodeSigningKey } from './node-crypto.ts';

const text = new Uint8Array(32).fill(7);

test('a key verifies also after a thousand others were looked at', { timeout: 30_000 }, async () => {
  const key = NodeSigningKey.generate();
  const signature = key.sign(text);
  expect(await nodeCrypto.verify(key.publicKey, signature, text)).toBe(true);
  for (let n = 0; n < 1_000; n += 1) {
    const { publicKey } = await nodeCrypto.generateEphemeral();
    expect(await nodeCrypto.verify(publicKey, signature, text)).toBe(false);
  }
  expect(await nodeCrypto.verify(key.publicKey, signature, text)).toBe(true);
});

test('a key that is not on the curve verifies nothing, however often it comes', async () => {
  const key = NodeSigningKey.generate();
  const off = key.publicKey.slice();
  off[64]! ^= 1;
  const signature = key.sign(text);
  for (let n = 0; n < 3; n += 1) expect(await nodeCrypto.verify(off, signature, text)).toBe(false);
});

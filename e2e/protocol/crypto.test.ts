import { describe, expect, test } from 'vitest';
import { KeySchedule, concat, utf8, type Bytes, type SigningKey } from 'webgram';
import { NodeSigningKey, fingerprintOf } from '../../server/node-crypto.ts';
import { generateSigningKey } from '../../worker/host/web-crypto.ts';
import { implementations, pairs } from './implementations.ts';
import { hkdf } from './testing/hkdf.ts';

const hex = (text: string): Bytes => Uint8Array.from(Buffer.from(text.replaceAll(/\s/g, ''), 'hex'));
const toHex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex');
const repeat = (byte: number, length: number): Bytes => new Uint8Array(length).fill(byte);

const P = 0xffffffff00000001000000000000000000000000ffffffffffffffffffffffffn;
const B = 0x5ac635d8aa3a93e7b3ebbd55769886bc651d06b0cc53b0f63bce3c3e27d2604bn;
const bytes32 = (value: bigint) => hex(value.toString(16).padStart(64, '0'));

// RFC 4231 section 4; test case 5 truncates and is left out.
const RFC_4231: [name: string, key: Bytes, data: Bytes, mac: string][] = [
  [
    '1',
    repeat(0x0b, 20),
    utf8('Hi There'),
    'b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7',
  ],
  [
    '2',
    utf8('Jefe'),
    utf8('what do ya want for nothing?'),
    '5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843',
  ],
  [
    '3',
    repeat(0xaa, 20),
    repeat(0xdd, 50),
    '773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe',
  ],
  [
    '4',
    hex('0102030405060708090a0b0c0d0e0f10111213141516171819'),
    repeat(0xcd, 50),
    '82558a389a443c0ea4cc819899f2083a85f0faa3e578f8077a2e3ff46729665b',
  ],
  [
    '6',
    repeat(0xaa, 131),
    utf8('Test Using Larger Than Block-Size Key - Hash Key First'),
    '60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54',
  ],
  [
    '7',
    repeat(0xaa, 131),
    utf8(
      'This is a test using a larger than block-size key and a larger than block-size data. ' +
        'The key needs to be hashed before being used by the HMAC algorithm.',
    ),
    '9b09ffa71b942fcb27635fbcd5b0e944bfdc63644f0713938a7f51535c3a35e2',
  ],
];

// RFC 5869 appendix A, the SHA-256 ones.
const RFC_5869 = [
  {
    name: '1',
    ikm: repeat(0x0b, 22),
    salt: hex('000102030405060708090a0b0c'),
    info: hex('f0f1f2f3f4f5f6f7f8f9'),
    okm: '3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865',
  },
  {
    name: '2',
    ikm: Uint8Array.from({ length: 80 }, (_, i) => i),
    salt: Uint8Array.from({ length: 80 }, (_, i) => 0x60 + i),
    info: Uint8Array.from({ length: 80 }, (_, i) => 0xb0 + i),
    okm:
      'b11e398dc80327a1c8e7f78c596a49344f012eda2d4efad8a050cc4c19afa97c59045a99cac7827271cb41c65e590e09' +
      'da3275600c2f09b8367793a9aca3db71cc30c58179ec3e87c14c01d5c1f3434f1d87',
  },
  {
    name: '3',
    ikm: repeat(0x0b, 22),
    salt: new Uint8Array(),
    info: new Uint8Array(),
    okm: '8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8',
  },
];

test.each(RFC_5869)('HKDF of RFC 5869, case $name', async ({ ikm, salt, info, okm }) => {
  expect(toHex(await hkdf(ikm, salt, info, okm.length / 2))).toBe(okm);
});

describe.each(implementations)('$name crypto', ({ crypto, newKey }) => {
  test.each(RFC_4231)('HMAC of RFC 4231, case %s', async (_name, key, data, mac) => {
    expect(toHex(await (await crypto.macKey(key)).mac(data))).toBe(mac);
  });

  test('an HMAC key is its own copy and serves any length of data', async () => {
    const bytes = repeat(7, 32);
    const key = await crypto.macKey(bytes);
    const macs = async () =>
      Promise.all([0, 1, 63, 64, 2_047, 2_048, 2_049, 70_000].map(async (n) => key.mac(repeat(1, n))));
    const before = await macs();
    bytes.fill(0);
    const other = await crypto.macKey(repeat(9, 40));
    await other.mac(repeat(2, 100));
    expect((await macs()).map(toHex)).toEqual(before.map(toHex));
    expect(new Set(before.map(toHex)).size).toBe(before.length);
  });

  test('the key schedule is HKDF', async () => {
    const [secret, th2] = [crypto.randomBytes(32), crypto.randomBytes(32)];
    const schedule = await KeySchedule.from(crypto, secret, th2);
    for (const label of ['c confirm', 's confirm', 'c frame', 's frame', 'exporter'] as const) {
      const wanted = await hkdf(secret, th2, utf8(`webgram-sessions/2 ${label}`), 32);
      expect(toHex(await schedule.bytes(label))).toBe(toHex(wanted));
    }
  });

  test('SHA-256 of "abc" (FIPS 180-4)', async () => {
    const wanted = 'ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad';
    expect(toHex(await crypto.sha256(utf8('abc')))).toBe(wanted);
  });

  test('random bytes have their length and do not repeat', () => {
    const seen = new Set(Array.from({ length: 10_000 }, () => toHex(crypto.randomBytes(16))));
    expect(seen.size).toBe(10_000);
    for (const length of [0, 1, 32, 8_192, 8_193]) expect(crypto.randomBytes(length)).toHaveLength(length);
  });

  test('equal compares content and length', () => {
    expect(crypto.equal(repeat(1, 4), repeat(1, 4))).toBe(true);
    expect(crypto.equal(repeat(1, 4), Uint8Array.of(1, 1, 1, 2))).toBe(false);
    expect(crypto.equal(repeat(1, 4), repeat(1, 5))).toBe(false);
    expect(crypto.equal(repeat(1, 4), new Uint8Array())).toBe(false);
  });

  describe('points that are none', () => {
    // A point whose x is so small that x + p still has 32 bytes.
    const x = 5n;
    const y = powMod((x ** 3n - 3n * x + B) % P, (P + 1n) / 4n);
    const invalid: [string, Bytes][] = [
      ['off the curve', concat(Uint8Array.of(0x04), repeat(1, 64))],
      ['(0, 0)', concat(Uint8Array.of(0x04), repeat(0, 64))],
      ['infinity', Uint8Array.of(0)],
      ['65 zero bytes', repeat(0, 65)],
      ['x not below p', concat(Uint8Array.of(0x04), bytes32(x + P), bytes32(y))],
      ['x of all ones', concat(Uint8Array.of(0x04), repeat(0xff, 64))],
      ['compressed', concat(Uint8Array.of(0x02), bytes32(x))],
      ['hybrid', concat(Uint8Array.of(y % 2n === 0n ? 0x06 : 0x07), bytes32(x), bytes32(y))],
      ['64 bytes', concat(bytes32(x), bytes32(y))],
      ['66 bytes', concat(Uint8Array.of(0x04), bytes32(x), bytes32(y), Uint8Array.of(0))],
      ['nothing', new Uint8Array()],
    ];

    test('the point itself is good', async () => {
      const point = concat(Uint8Array.of(0x04), bytes32(x), bytes32(y));
      expect(await (await crypto.generateEphemeral()).deriveSecret(point)).toHaveLength(32);
    });

    test.each(invalid)('%s', async (_name, point) => {
      const ephemeral = await crypto.generateEphemeral();
      await expect((async () => ephemeral.deriveSecret(point))()).rejects.toThrow();
      const data = utf8('data');
      const signature = await (await newKey()).sign(data);
      expect(await crypto.verify(point, signature, data)).toBe(false);
    });
  });

  test('signatures of wrong length, shape or content do not verify', async () => {
    const key = await newKey();
    const data = utf8('data');
    const signature = await key.sign(data);
    expect(signature).toHaveLength(64);
    expect(await crypto.verify(key.publicKey, signature, data)).toBe(true);
    expect(await crypto.verify(key.publicKey, signature, utf8('date'))).toBe(false);
    expect(await crypto.verify((await newKey()).publicKey, signature, data)).toBe(false);
    const order = hex('ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551');
    const wrong = [
      new Uint8Array(),
      repeat(0, 64),
      signature.slice(0, 63),
      concat(signature, Uint8Array.of(0)),
      concat(repeat(0, 32), signature.slice(32)),
      concat(signature.slice(0, 32), repeat(0, 32)),
      concat(order, signature.slice(32)),
      concat(signature.slice(0, 32), order),
      concat(signature.slice(32), signature.slice(0, 32)),
    ];
    for (const one of wrong) expect(await crypto.verify(key.publicKey, one, data)).toBe(false);
  });
});

describe.each(pairs)('$server.name and $client.name', ({ server, client }) => {
  test('agree on a secret', async () => {
    const [a, b] = [await server.crypto.generateEphemeral(), await client.crypto.generateEphemeral()];
    const secret = await a.deriveSecret(b.publicKey);
    expect(secret).toHaveLength(32);
    expect(toHex(secret)).toBe(toHex(await b.deriveSecret(a.publicKey)));
  });

  test('verify what the other has signed', async () => {
    const key: SigningKey = await client.newKey();
    const data = utf8('data');
    expect(await server.crypto.verify(key.publicKey, await key.sign(data), data)).toBe(true);
  });
});

describe('keys', () => {
  test('the key of a browser cannot be read', async () => {
    const { privateKey } = await generateSigningKey();
    expect(privateKey.extractable).toBe(false);
    expect(privateKey.usages).toEqual(['sign']);
    for (const format of ['jwk', 'pkcs8', 'raw'] as const) {
      await expect(crypto.subtle.exportKey(format, privateKey)).rejects.toThrow();
    }
  });

  test('the key of a server comes back from PEM and JWK', () => {
    const key = NodeSigningKey.generate();
    expect(key.toPem()).toMatch(/^-----BEGIN PRIVATE KEY-----\n/);
    expect(NodeSigningKey.fromPem(key.toPem()).publicKey).toEqual(key.publicKey);
    expect(NodeSigningKey.fromJwk(key.toJwk()).publicKey).toEqual(key.publicKey);
    expect(fingerprintOf(key.publicKey)).toMatch(/^[0-9a-f]{16}$/);
  });

  test('anything else is no key, and is not quoted', () => {
    const { d: _d, ...publicJwk } = NodeSigningKey.generate().toJwk();
    const reads = [
      () => NodeSigningKey.fromPem('canary'),
      () => NodeSigningKey.fromPem('-----BEGIN PRIVATE KEY-----\ncanary\n-----END PRIVATE KEY-----\n'),
      () => NodeSigningKey.fromJwk(publicJwk),
    ];
    for (const read of reads) {
      expect(read).toThrow(TypeError);
      expect(read).not.toThrow(/canary/);
    }
  });
});

function powMod(base: bigint, exponent: bigint): bigint {
  let result = 1n;
  for (let b = base, e = exponent; e > 0n; e >>= 1n, b = (b * b) % P) if (e & 1n) result = (result * b) % P;
  return result;
}

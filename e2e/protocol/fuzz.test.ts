/**
 * Mutates recorded frames and feeds them to everything that reads bytes of a stranger.
 *
 * `WEBGRAM_FUZZ_MS` is how long, over all targets together (default: 60 s in CI, 6 s elsewhere), `WEBGRAM_FUZZ_SEED`
 * repeats a run. What fails is added to fuzz-corpus.json, which is replayed first in every run.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { isDeepStrictEqual } from 'node:util';
import { describe, expect, test } from 'vitest';
import {
  ClientHandshake,
  codecs,
  decodeEnvelopes,
  DEFAULT_LIMITS,
  encodeEnvelopes,
  FrameReader,
  fromBase64url,
  hasCode,
  isRenewal,
  parseDown,
  parseRenewal,
  parseUp,
  sealedName,
  ServerHandshake,
  toBase64url,
  type Crypto,
  type Envelope,
  type MacKey,
  type SealKey,
  type SigningKey,
} from 'webgram';
import { NodeSigningKey, nodeCrypto } from '../../server/node-crypto.ts';
import { payloadOf, type Vector } from '../../webgram/vectors.make.ts';

const MAX_MS = 100;
const MAX_GROWTH_BYTES = 200 * 1_048_576;

const isCI = !['', '0', 'false', undefined].includes(process.env['CI']);
const totalMs = Number(process.env['WEBGRAM_FUZZ_MS'] ?? (isCI ? 60_000 : 6_000));
const seed = Number(process.env['WEBGRAM_FUZZ_SEED'] ?? nodeCrypto.randomBytes(4).join(''));

const CORPUS = new URL('./fuzz-corpus.json', import.meta.url);
const vectors = JSON.parse(
  readFileSync(new URL('../../webgram/vectors.json', import.meta.url), 'utf8'),
) as Vector[];
const vectorOf = (name: string) => vectors.find((vector) => vector.name === name)!;

interface Target {
  name: string;
  /** Recorded, as bytes. */
  seeds: Uint8Array[];
  /** Throws a refusal, or returns. Anything else that it throws is a finding. */
  feed: (input: Uint8Array) => unknown;
}

const text = (bytes: Uint8Array) => Buffer.from(bytes).toString();
const bytesOf = (data: string | Uint8Array) => Uint8Array.from(Buffer.from(data as string));

class WrongAccept extends Error {}

const payloadTargets = codecs.map((codec): Target => {
  const seeds = vectors.flatMap(({ given }) =>
    [...given.clientPayloads, ...given.serverPayloads].map((payload) => bytesOf(payloadOf(codec, payload))),
  );
  return {
    name: `payloads of ${codec.subprotocol}`,
    seeds,
    feed(input) {
      let refusal: unknown;
      for (const parse of [parseUp, parseDown]) {
        let envelopes: Envelope[];
        try {
          envelopes = decodeEnvelopes<Envelope>(codec, input, parse);
        } catch (error) {
          refusal = error;
          continue;
        }
        for (const one of envelopes)
          if (one.kind === 'identity' && isRenewal(one)) refuseOnly(() => parseRenewal(one));
        // What was taken can be sent on.
        for (const other of codecs) encodeEnvelopes(other, envelopes);
      }
      if (refusal !== undefined) throw refusal as Error;
    },
  };
});

const frameTargets = codecs.flatMap((codec) =>
  [codec.subprotocol, sealedName(codec)].map((name): Target => {
    const isSealed = name !== codec.subprotocol;
    const zeros = new Uint8Array(32);
    const key = (isSealed ? nodeCrypto.sealKey(zeros) : nodeCrypto.macKey(zeros)) as MacKey | SealKey;
    const isText = name === 'webgram.2.json';
    const recorded = vectors.flatMap(({ given, wanted }) =>
      given.views.chosen === name ? [...wanted.clientFrames, ...wanted.serverFrames] : [],
    );
    return {
      name: `frames of ${name}`,
      seeds:
        recorded.length > 0
          ? recorded.map((frame) => (isText ? bytesOf(frame) : fromBase64url(frame)))
          : [new Uint8Array(40)],
      feed(input) {
        let failure: unknown;
        const reader = new FrameReader<Envelope>({
          crypto: nodeCrypto,
          key,
          sender: 'client',
          codec,
          maxFrameBytes: 1_048_576,
          parse: parseUp,
          deliver: () => {
            failure = new WrongAccept('a frame of another key was delivered');
          },
          failed: (error) => {
            failure ??= error;
          },
        });
        reader.receive(input, !isText);
        if (failure !== undefined) throw failure as Error;
      },
    };
  }),
);

/** Both roles with the frozen keys of a vector, so that what was recorded is accepted. */
const { given, wanted } = vectorOf('resume');
const { views } = given;
const fixed = (): Crypto => ({ ...nodeCrypto, randomBytes: () => fromBase64url(given.challenge) });

async function ephemeralOf(d: string) {
  const { createECDH } = await import('node:crypto');
  const ecdh = createECDH('prime256v1');
  ecdh.setPrivateKey(fromBase64url(d));
  const publicKey = Uint8Array.from(ecdh.getPublicKey());
  return {
    publicKey,
    deriveSecret: (peer: Uint8Array) => {
      if (peer.length !== 65 || peer[0] !== 4) throw new RangeError('not a point');
      return Uint8Array.from(ecdh.computeSecret(peer));
    },
  };
}

const serverEphemeral = await ephemeralOf(given.serverEphemeral.d);
const clientEphemeral = await ephemeralOf(given.clientEphemeral.d);
const signer = (publicKey: string, signature: string): SigningKey => ({
  publicKey: fromBase64url(publicKey),
  sign: () => fromBase64url(signature),
});
const identity = signer(given.identity.publicKey, wanted.clientSignature);
const stranger = NodeSigningKey.generate();

const greet = async () => {
  const server = new ServerHandshake({
    crypto: { ...fixed(), generateEphemeral: () => serverEphemeral },
    serverKey: signer(given.serverKey.publicKey, wanted.serverSignature),
    storeID: fromBase64url(given.storeID),
    limits: DEFAULT_LIMITS,
    views,
  });
  await server.hello();
  return server;
};
const newClient = () =>
  new ClientHandshake({ crypto: { ...nodeCrypto, generateEphemeral: () => clientEphemeral }, views });
const everyText = vectors.flatMap((vector) => [
  vector.wanted.hello,
  vector.wanted.proof,
  vector.wanted.answer,
]);
const mustBe = (recorded: string, input: string) => {
  // White space around the elements is the only freedom that there is.
  if (!isDeepStrictEqual(JSON.parse(input), JSON.parse(recorded))) throw new WrongAccept('accepted');
};

const handshakeTargets: Target[] = [
  {
    name: 'a proof at the server',
    seeds: [wanted.proof, ...everyText].map(bytesOf),
    async feed(input) {
      const server = await greet();
      const proof = await server.receive(text(input), () => ({ publicKey: identity.publicKey }));
      if (proof.kind === 'resume') mustBe(wanted.proof, text(input));
      // Others of the recorded ones are of other connections.
      else if (proof.kind === 'create') throw new WrongAccept('a proof of another connection');
    },
  },
  {
    name: 'a hello at the client',
    seeds: everyText.map(bytesOf),
    async feed(input) {
      const client = newClient();
      client.receiveHello(text(input));
      await client.prove(stranger, { kind: 'resume', sessionID: 1 });
    },
  },
  {
    name: 'an answer at the client',
    seeds: [wanted.answer, ...everyText].map(bytesOf),
    async feed(input) {
      const client = newClient();
      client.receiveHello(wanted.hello);
      await client.prove(identity, { kind: 'resume', sessionID: 7 });
      await client.receiveAnswer(text(input));
      mustBe(wanted.answer, text(input));
    },
  },
];

const targets = [...payloadTargets, ...frameTargets, ...handshakeTargets];

const REFUSALS = [
  'WEBGRAM_BAD_FRAME',
  'WEBGRAM_BAD_HANDSHAKE',
  'WEBGRAM_BAD_TAG',
  'WEBGRAM_FRAME_TOO_LARGE',
] as const;
const isRefusal = (error: unknown) => REFUSALS.some((code) => hasCode(error, code));

function refuseOnly(step: () => unknown): void {
  try {
    step();
  } catch (error) {
    if (!isRefusal(error)) throw error;
  }
}

/** @returns What is wrong with how an input was taken. */
async function findingOf({ feed }: Target, input: Uint8Array): Promise<string | undefined> {
  let ms = Infinity;
  // A pause of the machine is no hang: the best of three counts.
  for (let tries = 0; tries < 3 && ms > MAX_MS; tries++) {
    const startedMs = performance.now();
    try {
      await feed(input);
    } catch (error) {
      if (!isRefusal(error)) return String((error as Error).stack ?? error);
    }
    ms = performance.now() - startedMs;
  }
  return ms > MAX_MS ? `took ${Math.round(ms)} ms` : undefined;
}

/** Small, fast, and repeatable: https://en.wikipedia.org/wiki/Xorshift */
function random(state: number) {
  let x = state | 0 || 1;
  return (below: number) => {
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    return (x >>> 0) % below;
  };
}

const TOKENS = [
  '[', ']', '{', '}', '"', ',', ':', '\\', '\\u0000', '\\ud800', 'null', 'true', '-0', '1e999', '1e-999', '0.1',
  '9007199254740992', '-1', '99999999999999999999', '"$date"', '"$bytes"', '"$bigint"', '"$map"', '"$set"',
  '"$object"', '"__proto__"', '"constructor"', '{"$undefined":true}', '{"$date":1}', '[[', ']]', ' ', '\n', '\ufeff',
].map((token) => bytesOf(token)); // prettier-ignore
const BYTES = [
  [0x80], [0x81], [0x9f], [0xff], [0xa0], [0xa1], [0xbf], [0xf6], [0xf7], [0xf9, 0x7e, 0x00], [0xf9, 0x80, 0x00],
  [0x1b, 0, 0x20, 0, 0, 0, 0, 0, 0], [0x9a, 0xff, 0xff, 0xff, 0xff], [0x5a, 0x7f, 0xff, 0xff, 0xff],
  [0xbb, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff], [0xc2, 0x41, 0x01], [0xc3, 0x40], [0xd8, 0x1b, 0x82],
  [0x63, 0x6d, 0x61, 0x70], [0x78, 0x18], [0xfb, 0x7f, 0xf0, 0, 0, 0, 0, 0, 1],
].map((bytes) => Uint8Array.from(bytes)); // prettier-ignore

function mutate(
  input: Uint8Array,
  seeds: readonly Uint8Array[],
  next: (below: number) => number,
): Uint8Array {
  let bytes = Array.from(input);
  for (let changes = 1 + next(4); changes > 0; changes--) {
    const at = next(bytes.length + 1);
    const length = 1 + next(next(2) === 0 ? 4 : 64);
    switch (next(9)) {
      case 0:
        if (at < bytes.length) bytes[at]! ^= 1 << next(8);
        break;
      case 1:
        if (at < bytes.length) bytes[at] = next(256);
        break;
      case 2:
        bytes.splice(at, length);
        break;
      case 3:
        bytes.splice(at, 0, ...bytes.slice(at, at + length));
        break;
      case 4:
        bytes.splice(at, next(2), ...TOKENS[next(TOKENS.length)]!);
        break;
      case 5:
        bytes.splice(at, next(3), ...BYTES[next(BYTES.length)]!);
        break;
      case 6: {
        const other = seeds[next(seeds.length)]!;
        bytes = bytes.slice(0, at).concat(Array.from(other.subarray(next(other.length + 1))));
        break;
      }
      case 7:
        bytes.length = at;
        break;
      default: {
        const chunk = bytes.slice(at, at + length);
        const times = 1 << next(12);
        for (let i = 0; i < times && bytes.length < 100_000; i++) bytes.splice(at, 0, ...chunk);
      }
    }
  }
  return Uint8Array.from(bytes);
}

interface Crasher {
  target: string;
  /** base64url */
  input: string;
  note: string;
}

const corpus = JSON.parse(readFileSync(CORPUS, 'utf8')) as Crasher[];

describe('what has failed before', () => {
  test.each(corpus)('$target: $note', async ({ target, input }) => {
    const found = targets.find(({ name }) => name === target);
    if (found === undefined) throw new Error(`no target ${target}`);
    expect(await findingOf(found, fromBase64url(input))).toBeUndefined();
  });
});

describe(`mutations, WEBGRAM_FUZZ_SEED=${seed}`, () => {
  const budgetMs = totalMs / targets.length;

  test.each(targets)('$name', { timeout: budgetMs + 30_000 }, async (target) => {
    const { name, seeds } = target;
    const next = random(seed);
    const before = process.memoryUsage().rss;
    const startedMs = performance.now();
    let runs = 0;
    for (const one of seeds) expect(await findingOf(target, one)).toBeUndefined();
    while (performance.now() - startedMs < budgetMs) {
      const input = mutate(seeds[next(seeds.length)]!, seeds, next);
      const finding = await findingOf(target, input);
      runs++;
      if (finding === undefined) continue;
      const crasher = { target: name, input: toBase64url(input), note: finding.split('\n')[0]! };
      if (!isCI) writeFileSync(CORPUS, `${JSON.stringify([...corpus, crasher], null, 2)}\n`);
      expect.fail(`${finding}\nseed ${seed}, run ${runs}, input ${crasher.input}`);
    }
    expect(process.memoryUsage().rss - before).toBeLessThan(MAX_GROWTH_BYTES);
    expect(runs).toBeGreaterThan(0);
  });
});

import { describe, expect, test } from 'vitest';
import {
  ClientHandshake,
  DEFAULT_LIMITS,
  ServerHandshake,
  checkViews,
  fromBase64url,
  offeredView,
  toBase64url,
  type Answer,
  type Bytes,
  type Crypto,
  type DenialCode,
  type FindKey,
  type Intent,
  type KnownKey,
  type MacKey,
  type OkBody,
  type Proof,
  type SealKey,
  type SigningKey,
  type Views,
} from 'webgram';
import { implementations, node, pairs, type Implementation } from './implementations.ts';

const badHandshake = expect.objectContaining({ code: 'WEBGRAM_BAD_HANDSHAKE' });
const badFrame = expect.objectContaining({ code: 'WEBGRAM_BAD_FRAME' });

const VIEWS: Views = {
  origin: 'https://app.example',
  authority: 'app.example',
  offered: 'webgram.2.cbor,webgram.2.json',
  chosen: 'webgram.2.json',
};

const OK: OkBody = {
  sessionID: 7,
  serverTimeMs: 1_700_000_000_000,
  expiresInMs: 86_400_000,
  maxLinkMs: 3_600_000,
  generation: 1_700_000_000_001,
  otherServerKey: null,
};

const CREATE: Intent = { kind: 'create', fromClient: { device: 'laptop', since: new Date(5) } };
const RESUME: Intent = { kind: 'resume', sessionID: 7 };
const intents: [string, Intent][] = [
  ['create', CREATE],
  ['resume', RESUME],
];

/** A server with its key and store of keys, and a client with its identity. */
class Scene {
  readonly server: Implementation;
  readonly client: Implementation;
  readonly serverKey: SigningKey;
  readonly identity: SigningKey;
  readonly storeID: Bytes;
  readonly keys = new Map<string, KnownKey>();
  readonly findKey: FindKey = (keyID) => this.keys.get(keyID);

  private constructor(
    server: Implementation,
    client: Implementation,
    serverKey: SigningKey,
    identity: SigningKey,
  ) {
    this.server = server;
    this.client = client;
    this.serverKey = serverKey;
    this.identity = identity;
    this.storeID = server.crypto.randomBytes(16);
  }

  static async set(server: Implementation, client: Implementation): Promise<Scene> {
    const scene = new Scene(server, client, await server.newKey(), await client.newKey());
    await scene.remember(scene.identity);
    return scene;
  }

  async remember(key: SigningKey, ended?: KnownKey['ended']): Promise<void> {
    const keyID = (await this.server.crypto.sha256(key.publicKey)).slice(0, 16);
    this.keys.set(toBase64url(keyID), { publicKey: key.publicKey, ended });
  }

  newServer(views: Partial<Views> = {}, crypto: Crypto = this.server.crypto): ServerHandshake {
    const { serverKey, storeID } = this;
    return new ServerHandshake({
      crypto,
      serverKey,
      storeID,
      limits: DEFAULT_LIMITS,
      views: { ...VIEWS, ...views },
    });
  }

  newClient(views: Partial<Views> = {}): ClientHandshake {
    return new ClientHandshake({ crypto: this.client.crypto, views: { ...VIEWS, ...views } });
  }

  /** Up to the server's verdict. */
  async prove(
    intent: Intent,
    { server = this.newServer(), client = this.newClient(), identity = this.identity } = {},
  ) {
    const helloText = await server.hello();
    const hello = client.receiveHello(helloText);
    const { proof: proofText, keys } = await client.prove(identity, intent);
    const proof = await server.receive(proofText, this.findKey);
    return { server, client, hello, helloText, proofText, keys, proof };
  }
}

/** A server's crypto whose ephemeral key and challenge are always the same, as no real one may be. */
async function frozen(crypto: Crypto): Promise<Crypto> {
  const ephemeral = await crypto.generateEphemeral();
  const random = crypto.randomBytes(32);
  return { ...crypto, generateEphemeral: () => ephemeral, randomBytes: (length) => random.slice(0, length) };
}

function flip(text: string, bit: number): string {
  const at = bit >> 3;
  const changed = String.fromCharCode(text.charCodeAt(at) ^ (1 << (bit & 7)));
  return text.slice(0, at) + changed + text.slice(at + 1);
}

function* sampledBits(text: string, step: number): Generator<number> {
  for (let bit = 0; bit < text.length * 8; bit += step) yield bit;
}

/** The frame with each bit of its signature and tag changed, spelled as it should be. */
function* flippedFields(text: string, step: number): Generator<string> {
  const frame = JSON.parse(text) as string[];
  for (let i = 2; i < frame.length; i++) {
    const bytes = fromBase64url(frame[i]!);
    for (let bit = 0; bit < bytes.length * 8; bit += step) {
      const changed = bytes.with(bit >> 3, bytes[bit >> 3]! ^ (1 << (bit & 7)));
      yield JSON.stringify(frame.with(i, toBase64url(changed)));
    }
  }
}

/** Every bit where everything is synchronous, some elsewhere. */
const stepOf = (...sides: Implementation[]) => (sides.every((side) => side === node) ? 1 : 29);

describe.each(pairs)(
  '$server.name server, $client.name client',
  { timeout: 60_000 },
  ({ server: serverSide, client: clientSide }) => {
    test('create: hello, session-create, session-ok', async () => {
      const scene = await Scene.set(serverSide, clientSide);
      scene.keys.clear();
      const server = scene.newServer();
      const client = scene.newClient();

      const hello = client.receiveHello(await server.hello());
      expect(hello).toEqual({
        serverKey: scene.serverKey.publicKey,
        storeID: scene.storeID,
        maxFrameBytes: 1_048_576,
        pingMs: 25_000,
        maxEarlyBytes: 32_768,
      });

      const asked = await client.prove(scene.identity, CREATE, ['cap']);
      const proof = await server.receive(asked.proof, scene.findKey);
      expect(proof).toEqual({
        kind: 'create',
        keyID: toBase64url((await clientSide.crypto.sha256(scene.identity.publicKey)).slice(0, 16)),
        publicKey: scene.identity.publicKey,
        fromClient: { device: 'laptop', since: new Date(5) },
        caps: ['cap'],
      });

      const accepted = await server.accept(OK);
      expect(await client.receiveAnswer(accepted.answer)).toEqual({ kind: 'ok', ...OK });

      const data = Uint8Array.of(1, 2, 3);
      const mac = (key: MacKey | SealKey) => (key as MacKey).mac(data);
      expect(await mac(accepted.keys.receive)).toEqual(await mac(asked.keys.send));
      expect(await mac(accepted.keys.send)).toEqual(await mac(asked.keys.receive));
      expect(await mac(accepted.keys.send)).not.toEqual(await mac(asked.keys.send));
      expect(accepted.keys.exporter).toEqual(asked.keys.exporter);
    });

    test('sealed: the keys seal, and nothing travels early', async () => {
      const scene = await Scene.set(serverSide, clientSide);
      const views = { offered: 'webgram.2.cbor.sealed', chosen: 'webgram.2.cbor.sealed' };
      const made = { server: scene.newServer(views), client: scene.newClient(views) };
      const { server, client, hello, helloText, keys } = await scene.prove(RESUME, made);
      expect(hello.maxEarlyBytes).toBe(0);
      const [, body] = JSON.parse(helloText) as [string, string];
      expect((JSON.parse(body) as unknown[])[8]).toBe(0);
      const accepted = await server.accept(OK);
      expect(await client.receiveAnswer(accepted.answer)).toMatchObject({ kind: 'ok' });
      const [nonce, label, text] = [new Uint8Array(12), Uint8Array.of(1), Uint8Array.of(1, 2, 3)];
      const sealed = await (keys.send as SealKey).seal(nonce, label, text);
      expect(sealed).toHaveLength(19);
      expect(await (accepted.keys.receive as SealKey).open(nonce, label, sealed)).toEqual(text);
      expect(await (accepted.keys.send as SealKey).open(nonce, label, sealed)).toBeUndefined();
      expect(await (keys.receive as SealKey).open(nonce, label, sealed)).toBeUndefined();
      expect(accepted.keys.exporter).toEqual(keys.exporter);
    });

    test('resume: hello, session-resume, session-ok', async () => {
      const scene = await Scene.set(serverSide, clientSide);
      const { server, client, proof } = await scene.prove(RESUME);
      expect(proof).toMatchObject({ kind: 'resume', sessionID: 7, publicKey: scene.identity.publicKey });
      const ok = { ...OK, expiresInMs: null, otherServerKey: (await serverSide.newKey()).publicKey };
      const { answer } = await server.accept(ok);
      expect(await client.receiveAnswer(answer)).toEqual({ kind: 'ok', ...ok });
    });

    test('an unknown key is denied as unknown, verifiably', async () => {
      const scene = await Scene.set(serverSide, clientSide);
      scene.keys.clear();
      const { server, client, proof } = await scene.prove(RESUME);
      expect(proof).toEqual({ kind: 'refused', code: 'unknown' });
      expect(await client.receiveAnswer(await server.deny('unknown'))).toEqual({
        kind: 'denied',
        code: 'unknown',
      });
    });

    test.each(['revoked', 'expired', 'renewed'] as const)(
      'a tombstone tells %s to who holds its key',
      async (code) => {
        const scene = await Scene.set(serverSide, clientSide);
        await scene.remember(scene.identity, code);
        for (const intent of [CREATE, RESUME]) {
          const { server, client, proof } = await scene.prove(intent);
          expect(proof).toEqual({ kind: 'refused', code });
          expect(await client.receiveAnswer(await server.deny(code))).toEqual({ kind: 'denied', code });
        }
      },
    );

    test('a client of another address, origin or offer is refused', async () => {
      const scene = await Scene.set(serverSide, clientSide);
      const changes: Partial<Views>[] = [
        { origin: 'https://evil.example' },
        { origin: '' },
        { authority: 'evil.example' },
        { authority: 'app.example:8443' },
        { offered: 'webgram.2.json' },
        { offered: 'webgram.2.json,webgram.2.cbor' },
        { chosen: 'webgram.2.cbor' },
        // An offer of sealed frames that was cut out or put in.
        { offered: 'webgram.2.json.sealed,webgram.2.json' },
        { offered: 'webgram.2.json.sealed', chosen: 'webgram.2.json.sealed' },
      ];
      for (const change of changes) {
        for (const intent of [CREATE, RESUME]) {
          const { proof } = await scene.prove(intent, { client: scene.newClient(change) });
          expect(proof, JSON.stringify(change)).toEqual({ kind: 'refused', code: 'unknown' });
        }
      }
    });

    test.each(intents)('%s: no bit of the proof may change', async (_name, intent) => {
      const scene = await Scene.set(serverSide, clientSide);
      const crypto = await frozen(serverSide.crypto);
      const { proofText } = await scene.prove(intent, { server: scene.newServer({}, crypto) });
      const verdict = async (text: string): Promise<Proof | string> => {
        const server = scene.newServer({}, crypto);
        await server.hello();
        return server.receive(text, scene.findKey).catch((error: { code: string }) => error.code);
      };
      expect(await verdict(proofText)).toMatchObject({ kind: intent.kind });
      const refusals = [{ kind: 'refused', code: 'unknown' }, 'WEBGRAM_BAD_FRAME', 'WEBGRAM_BAD_HANDSHAKE'];
      for (const bit of sampledBits(proofText, stepOf(serverSide, clientSide))) {
        expect(refusals, `bit ${bit}`).toContainEqual(await verdict(flip(proofText, bit)));
      }
      for (const text of flippedFields(proofText, stepOf(serverSide, clientSide))) {
        expect(await verdict(text)).toEqual({ kind: 'refused', code: 'unknown' });
      }
    });

    const answers: [string, (server: ServerHandshake) => Promise<string>][] = [
      ['session-ok', async (server) => (await server.accept(OK)).answer],
      ['session-denied', (server) => server.deny('revoked')],
    ];
    test.each(answers)('no bit of a %s may change', async (_name, answerWith) => {
      const scene = await Scene.set(serverSide, clientSide);
      const crypto = await frozen(clientSide.crypto);
      const frozenClient = () => new ClientHandshake({ crypto, views: VIEWS });
      // ECDSA is random: the signature of the first proof serves all, as the ephemeral key does.
      const signature = new Map<string, Bytes>();
      const identity: SigningKey = {
        publicKey: scene.identity.publicKey,
        async sign(data) {
          const made = signature.get(toBase64url(data)) ?? (await scene.identity.sign(data));
          signature.set(toBase64url(data), made);
          return made;
        },
      };
      const { server, helloText } = await scene.prove(RESUME, { client: frozenClient(), identity });
      const answer = await answerWith(server);
      const verdict = async (text: string): Promise<Answer> => {
        const client = frozenClient();
        client.receiveHello(helloText);
        await client.prove(identity, RESUME);
        return client.receiveAnswer(text);
      };
      expect(await verdict(answer)).toMatchObject({ kind: expect.stringMatching(/ok|denied/) as string });
      for (const bit of sampledBits(answer, stepOf(serverSide, clientSide))) {
        await expect(verdict(flip(answer, bit)), `bit ${bit}`).rejects.toEqual(badHandshake);
      }
      for (const text of flippedFields(answer, stepOf(serverSide, clientSide))) {
        await expect(verdict(text)).rejects.toEqual(badHandshake);
      }
    });

    test('no bit of a hello may change', async () => {
      const scene = await Scene.set(serverSide, clientSide);
      const serverCrypto = await frozen(serverSide.crypto);
      const helloText = await scene.newServer({}, serverCrypto).hello();
      const step = stepOf(serverSide, clientSide);
      for (const bit of sampledBits(helloText, step)) {
        const server = scene.newServer({}, serverCrypto);
        await server.hello();
        const client = scene.newClient();
        const refusal = await (async () => {
          client.receiveHello(flip(helloText, bit));
          const { proof } = await client.prove(scene.identity, RESUME);
          return server.receive(proof, scene.findKey);
        })().catch((error: unknown) => error);
        expect([{ kind: 'refused', code: 'unknown' }, badHandshake], `bit ${bit}`).toContainEqual(refusal);
      }
    });
  },
);

describe.each(implementations)('$name', (side) => {
  test('a replayed proof is refused: challenge and ephemeral keys are fresh', async () => {
    const scene = await Scene.set(side, side);
    for (const intent of [CREATE, RESUME]) {
      const { proofText, helloText } = await scene.prove(intent);
      const server = scene.newServer();
      expect(await server.hello()).not.toBe(helloText);
      expect(await server.receive(proofText, scene.findKey)).toEqual({ kind: 'refused', code: 'unknown' });
    }
  });

  test('a replayed hello gets no answer that verifies', async () => {
    const scene = await Scene.set(side, side);
    const { server: old, helloText } = await scene.prove(RESUME);
    const oldAnswer = (await old.accept(OK)).answer;
    const client = scene.newClient();
    client.receiveHello(helloText);
    await client.prove(scene.identity, RESUME);
    await expect(client.receiveAnswer(oldAnswer)).rejects.toEqual(badHandshake);
  });

  test('an answer to one client is none to another', async () => {
    const scene = await Scene.set(side, side);
    const [one, other] = [await scene.prove(RESUME), await scene.prove(RESUME)];
    const { answer } = await one.server.accept(OK);
    await expect(other.client.receiveAnswer(answer)).rejects.toEqual(badHandshake);
    const denied = await scene.prove(RESUME);
    const third = await scene.prove(RESUME);
    await expect(third.client.receiveAnswer(await denied.server.deny('revoked'))).rejects.toEqual(
      badHandshake,
    );
  });

  test('what a client has sent, reflected to it, is no answer; a hello reflected to a server no proof', async () => {
    const scene = await Scene.set(side, side);
    const { client, proofText } = await scene.prove(RESUME);
    await expect(client.receiveAnswer(proofText)).rejects.toEqual(badHandshake);
    const server = scene.newServer();
    const hello = await server.hello();
    await expect(server.receive(hello, scene.findKey)).rejects.toEqual(badFrame);
    const reflected = scene.newClient();
    expect(() => reflected.receiveHello(proofText)).toThrow(badHandshake);
  });

  test('keyID of one, key of another: the same denial, both ways', async () => {
    const scene = await Scene.set(side, side);
    const stranger = await side.newKey();
    const mixed = [
      // The keyID is known; the signature is not of its key.
      { publicKey: scene.identity.publicKey, sign: (data: Bytes) => stranger.sign(data) },
      // The signature is of a known key; the keyID is not known.
      { publicKey: stranger.publicKey, sign: (data: Bytes) => scene.identity.sign(data) },
    ];
    const lengths = new Set<number>();
    for (const identity of mixed) {
      const { server, client, proof } = await scene.prove(RESUME, { identity });
      expect(proof).toEqual({ kind: 'refused', code: 'unknown' });
      const text = await server.deny('unknown');
      lengths.add(text.length);
      expect(await client.receiveAnswer(text)).toEqual({ kind: 'denied', code: 'unknown' });
    }
    expect(lengths.size).toBe(1);
  });

  test('creating with a key of somebody else is refused, also when it has ended', async () => {
    const scene = await Scene.set(side, side);
    const stranger = await side.newKey();
    const identity = { publicKey: scene.identity.publicKey, sign: (data: Bytes) => stranger.sign(data) };
    for (const ended of [undefined, 'revoked'] as const) {
      await scene.remember(scene.identity, ended);
      for (const intent of [CREATE, RESUME]) {
        const { server, proof } = await scene.prove(intent, { identity });
        expect(proof).toEqual({ kind: 'refused', code: 'unknown' });
        await expect(server.deny('revoked')).rejects.toThrow(TypeError);
        await expect(server.accept(OK)).rejects.toThrow(TypeError);
      }
    }
  });

  test('a man in the middle with the pinned public key gains nothing', async () => {
    const scene = await Scene.set(side, side);
    const evil = await side.newKey();
    // He shows the true S, but cannot sign with it.
    const serverKey = { publicKey: scene.serverKey.publicKey, sign: (data: Bytes) => evil.sign(data) };
    const { storeID } = scene;
    const middle = new ServerHandshake({
      crypto: side.crypto,
      serverKey,
      storeID,
      limits: DEFAULT_LIMITS,
      views: VIEWS,
    });
    const { server, client, proofText } = await scene.prove(RESUME, { server: middle });
    await expect(client.receiveAnswer((await server.accept(OK)).answer)).rejects.toEqual(badHandshake);
    const honest = scene.newServer();
    await honest.hello();
    expect(await honest.receive(proofText, scene.findKey)).toEqual({ kind: 'refused', code: 'unknown' });
  });

  test('points that are not on the curve end the connection', async () => {
    const scene = await Scene.set(side, side);
    const offCurve = new Uint8Array(65).fill(1);
    offCurve[0] = 4;
    const bent: Crypto = {
      ...side.crypto,
      generateEphemeral: async () => ({ ...(await side.crypto.generateEphemeral()), publicKey: offCurve }),
    };
    const server = scene.newServer({}, bent);
    const client = scene.newClient();
    client.receiveHello(await server.hello());
    await expect(client.prove(scene.identity, RESUME)).rejects.toEqual(badHandshake);

    const ephemeral = await side.crypto.generateEphemeral();
    const lying: Crypto = {
      ...side.crypto,
      generateEphemeral: () => ({
        publicKey: offCurve,
        deriveSecret: (peer) => ephemeral.deriveSecret(peer),
      }),
    };
    const liar = new ClientHandshake({ crypto: lying, views: VIEWS });
    await expect(scene.prove(RESUME, { client: liar })).rejects.toEqual(badHandshake);
  });

  test('another store and another server key are told before anything is sent', async () => {
    const scene = await Scene.set(side, side);
    const other = await Scene.set(side, side);
    const hello = scene.newClient().receiveHello(await other.newServer().hello());
    expect(hello.storeID).toEqual(other.storeID);
    expect(hello.storeID).not.toEqual(scene.storeID);
    expect(hello.serverKey).not.toEqual(scene.serverKey.publicKey);
  });
});

describe('one of each step', () => {
  test('the server takes one proof', async () => {
    const scene = await Scene.set(node, node);
    const { server, proofText } = await scene.prove(RESUME);
    await expect(server.receive(proofText, scene.findKey)).rejects.toEqual(badFrame);
  });

  test('also while the first is being checked', async () => {
    const scene = await Scene.set(node, node);
    const server = scene.newServer();
    const client = scene.newClient();
    client.receiveHello(await server.hello());
    const { proof } = await client.prove(scene.identity, RESUME);
    const first = server.receive(proof, scene.findKey);
    await expect(server.receive(proof, scene.findKey)).rejects.toEqual(badFrame);
    expect(await first).toMatchObject({ kind: 'resume' });
  });

  test('a proof before the hello, and after one that failed, is refused', async () => {
    const scene = await Scene.set(node, node);
    const { proofText } = await scene.prove(RESUME);
    await expect(scene.newServer().receive(proofText, scene.findKey)).rejects.toEqual(badFrame);
    const server = scene.newServer();
    const client = scene.newClient();
    client.receiveHello(await server.hello());
    const { proof } = await client.prove(scene.identity, RESUME);
    await expect(server.receive('[', scene.findKey)).rejects.toEqual(badFrame);
    await expect(server.receive(proof, scene.findKey)).rejects.toEqual(badFrame);
  });

  test('the server answers once', async () => {
    const scene = await Scene.set(node, node);
    const { server } = await scene.prove(RESUME);
    await expect(server.hello()).rejects.toThrow(TypeError);
    await server.accept(OK);
    await expect(server.accept(OK)).rejects.toThrow(TypeError);
    await expect(server.deny('unknown')).rejects.toThrow(TypeError);
  });

  test('the client takes one hello and one answer, and proves once', async () => {
    const scene = await Scene.set(node, node);
    const { server, client, helloText } = await scene.prove(RESUME);
    expect(() => client.receiveHello(helloText)).toThrow(badHandshake);
    await expect(client.prove(scene.identity, RESUME)).rejects.toThrow(TypeError);
    const { answer } = await server.accept(OK);
    await client.receiveAnswer(answer);
    await expect(client.receiveAnswer(answer)).rejects.toEqual(badHandshake);
    await expect(scene.newClient().receiveAnswer(answer)).rejects.toEqual(badHandshake);
    await expect(scene.newClient().prove(scene.identity, RESUME)).rejects.toThrow(TypeError);
  });

  test('an answer that does not verify ends it: the right one comes too late', async () => {
    const scene = await Scene.set(node, node);
    const { server, client } = await scene.prove(RESUME);
    const { answer } = await server.accept(OK);
    await expect(client.receiveAnswer(flip(answer, answer.length * 8 - 24))).rejects.toEqual(badHandshake);
    await expect(client.receiveAnswer(answer)).rejects.toEqual(badHandshake);
  });
});

describe('hostile texts', () => {
  const hostile = [
    '',
    'null',
    '[]',
    '[null]',
    '{"0":"x"}',
    '["ask",1,"__proto__"]',
    '["__proto__","[]","",""]',
    '["session-resume"]',
    '["session-resume","[]","",""]',
    '["session-resume",1,2,3]',
    '["hello",null]',
    '["hello","[]"]',
    '["hello","[2]","x"]',
    '["session-ok","[]","",""]',
    '['.repeat(4_000),
    '['.repeat(1_048_576),
    `["session-resume","${'['.repeat(3_000)}","",""]`,
    '\uD800',
  ];

  test.each(hostile.map((text) => [text.slice(0, 40), text]))('%s', async (_name, text) => {
    const scene = await Scene.set(node, node);
    const refusal = text.length > 4_096 ? { code: 'WEBGRAM_FRAME_TOO_LARGE' } : { code: 'WEBGRAM_BAD_FRAME' };
    const server = scene.newServer();
    await server.hello();
    await expect(server.receive(text, scene.findKey)).rejects.toMatchObject(refusal);
    expect(() => scene.newClient().receiveHello(text)).toThrow(badHandshake);
    const { client } = await scene.prove(RESUME);
    await expect(client.receiveAnswer(text)).rejects.toEqual(badHandshake);
  });

  test('a proof with any element of its body changed in shape is refused before its proof is looked at', async () => {
    const scene = await Scene.set(node, node);
    const { proofText } = await scene.prove(RESUME);
    const { proofText: createText } = await scene.prove(CREATE);
    const wrong = [
      null,
      '',
      'AA',
      'A'.repeat(87),
      'Aw'.repeat(44),
      -1,
      1.5,
      2 ** 53,
      [],
      {},
      [1],
      ['x'.repeat(65)],
    ];
    const receive = async (text: string) => {
      const server = scene.newServer();
      await server.hello();
      return server.receive(text, scene.findKey).catch((error: { code: string }) => error.code);
    };
    for (const text of [proofText, createText]) {
      const frame = JSON.parse(text) as string[];
      const body = JSON.parse(frame[1]!) as unknown[];
      for (let i = 0; i < body.length; i++) {
        for (const value of wrong) {
          const verdict = await receive(JSON.stringify(frame.with(1, JSON.stringify(body.with(i, value)))));
          const stillInShape = text === createText ? i === 2 && (value === null || isObject(value)) : false;
          const emptyCaps = i === 3 && Array.isArray(value) && value.length === 0;
          if (stillInShape || emptyCaps) expect(verdict).toEqual({ kind: 'refused', code: 'unknown' });
          else expect(verdict, `${i}: ${JSON.stringify(value)}`).toBe('WEBGRAM_BAD_FRAME');
        }
      }
      expect(await receive(JSON.stringify(frame.with(1, JSON.stringify([...body, 0]))))).toBe(
        'WEBGRAM_BAD_FRAME',
      );
      expect(await receive(JSON.stringify([...frame, 'AA']))).toBe('WEBGRAM_BAD_FRAME');
      expect(await receive(JSON.stringify(frame.slice(0, 3)))).toBe('WEBGRAM_BAD_FRAME');
      for (const i of [2, 3]) {
        const bytes = fromBase64url(frame[i]!);
        expect(await receive(JSON.stringify(frame.with(i, `${frame[i]!}=`)))).toBe('WEBGRAM_BAD_FRAME');
        expect(await receive(JSON.stringify(frame.with(i, toBase64url(bytes.slice(1)))))).toBe(
          'WEBGRAM_BAD_FRAME',
        );
      }
    }
  });

  test('fromClient over its limit is refused at both ends', async () => {
    const scene = await Scene.set(node, node);
    const big: Intent = { kind: 'create', fromClient: { text: 'x'.repeat(2_048) } };
    const tooLarge = { code: 'WEBGRAM_MESSAGE_TOO_LARGE' };
    await expect(scene.prove(big)).rejects.toMatchObject(tooLarge);
    const limits = { ...DEFAULT_LIMITS, maxFromClientBytes: 3_000 };
    const client = new ClientHandshake({ crypto: node.crypto, views: VIEWS, limits });
    await expect(scene.prove(big, { client })).rejects.toEqual(badFrame);
    const quotes: Intent = { kind: 'create', fromClient: { text: '"'.repeat(1_000) } };
    await expect(scene.prove(quotes)).rejects.toMatchObject(tooLarge);
    await expect(scene.prove({ kind: 'create', fromClient: { f: () => 1 } })).rejects.toMatchObject({
      code: 'WEBGRAM_NOT_ENCODABLE',
      message: expect.stringMatching(/^fromClient\.f /) as string,
    });
  });

  test('__proto__ in fromClient is data', async () => {
    const scene = await Scene.set(node, node);
    const fromClient = JSON.parse('{"__proto__":{"admin":true}}') as Record<string, unknown>;
    const { proof } = await scene.prove({ kind: 'create', fromClient });
    if (proof.kind !== 'create') throw new Error('expected a create');
    expect(Object.getPrototypeOf(proof.fromClient)).toBe(Object.prototype);
    expect(Object.keys(proof.fromClient ?? {})).toEqual(['__proto__']);
  });

  test('a store that fails is no verdict about the client', async () => {
    const scene = await Scene.set(node, node);
    const server = scene.newServer();
    const client = scene.newClient();
    client.receiveHello(await server.hello());
    const { proof } = await client.prove(scene.identity, RESUME);
    const failing: FindKey = () => Promise.reject(new Error('disk'));
    await expect(server.receive(proof, failing)).rejects.toThrow('disk');
    await expect(server.deny('unknown')).rejects.toThrow(TypeError);
  });
});

describe('views', () => {
  test('an offer is split at commas, trimmed and joined', () => {
    expect(offeredView(' webgram.2.cbor , webgram.2.json')).toBe('webgram.2.cbor,webgram.2.json');
    expect(offeredView(['webgram.2.cbor', 'webgram.2.json'])).toBe('webgram.2.cbor,webgram.2.json');
  });

  test.each([{ chosen: '' }, { chosen: 'other' }, { offered: '' }, { origin: 'x'.repeat(257) }])(
    '%j',
    (change) => {
      expect(() => checkViews({ ...VIEWS, ...change })).toThrow(badHandshake);
    },
  );

  test('denials of failed proofs have one length whatever was wrong', async () => {
    const scene = await Scene.set(node, node);
    const stranger = await node.newKey();
    const lengths = new Set<number>();
    const codes = new Set<DenialCode>();
    const cases = [
      { identity: stranger },
      { client: scene.newClient({ origin: 'https://evil.example' }) },
      { identity: { publicKey: scene.identity.publicKey, sign: (data: Bytes) => stranger.sign(data) } },
    ];
    for (const change of cases) {
      const { server, proof } = await scene.prove(RESUME, change);
      if (proof.kind !== 'refused') throw new Error('expected a refusal');
      codes.add(proof.code);
      lengths.add((await server.deny(proof.code)).length);
    }
    expect([codes.size, lengths.size]).toEqual([1, 1]);
  });
});

function isObject(value: unknown): boolean {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

import {
  ClientHandshake,
  encodeHandshakeFrame,
  encodeOkBody,
  ServerHandshake,
  toBase64url,
  DEFAULT_LIMITS,
  type Bytes,
  type OkBody,
  type SigningKey,
  type Views,
} from 'webgram';
import { nodeCrypto, NodeSigningKey } from '../node-crypto.ts';
import type { KeyRow, Store } from '../store/store.ts';
import { randomFrom } from './random.ts';

/** What a thief has who copied the store: every row, and no private key. */
export interface StolenKey {
  keyID: string;
  row: KeyRow;
}

export interface ForgeryOptions {
  /** How many in each direction. */
  count: number;
  seed: number;
  store: Store;
  stolen: readonly StolenKey[];
  /** The server's, of which a thief knows the public half. */
  serverKey: NodeSigningKey;
  /** What one of the stolen identities has said to the real server, and what that has answered. */
  recorded: { proof: string; answer: string };
}

export interface ForgeryReport {
  tried: number;
  accepted: number;
}

const VIEWS: Views = {
  origin: 'https://app.example',
  authority: 'app.example',
  offered: 'webgram.2.json',
  chosen: 'webgram.2.json',
};

/** A key that shows somebody's public half and signs with a key of its own. */
function liarFor(publicKey: Uint8Array, own: NodeSigningKey): SigningKey {
  return { publicKey: Uint8Array.from(publicKey), sign: (data: Uint8Array) => own.sign(data) };
}

/** Tries to resume stolen sessions at the real server. */
export async function forgeResumes(options: ForgeryOptions): Promise<ForgeryReport> {
  const { count, seed, store, stolen, serverKey, recorded } = options;
  const random = randomFrom(seed);
  const own = NodeSigningKey.generate();
  let accepted = 0;
  for (let i = 0; i < count; i += 1) {
    const { row } = stolen[Math.floor(random() * stolen.length)]!;
    const server = new ServerHandshake({
      crypto: nodeCrypto,
      serverKey,
      storeID: store.storeID,
      limits: DEFAULT_LIMITS,
      views: VIEWS,
    });
    const client = new ClientHandshake({ crypto: nodeCrypto, views: VIEWS });
    client.receiveHello(await server.hello());
    const intent = { kind: 'resume', sessionID: row.sessionID } as const;
    const { proof } = await client.prove(liarFor(row.publicKey, own), intent);
    const text = spoil(proof, recorded.proof, random);
    const verdict = await server.receive(text, (keyID) => findIn(store, keyID)).catch(() => undefined);
    if (verdict !== undefined && verdict.kind !== 'refused') accepted += 1;
  }
  return { tried: count, accepted };
}

/** A forged proof in one of its forms: as it is, or with parts that were seen on the wire or are made up. */
function spoil(proof: string, recorded: string, random: () => number): string {
  const [type, body, signature, tag] = JSON.parse(proof) as string[];
  const [, oldBody, oldSignature, oldTag] = JSON.parse(recorded) as string[];
  const noise = (length: number): string => {
    return toBase64url(Uint8Array.from({ length }, () => Math.floor(random() * 256)));
  };
  const forms: unknown[][] = [
    [type, body, signature, tag],
    [type, body, oldSignature, tag],
    [type, body, signature, oldTag],
    [type, oldBody, oldSignature, oldTag],
    [type, oldBody, oldSignature, tag],
    [type, body, noise(64), tag],
    [type, body, signature, noise(32)],
    // r = s = 0, which careless verifiers take.
    [type, body, toBase64url(new Uint8Array(64)), tag],
    ['session-create', body, signature, tag],
    [type, body, tag, signature],
  ];
  return JSON.stringify(forms[Math.floor(random() * forms.length)]);
}

async function findIn(store: Store, keyID: string) {
  const row = await store.findKey(keyID);
  return row && { publicKey: row.publicKey, ended: row.ended?.reason };
}

/** Tries to be the server towards a real client that has pinned the real one's key. */
export async function forgeAnswers(
  options: ForgeryOptions & { victim: NodeSigningKey },
): Promise<ForgeryReport> {
  const { count, seed, store, stolen, serverKey, victim, recorded } = options;
  const random = randomFrom(seed + 1);
  const own = NodeSigningKey.generate();
  let accepted = 0;
  for (let i = 0; i < count; i += 1) {
    const thief = new ServerHandshake({
      crypto: nodeCrypto,
      serverKey: liarFor(serverKey.publicKey, own),
      storeID: store.storeID,
      limits: DEFAULT_LIMITS,
      views: VIEWS,
    });
    const client = new ClientHandshake({ crypto: nodeCrypto, views: VIEWS });
    client.receiveHello(await thief.hello());
    const { sessionID } = stolen[Math.floor(random() * stolen.length)]!.row;
    const { proof } = await client.prove(victim, { kind: 'resume', sessionID });
    await thief.receive(proof, (keyID) => findIn(store, keyID));
    const ok = okFor(sessionID, own.publicKey);
    const answers: (() => Promise<string> | string)[] = [
      async () => (await thief.accept(ok)).answer,
      () => thief.deny('revoked'),
      () => thief.deny('expired'),
      () => recorded.answer,
      () => encodeHandshakeFrame('session-denied', '["revoked"]', noiseBytes(random, 64)),
      () =>
        encodeHandshakeFrame('session-ok', encodeOkBody(ok), noiseBytes(random, 64), noiseBytes(random, 32)),
      () => encodeHandshakeFrame('session-denied', '["revoked"]', new Uint8Array(64)),
    ];
    const answer = await answers[Math.floor(random() * answers.length)]!();
    const taken = await client.receiveAnswer(answer).catch(() => undefined);
    if (taken !== undefined) accepted += 1;
  }
  return { tried: count, accepted };
}

function okFor(sessionID: number, otherServerKey: Bytes | null): OkBody {
  return { sessionID, serverTimeMs: 1, expiresInMs: null, maxLinkMs: 1, generation: 1, otherServerKey };
}

function noiseBytes(random: () => number, length: number): Bytes {
  return Uint8Array.from({ length }, () => Math.floor(random() * 256));
}

/** Records one honest handshake. */
export async function recordHandshake(
  serverKey: NodeSigningKey,
  store: Store,
  identity: NodeSigningKey,
  sessionID: number,
): Promise<{ proof: string; answer: string; accepted: boolean }> {
  const { storeID } = store;
  const server = new ServerHandshake({
    crypto: nodeCrypto,
    serverKey,
    storeID,
    limits: DEFAULT_LIMITS,
    views: VIEWS,
  });
  const client = new ClientHandshake({ crypto: nodeCrypto, views: VIEWS });
  client.receiveHello(await server.hello());
  const { proof } = await client.prove(identity, { kind: 'resume', sessionID });
  await server.receive(proof, (keyID) => findIn(store, keyID));
  const { answer } = await server.accept(okFor(sessionID, null));
  const accepted = (await client.receiveAnswer(answer)).kind === 'ok';
  return { proof, answer, accepted };
}

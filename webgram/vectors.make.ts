/**
 * Plays the conversations of vectors.json: once to make them, and in the tests to compare.
 *
 * `WEBGRAM_MAKE_VECTORS=1 npx vitest run --project unit e2e/protocol/vectors` adds the conversations that
 * the file does not have yet. Those that are there stay as they are: they are frozen.
 */
import type { Bytes, Crypto, EphemeralKey, SigningKey } from './crypto.ts';
import { DEFAULT_LIMITS } from './limits.ts';
import { fromBase64url, toBase64url } from './wire/base64url.ts';
import { concat, utf8 } from './wire/bytes.ts';
import { FrameWriter, type Sender } from './wire/frame.ts';
import { codecFor } from './wire/codecs.ts';
import { toWire } from './wire/envelope.ts';
import { decodeJson, encodeJson } from './wire/json.ts';
import type { Payload, PayloadCodec } from './wire/payload.ts';
import { isSealed } from './wire/sealed.ts';
import { ClientHandshake, type Intent } from './handshake/client-handshake.ts';
import type { DenialCode, OkBody } from './handshake/messages.ts';
import { ClientRenewal, parseRenewal, renewInput, ServerRenewal } from './handshake/renewal.ts';
import { ServerHandshake } from './handshake/server-handshake.ts';
import {
  hashAnswer,
  hashHello,
  hashProof,
  KeySchedule,
  type KeyLabel,
  type LinkKeys,
  type Views,
} from './handshake/transcript.ts';

/** Bytes are base64url throughout. */
export interface KeyPairText {
  /** The private scalar: 32 bytes, big-endian. */
  d: string;
  /** Uncompressed point, 65 bytes. */
  publicKey: string;
}

/** What a conversation is made of. */
export interface Given {
  views: Views;
  storeID: string;
  challenge: string;
  serverKey: KeyPairText;
  serverEphemeral: KeyPairText;
  identity: KeyPairText;
  clientEphemeral: KeyPairText;
  /** `fromClient` as the JSON text that stands in the body. */
  ask: { kind: 'create'; fromClient: string } | { kind: 'resume'; sessionID: number };
  caps: string[];
  /** What the store knows of the identity: nothing, alive, or how it ended. */
  known: 'no' | 'yes' | Exclude<DenialCode, 'unknown'>;
  /** What the server says of the session when it accepts. */
  ok: Omit<OkBody, 'otherServerKey'> & { otherServerKey: string | null };
  /** Payloads sent after the handshake, in order: as JSON, also where they travel as CBOR. */
  clientPayloads: string[];
  serverPayloads: string[];
  /** The login on this connection, where there is one. */
  renewal?: { renewID: string; next: KeyPairText };
}

/** What comes out of it. ECDSA is random: the signatures are one of many, all else has one value. */
export interface Played {
  hello: string;
  th1: string;
  /** ee */
  secret: string;
  th2: string;
  /** Of the frames, `frame` or `seal`. */
  keys: Partial<Record<KeyLabel, string>>;
  clientSignature: string;
  clientTag: string;
  proof: string;
  th3: string;
  serverSignature: string;
  /** `null` in a denial. */
  serverTag: string | null;
  answer: string;
  /** WebSocket messages: texts, or the base64url of binary ones. */
  clientFrames: string[];
  serverFrames: string[];
  /** What sig_n is made over, sig_n, and the three envelopes as JSON. */
  renewal?: { input: string; signature: string; renew: string; renewKey: string; renewOk: string };
}

export interface Vector {
  name: string;
  given: Given;
  wanted: Played;
}

export interface VectorPlatform {
  crypto: Crypto;
  importEphemeral(pair: KeyPairText): Promise<EphemeralKey>;
}

/** Plays a conversation between both roles. */
export async function play(
  platform: VectorPlatform,
  given: Given,
  signers: { server: SigningKey; identity: SigningKey; next?: SigningKey | undefined },
): Promise<Played> {
  const { crypto } = platform;
  const fixed = async (pair: KeyPairText): Promise<Crypto> => {
    const ephemeral = await platform.importEphemeral(pair);
    return {
      ...crypto,
      generateEphemeral: () => ephemeral,
      randomBytes: () => fromBase64url(given.challenge),
    };
  };
  const { views } = given;
  const server = new ServerHandshake({
    crypto: await fixed(given.serverEphemeral),
    serverKey: signers.server,
    storeID: fromBase64url(given.storeID),
    limits: DEFAULT_LIMITS,
    views,
  });
  const client = new ClientHandshake({ crypto: await fixed(given.clientEphemeral), views });

  const hello = await server.hello();
  client.receiveHello(hello);
  const { proof, keys: clientKeys } = await client.prove(signers.identity, intentOf(given), given.caps);
  const publicKey = signers.identity.publicKey;
  const verdict = await server.receive(proof, () => {
    if (given.known === 'no') return undefined;
    return { publicKey, ended: given.known === 'yes' ? undefined : given.known };
  });
  const { answer, keys: serverKeys } =
    verdict.kind === 'refused'
      ? { answer: await server.deny(verdict.code), keys: undefined }
      : await server.accept(okOf(given));
  await client.receiveAnswer(answer);

  const [, helloBody] = JSON.parse(hello) as [string, string];
  const [type, body, signatureC, tagC] = JSON.parse(proof) as ['session-create', string, string, string];
  const [answerType, answerBody, signatureS, tagS] = JSON.parse(answer) as [
    'session-ok',
    string,
    string,
    string?,
  ];
  const th1 = await hashHello(crypto, views, helloBody);
  const ephemeral = await platform.importEphemeral(given.clientEphemeral);
  const secret = await ephemeral.deriveSecret(fromBase64url(given.serverEphemeral.publicKey));
  const th2 = await hashProof(crypto, th1, { type, body }, publicKey);
  const schedule = await KeySchedule.from(crypto, secret, th2);
  const clientSignature = fromBase64url(signatureC);
  const clientTag = fromBase64url(tagC);
  const th3 = await hashAnswer(crypto, th1, {
    type,
    body,
    clientSignature,
    clientTag,
    answerType,
    answerBody,
  });
  const key = async (label: KeyLabel) => toBase64url(await schedule.bytes(label));

  const exporter = await schedule.bytes('exporter');
  const [fromClient, fromServer] = isSealed(views.chosen)
    ? (['c seal', 's seal'] as const)
    : (['c frame', 's frame'] as const);

  return {
    hello,
    th1: toBase64url(th1),
    secret: toBase64url(secret),
    th2: toBase64url(th2),
    keys: {
      'c confirm': await key('c confirm'),
      's confirm': await key('s confirm'),
      [fromClient]: await key(fromClient),
      [fromServer]: await key(fromServer),
      exporter: toBase64url(exporter),
    },
    clientSignature: signatureC,
    clientTag: tagC,
    proof,
    th3: toBase64url(th3),
    serverSignature: signatureS,
    serverTag: tagS ?? null,
    answer,
    clientFrames: serverKeys === undefined ? [] : await seal(given, 'client', clientKeys),
    serverFrames: serverKeys === undefined ? [] : await seal(given, 'server', serverKeys),
    ...(given.renewal === undefined || signers.next === undefined
      ? {}
      : { renewal: await renew(crypto, given.renewal, { exporter, publicKey }, signers.next) }),
  };
}

async function renew(
  crypto: Crypto,
  { renewID }: NonNullable<Given['renewal']>,
  link: { exporter: Bytes; publicKey: Bytes },
  next: SigningKey,
): Promise<NonNullable<Played['renewal']>> {
  const fixed: Crypto = { ...crypto, randomBytes: () => fromBase64url(renewID) };
  const server = new ServerRenewal({ crypto: fixed, ...link });
  const opened = server.open();
  const client = new ClientRenewal(opened, link);
  const key = await client.answer(next);
  await server.receive(key);
  const ok = server.ok();
  client.receiveOk(ok);
  const word = parseRenewal(key);
  if (word.what !== 'renew-key') throw new TypeError('a renew-key was expected');
  const parts = { ...link, renewID: fromBase64url(renewID), nextPublicKey: next.publicKey };
  return {
    input: toBase64url(renewInput(parts)),
    signature: toBase64url(word.signature),
    renew: encodeJson(toWire(opened)),
    renewKey: encodeJson(toWire(key)),
    renewOk: encodeJson(toWire(ok)),
  };
}

/** The codec of a conversation. */
export function codecOf({ views }: Given): PayloadCodec {
  const codec = codecFor(views.chosen);
  if (codec === undefined) throw new TypeError('a vector must have a subprotocol of ours');
  return codec;
}

async function seal(given: Given, sender: Sender, keys: LinkKeys): Promise<string[]> {
  const codec = codecOf(given);
  const payloads = sender === 'client' ? given.clientPayloads : given.serverPayloads;
  const frames: string[] = [];
  await new Promise<void>((resolve, reject) => {
    const writer = new FrameWriter({
      key: keys.send,
      sender,
      codec,
      maxFrameBytes: DEFAULT_LIMITS.maxFrameBytes,
      output(frame) {
        frames.push(typeof frame === 'string' ? frame : toBase64url(frame));
        if (frames.length === payloads.length) resolve();
      },
      failed: reject,
    });
    for (const payload of payloads) writer.write(payloadOf(codec, payload));
    if (payloads.length === 0) resolve();
  });
  return frames;
}

/** What travels for a payload that is given as JSON. */
export function payloadOf(codec: PayloadCodec, json: string): Payload {
  if (!codec.binary) return json;
  return codec.join((decodeJson(json) as unknown[][]).map((wire) => codec.encode(wire)));
}

function intentOf({ ask }: Given): Intent {
  if (ask.kind === 'resume') return ask;
  return { kind: 'create', fromClient: decodeJson(ask.fromClient) as Record<string, unknown> | null };
}

function okOf({ ok }: Given): OkBody {
  return { ...ok, otherServerKey: ok.otherServerKey === null ? null : fromBase64url(ok.otherServerKey) };
}

export interface MakingPlatform extends VectorPlatform {
  /** The public half of a private scalar. */
  publicKeyOf(d: Bytes): Bytes;
  importSigning(pair: KeyPairText): Promise<SigningKey>;
}

/** Returns the vectors that there are, then those that were missing. */
export async function addMissing(platform: MakingPlatform, existing: readonly Vector[]): Promise<Vector[]> {
  const vectors = [...existing];
  for (const [name, change] of Object.entries(CONVERSATIONS)) {
    if (existing.some((vector) => vector.name === name)) continue;
    const { chosen, ...changes } = change;
    const usual = await common(platform, name);
    const given: Given = { ...usual, ...changes };
    if (chosen !== undefined) given.views = { ...usual.views, offered: chosen, chosen };
    if (given.renewal !== undefined) given.renewal.next = usual.next;
    const signers = {
      server: await platform.importSigning(given.serverKey),
      identity: await platform.importSigning(given.identity),
      next: given.renewal && (await platform.importSigning(given.renewal.next)),
    };
    delete (given as Partial<typeof usual>).next;
    vectors.push({ name, given, wanted: await play(platform, given, signers) });
  }
  return vectors;
}

const TAB_ID = 'EBESExQVFhcYGRobHB0eHw';

const RESUME = { kind: 'resume', sessionID: 7 } as const;

const EVERYTHING =
  '{"text":"ü€😀","list":[0,-1,1.5,24,-1000,9007199254740991,1e+300,null,true],"at":{"$date":1700000000000},' +
  '"bytes":{"$bytes":"__79"},"big":{"$bigint":"-18446744073709551617"},"map":{"$map":[["b",1],["a",{}]]},' +
  '"set":{"$set":["b","a"]},"odd":[{"$number":"NaN"},{"$number":"-0"},{"$undefined":true}],' +
  '"escaped":{"$object":{"$date":1}}}';

/** One frame that is long enough for two bytes of length, and one with every kind of value. */
const RICH: Pick<Given, 'clientPayloads' | 'serverPayloads'> = {
  clientPayloads: [
    `[[0,1,"${TAB_ID}",1,[0,0],1,[1700000000000,0,0],{}],[3,1,1,[0,0],"store",${EVERYTHING}]]`,
    `[[6,1,"text","${'x'.repeat(300)}"],[9,7]]`,
    '[[12,"closed"]]',
  ],
  serverPayloads: [
    '[[1,1,1,0,[false,"new",0,0],1700000000002,1700000000001,[]]]',
    `[[4,1,[1700000000002,1],1,1,null,${EVERYTHING}],[7,1,1,[1700000000002,1],1700000000003]]`,
    '[[12,"draining",500]]',
  ],
};

const CONVERSATIONS: Record<string, Partial<Given> & { chosen?: string }> = {
  create: {
    known: 'no',
    clientPayloads: [
      `[[0,1,"${TAB_ID}",1,[0,0],1,[1700000000000,0,0],{}],[2,1,1,[0,0],"add-one",999],[3,1,2,[0,0],"incr",41]]`,
      '[[7,1,[1700000000002,2]]]',
      '[[6,1,"ü€😀",{"$date":0},{"$bytes":"__79"},{"$bigint":"-5"},{"$map":[["a",1]]},{"$set":[]}]]',
      '[[8,1,1,"closed"]]',
      '[[12,"closed"]]',
    ],
    serverPayloads: [
      '[[1,1,1,0,[false,"new",0,0],1700000000002,1700000000001,[]]]',
      '[[2,1,[1700000000002,1],2,"added-one",1000],[4,1,[1700000000002,2],2,2,null,42]]',
      '[[7,1,2,[1700000000002,1],1700000000003]]',
      '[[9,0]]',
    ],
  },
  'create without fromClient, other server key announced': {
    known: 'no',
    ask: { kind: 'create', fromClient: 'null' },
  },
  resume: {
    ask: RESUME,
    clientPayloads: [
      `[[0,2,"${TAB_ID}",2,[1700000000002,2],3,[1700000000003,1700000000002,1],{}],[10,0]]`,
      '[[5,2,3]]',
      '[[4,2,4,[1700000000002,3],[1700000000002,3],{"code":"no","message":"not now"},null]]',
    ],
    serverPayloads: [
      '[[1,2,2,2,[true,"resumed",0,0],1700000000009,1700000000010,[[1700000000002,1],[1700000000009,1]]]]',
      '[[11,"renew","AAECAwQFBgcICQoLDA0ODw"]]',
      '[[12,"superseded",1700000000011]]',
    ],
  },
  'resume without Origin': {
    ask: RESUME,
    caps: ['a', 'b'],
    views: { origin: '', authority: '127.0.0.1:5678', offered: 'webgram.2.json', chosen: 'webgram.2.json' },
    clientPayloads: ['[[9,1]]'],
    serverPayloads: ['[[10,1]]'],
  },
  'denied: unknown': { ask: RESUME, known: 'no' },
  'denied: revoked': { ask: RESUME, known: 'revoked' },
  'denied: create with a key that was renewed': { known: 'renewed' },
  'CBOR: create': { chosen: 'webgram.2.cbor', known: 'no', ...RICH },
  'CBOR: resume': {
    chosen: 'webgram.2.cbor',
    ask: RESUME,
    clientPayloads: ['[[7,1,[1700000000002,2]]]'],
    serverPayloads: ['[[8,1,1,"closed by the server"]]'],
  },
  'sealed JSON: create': { chosen: 'webgram.2.json.sealed', known: 'no', ...RICH },
  'sealed CBOR: resume': { chosen: 'webgram.2.cbor.sealed', ask: RESUME, ...RICH },
  'sealed CBOR: denied': { chosen: 'webgram.2.cbor.sealed', ask: RESUME, known: 'expired' },
  'renewal: resume, then login': {
    ask: RESUME,
    renewal: { renewID: 'AAECAwQFBgcICQoLDA0ODw', next: { d: '', publicKey: '' } },
    serverPayloads: ['[[11,"renew-ok","AAECAwQFBgcICQoLDA0ODw"],[12,"renewed"]]'],
  },
  'ending: resume, then end': {
    ask: RESUME,
    clientPayloads: ['[[11,"end"]]'],
    serverPayloads: ['[[11,"profile","alice",{"label":"Alice"}],[12,"revoked"]]'],
  },
};

async function common(platform: MakingPlatform, name: string): Promise<Given & { next: KeyPairText }> {
  const digest = async (what: string) => platform.crypto.sha256(concat(utf8(`${name}: ${what}`)));
  const pair = async (what: string): Promise<KeyPairText> => {
    const d = await digest(what);
    return { d: toBase64url(d), publicKey: toBase64url(platform.publicKeyOf(d)) };
  };
  const otherServerKey = name.includes('announced') ? (await pair('otherS')).publicKey : null;
  return {
    views: {
      origin: 'https://app.example',
      authority: 'app.example',
      offered: 'webgram.2.cbor,webgram.2.json',
      chosen: 'webgram.2.json',
    },
    storeID: toBase64url((await digest('storeID')).slice(0, 16)),
    challenge: toBase64url(await digest('challenge')),
    serverKey: await pair('S'),
    serverEphemeral: await pair('E_s'),
    identity: await pair('C'),
    clientEphemeral: await pair('E_c'),
    ask: { kind: 'create', fromClient: '{"device":"laptop \\"ü\\"","since":{"$date":0}}' },
    caps: [],
    known: 'yes',
    ok: {
      sessionID: 7,
      serverTimeMs: 1_700_000_000_001,
      expiresInMs: 2_592_000_000,
      maxLinkMs: 3_600_000,
      generation: 1_700_000_000_001,
      otherServerKey,
    },
    clientPayloads: [],
    serverPayloads: [],
    next: await pair("C'"),
  };
}

import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { inspect } from 'node:util';
import { ClassicLevel } from 'classic-level';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { AskError, toBase64url } from 'webgram';
import { nodeCrypto, NodeSigningKey } from './node-crypto.ts';
import { Scene } from './testing/scene.ts';
import { TestTab, type TestIdentity, type TestLink } from './testing/test-client.ts';

const CANARY = 'canary-7f3a';

let scene: Scene;
let folder: string;
let printed: string[];
/** What must be nowhere: by the name it has in a failure. */
let secrets: Map<string, string>;

beforeEach(async () => {
  scene = new Scene();
  folder = await mkdtemp(path.join(tmpdir(), 'webgram-canaries-'));
  printed = [];
  secrets = new Map([['a body', CANARY]]);
  for (const stream of [process.stdout, process.stderr]) {
    vi.spyOn(stream, 'write').mockImplementation((text) => {
      printed.push(String(text));
      return true;
    });
  }
  for (const method of ['log', 'info', 'warn', 'error', 'debug'] as const) {
    vi.spyOn(console, method).mockImplementation((...args) => {
      printed.push(inspect(args, { depth: null }));
    });
  }
});

afterEach(async () => {
  vi.restoreAllMocks();
  await scene.close();
  await rm(folder, { recursive: true });
});

function hide(name: string, bytes: Uint8Array): void {
  secrets.set(`${name} in base64url`, toBase64url(bytes));
  secrets.set(`${name} in hex`, Buffer.from(bytes).toString('hex'));
  secrets.set(`${name} as Node prints it`, inspect(Buffer.from(bytes.subarray(0, 12))).slice(8, -1));
}

function hideKey(name: string, key: NodeSigningKey): void {
  hide(`the public ${name}`, key.publicKey);
  hide(`the keyID of ${name}`, (nodeCrypto.sha256(key.publicKey) as Uint8Array).slice(0, 16));
  hide(`the private ${name}`, Buffer.from(key.toJwk().d!, 'base64url'));
}

/** Remembers the tags of frames that went over a link. */
function hideTags(link: TestLink): void {
  for (const [index, text] of link.received.entries()) secrets.set(`tag ${index}`, text.slice(0, 22));
}

/** Everything that a record holds, hidden properties, stacks and causes included. */
function everythingIn(value: unknown): string {
  return inspect(value, { depth: null, showHidden: true, maxStringLength: null, maxArrayLength: null });
}

function expectNone(where: string, text: string): void {
  for (const [name, secret] of secrets) expect(text.includes(secret), `${name} is in ${where}`).toBe(false);
}

async function everythingHappens(): Promise<{ identity: TestIdentity; closeReasons: string[] }> {
  const server = scene.server;
  server.answer['throw'] = () => {
    throw new Error('it failed', { cause: new TypeError('because') });
  };
  server.answer['reject'] = () => Promise.reject(new AskError('no', 'not now'));
  server.answer['unsendable'] = () => () => CANARY;
  server.answer['login'] = (conn) => conn.login('alice');
  server.answer['keep'] = async (conn, body) => {
    conn.sessionData['kept'] = body;
    await conn.save();
    conn.send('kept', body);
  };
  server.on('$session-active', () => {
    throw new Error('a listener failed');
  });
  const closeReasons: string[] = [];
  const closed = async (link: TestLink): Promise<void> => {
    const { reason } = await link.waitForClose();
    hideTags(link);
    closeReasons.push(reason);
  };
  const identity = scene.identity();
  hideKey('key', identity.key);

  const first = await scene.connect();
  const { proof, keys } = await first.prove(identity.key, { kind: 'create', fromClient: { note: CANARY } });
  const [, , signature, tag] = JSON.parse(proof) as [string, string, string, string];
  secrets.set('sig_c', signature).set('tag_c', tag);
  hide('the exporter', keys.exporter);
  first.sendRaw(proof);
  first.seal(keys);
  await first.answer();
  identity.sessionID = 1;
  const tab = new TestTab(first);
  await tab.attach();
  for (const type of ['throw', 'reject', 'unsendable', 'nobody-handles-it']) {
    await expect(tab.ask(type, CANARY)).rejects.toMatchObject({
      message: expect.not.stringContaining(CANARY) as string,
    });
  }
  await tab.ask('keep', CANARY);
  tab.link.send(tab.askEnvelope('login', CANARY));
  const old = { ...identity };
  await first.renew(identity);
  hideKey('new key', identity.key);
  await closed(first);

  // Denials.
  for (const denied of [old, { ...scene.identity(), sessionID: 1 }, { ...scene.identity(), sessionID: 99 }]) {
    hideKey(`denied key ${String(denied.sessionID)}`, denied.key);
    const link = await scene.connect();
    await link.enter(denied).catch(() => undefined);
    await closed(link);
  }
  // Frames and proofs that are none.
  for (const payload of [
    `{${CANARY}`,
    `[["${CANARY}"]]`,
    `[[3,1,1,[0,0],"$${CANARY}"]]`,
    `[[11,"renew-key","${CANARY}"]]`,
  ]) {
    const link = await scene.enter(identity);
    link.sendPayload(payload);
    await closed(link);
  }
  for (const text of [
    CANARY,
    `["session-create","${CANARY}"]`,
    JSON.stringify(['session-resume', `["${CANARY}"]`, signature, tag]),
  ]) {
    const link = await scene.connect();
    link.sendRaw(text);
    await closed(link);
  }
  const badTag = await scene.enter(identity);
  badTag.sendRaw(`${'A'.repeat(22)}[["${CANARY}"]]`);
  await closed(badTag);
  const wrongTag = await scene.connect();
  const wrong = await wrongTag.prove(identity.key, { kind: 'resume', sessionID: 1 });
  const [type, body, sig] = JSON.parse(wrong.proof) as string[];
  secrets.set('another sig_c', sig!);
  wrongTag.sendRaw(JSON.stringify([type, body, sig, toBase64url(new Uint8Array(32).fill(7))]));
  await closed(wrongTag);
  const tooMuch = await scene.connect();
  tooMuch.sendRaw(CANARY.repeat(10_000));
  await closed(tooMuch);
  const invalid = await scene.connect();
  invalid.socket.send(`\u0000${CANARY}`, { fin: false });
  invalid.socket.terminate();
  await invalid.closed;
  return { identity, closeReasons };
}

test('no key, tag, body or keyID is in what is logged, printed, told to strangers', async () => {
  await scene.start({ db: path.join(folder, 'sessions') });
  const { closeReasons } = await everythingHappens();
  await scene.server.sessions.revoke(1);
  await scene.close();
  expect(scene.logged.length).toBeGreaterThan(10);
  expect(new Set(scene.logged.map(({ level }) => level))).toEqual(new Set(['debug', 'error']));
  for (const record of scene.logged) expectNone(`the record '${record.message}'`, everythingIn(record));
  expectNone('a close reason', closeReasons.join('\n'));
  expectNone('what was printed', printed.join('\n'));
});

test('a damaged row is named without what it holds, and without its keyID', async () => {
  const db = path.join(folder, 'sessions');
  await scene.start({ db });
  const identity = scene.identity();
  hideKey('key', identity.key);
  await (await scene.enter(identity)).close();
  await scene.close();
  const keyID = toBase64url((nodeCrypto.sha256(identity.key.publicKey) as Uint8Array).slice(0, 16));
  for (const row of [`key/${keyID}`, 'head/0000000000000001', 'session/0000000000000001']) {
    const rows = new ClassicLevel(db);
    await rows.open();
    const before = await rows.get(row);
    await rows.put(row, `${CANARY} ${String(before)}`);
    await rows.close();
    const error: unknown = await scene.start({ db }).catch((error: unknown) => error);
    expect(error).toMatchObject({ code: 'WEBGRAM_STORE_CORRUPT' });
    expectNone('the error', everythingIn(error));
    await rows.open();
    await rows.put(row, String(before));
    await rows.close();
  }
  const rows = new ClassicLevel(db);
  await rows.open();
  await rows.put(`key/${keyID}`, CANARY);
  await rows.close();
  await scene.start({ db, repair: true, acceptLoss: true });
  expect(scene.messages('warn').length).toBeGreaterThan(0);
  for (const record of scene.logged) expectNone(`the record '${record.message}'`, everythingIn(record));
  expectNone('what was printed', printed.join('\n'));
});

test('no private key is in the files of the store, and the server key is in its own file only', async () => {
  const db = path.join(folder, 'sessions');
  await scene.start({ db });
  const { identity } = await everythingHappens();
  await scene.close();
  const pem = await readFile(`${db}.key`, 'utf8');
  const server = NodeSigningKey.fromPem(pem);
  secrets.clear();
  hide('the private key of the client', Buffer.from(identity.key.toJwk().d!, 'base64url'));
  hide('the private key of the server', Buffer.from(server.toJwk().d!, 'base64url'));
  hide('the public key of the server', server.publicKey);
  secrets.set('the file of the server key', pem.split('\n')[1]!);
  secrets.set('bytes of the server key', Buffer.from(server.toJwk().d!, 'base64url').toString('latin1'));
  let files = 0;
  for (const name of await readdir(db)) {
    files += 1;
    expectNone(name, await readFile(path.join(db, name), 'latin1'));
  }
  // Tables may be compressed.
  const rows = new ClassicLevel(db);
  await rows.open();
  const all = await rows.iterator().all();
  await rows.close();
  expectNone('a row', JSON.stringify(all));
  expect([files > 2, all.length > 5, JSON.stringify(all).includes(CANARY)]).toEqual([true, true, true]);
});

/**
 * The parts that pages and servers are made of, in one process, over real sockets in every frame mode; then the same with
 * somebody in between who ends TLS and changes what the *client* gets. What he does to the server is in
 * server/modes.test.ts.
 */
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { cborCodec, codecs, jsonCodec, subprotocolsOf, type PayloadCodec } from 'webgram';
import { Server } from 'webgram-sessions/server';
import type { Conn } from 'webgram-sessions/server';
import { MemoryStore } from '../../server/store/memory-store.ts';
import type { Client } from '../../client/client.ts';
import { Relay, type Message } from '../faults/relay.ts';
import { NodeHost, type NodeHostOptions } from '../kit/node-host.ts';

let server: Server;
let relay: Relay;
let conns: Conn[];
let noted: unknown[];
const hosts: NodeHost[] = [];

async function start(sealed: boolean): Promise<void> {
  conns = [];
  noted = [];
  const log = { debug() {}, info() {}, warn() {}, error() {} };
  server = new Server({ port: 0, store: new MemoryStore(), manualStart: true, sealed, log });
  server.on('$session-active', (conn) => void conns.push(conn));
  server.on('note', (conn, value) => {
    noted.push(value);
    conn.send('noted', value);
  });
  server.answer['echo'] = (_conn, ...values) => values;
  server.answer['incr'] = (_conn, x) => (x as number) + 1;
  await server.start();
  relay = await Relay.start(server.address);
}

afterEach(async () => {
  for (const host of hosts.splice(0)) host.close();
  await relay.close();
  await server.close();
});

function open(options: NodeHostOptions, address = relay.address): Client {
  const host = new NodeHost(options);
  hosts.push(host);
  return host.client(address);
}

/** Resolves when the client's state has that name, with the state. */
function stateOf(client: Client, name: string): Promise<Client['state']> {
  return new Promise((resolve) => {
    if (client.state.name === name) resolve(client.state);
    const stop = client.on('$state', (state) => {
      if (state.name !== name) return;
      stop();
      resolve(state);
    });
  });
}

function everything(): unknown[] {
  return [
    new Uint8Array([0, 255, 128]),
    new Date(1_700_000_000_123),
    new Date(NaN),
    -(2n ** 100n),
    new Map<unknown, unknown>([[new Date(1), new Set([1n, new Uint8Array([1])])]]),
    new Set([undefined, NaN]),
    [-0, Infinity, 1.5],
    { $date: 'no date' },
    'Grüße 🕸',
  ];
}

const MODES = [false, true].flatMap((sealed) =>
  codecs.map((codec): [string, boolean, PayloadCodec] => [
    subprotocolsOf([codec], sealed)[0]!,
    sealed,
    codec,
  ]),
);

describe.each(MODES)('%s', (protocol, sealed, codec) => {
  const options = { codecs: [codec], sealed };

  beforeEach(() => start(sealed));

  test('carries values from page to handler and back, and to the page', async () => {
    const client = open(options);
    const news = new Promise<unknown[]>((resolve) => {
      client.on('news', (...values) => {
        resolve(values);
      });
    });
    client.answer['mirror'] = (...values: unknown[]) => values;
    expect(await client.ask('echo', ...everything())).toEqual(everything());
    expect(relay.links.map(({ client: { protocol: chosen } }) => chosen)).toEqual([protocol]);
    conns[0]!.send('news', ...everything());
    expect(await news).toEqual(everything());
    expect(await conns[0]!.ask('mirror', ...everything())).toEqual(everything());
  });

  test('resumes the session, and nothing is lost or doubled, wherever it is cut', async () => {
    const client = open(options);
    const echoed: unknown[] = [];
    client.on('noted', (n) => void echoed.push(n));
    const { sessionID } = await client.waitForSession();
    const count = 12;
    for (let n = 0; n < count; n += 1) {
      // Behind hello and answer: one of the first frames of the next link, which gets through or does not.
      let isDone = false;
      let cutNow = (): void => undefined;
      const cut = new Promise<void>((resolve) => {
        cutNow = resolve;
      });
      relay.down = (message, at, link) => {
        if (isDone || at - 2 !== n % 4) return [message];
        isDone = true;
        cutNow();
        if (n % 2 === 0) link.cut();
        else setImmediate(link.cut);
        return n % 2 === 0 ? [] : [message];
      };
      relay.links.at(-1)!.cut();
      client.send('note', n);
      // Something must come down until then.
      while (!isDone) await Promise.race([client.ask('incr', n), cut]);
    }
    relay.down = (message) => [message];
    expect(await client.ask('incr', 1)).toBe(2);
    const all = Array.from({ length: count }, (_, n) => n);
    expect(noted).toEqual(all);
    expect(echoed).toEqual(all);
    expect((await client.waitForSession()).sessionID).toBe(sessionID);
    expect(relay.links.length).toBeGreaterThan(4);
  }, 30_000);

  /** Which frame of the server is changed, and what comes in its place; `held` lasts through a link. */
  const harms: Record<string, (frame: Message, k: number, held: Message[]) => readonly Message[]> = {
    'with a flipped bit': (frame, k) => (k === 1 ? [flip(frame)] : [frame]),
    twice: (frame, k) => (k === 1 ? [frame, frame] : [frame]),
    'left out': (frame, k) => (k === 1 ? [] : [frame]),
    'in another order': (frame, k, held) => {
      if (k === 1) held.push(frame);
      return k === 1 ? [] : k === 2 ? [frame, ...held] : [frame];
    },
    'that was its own': (frame, k, held) => (k === 1 ? held.slice(0, 1) : [frame]),
    'of another link': (frame, k, held) => (k === 1 ? held.slice(1, 2) : [frame]),
  };

  test.each(Object.keys(harms))(
    'a frame %s ends the link and nothing of it reaches the page',
    async (name) => {
      const harm = harms[name]!;
      const client = open(options);
      const echoed: unknown[] = [];
      client.on('noted', (n) => void echoed.push(n));
      const held: Message[] = [];
      const isForeign = name.startsWith('that') || name.startsWith('of');
      let own: Message | undefined;
      relay.up = (message, n) => {
        if (n > 0) own = message;
        return [message];
      };
      const { sessionID } = await client.waitForSession();
      await client.ask('incr', 1);
      if (isForeign) {
        held[0] = own!;
        // A frame that was good on the link before.
        relay.down = (message, n) => {
          if (n > 2) held[1] ??= message;
          return [message];
        };
        await client.ask('incr', 1);
      }
      relay.links.at(-1)!.cut();
      await stateOf(client, 'waiting');
      const harmed = relay.links.length;
      let isHarmed = false;
      let frames = 0;
      await stateOf(client, 'active');
      // The server may say more than the attach asks for; what it says now is about the notes.
      await client.ask('incr', 1);
      relay.down = (message, _at, link) => {
        if (link !== relay.links[harmed]) return [message];
        const sent = harm(message, frames, held);
        frames += 1;
        isHarmed ||= sent.length !== 1 || sent[0] !== message;
        return sent;
      };
      const left = stateOf(client, 'waiting');
      // One frame for each, until one has done harm and another has shown it.
      for (let n = 0; n < 4; n += 1) {
        const before = frames;
        client.send('note', n);
        while (frames === before && client.state.name === 'active') await turn();
      }
      expect(await left).toMatchObject({ name: 'waiting', reason: 'a frame does not verify' });
      expect(isHarmed).toBe(true);
      // The identity is as it was, and what was on its way comes, once.
      expect(await client.ask('incr', 2)).toBe(3);
      expect(echoed).toEqual([0, 1, 2, 3]);
      expect((await client.waitForSession()).sessionID).toBe(sessionID);
    },
  );

  test('what somebody in between changes of the offer, the choice, Origin or Host does not verify', async () => {
    const other = subprotocolsOf(codecs, sealed).find((name) => name !== protocol)!;
    const tries: [keyof Relay, unknown][] = [
      ['offer', (protocols: string[]) => [...protocols, other]],
      ['headers', { Origin: 'http://localhost:1' }],
      ['headers', { Host: 'localhost:1' }],
    ];
    relay.chosen = () => protocol;
    for (const [what, value] of tries) {
      const before = relay[what];
      Object.assign(relay, { [what]: value });
      const client = open(options);
      const state = await stateOf(client, 'waiting');
      expect([what, state]).toMatchObject([what, { reason: 'the answer does not verify' }]);
      expect(client.identity).toBeUndefined();
      Object.assign(relay, { [what]: before });
    }
    expect(conns).toEqual([]);
  });
});

describe('an offer of CBOR and JSON', () => {
  const both = { codecs: [cborCodec, jsonCodec] };

  test.each([false, true])(
    'from which CBOR was taken on the way does not verify (sealed: %s)',
    async (sealed) => {
      await start(sealed);
      relay.offer = (protocols) => protocols.filter((name) => name.includes('json'));
      const client = open({ ...both, sealed });
      expect(await stateOf(client, 'waiting')).toMatchObject({ reason: 'the answer does not verify' });
      expect(client.identity).toBeUndefined();
      // Left alone, it works.
      relay.offer = (protocols) => protocols;
      expect(await client.ask('incr', 1)).toBe(2);
      expect(relay.links.at(-1)!.client.protocol).toBe(subprotocolsOf([cborCodec], sealed)[0]);
    },
  );

  test('that meets a server which is not configured alike opens no connection', async () => {
    await start(true);
    const tagged = open(both, server.address);
    expect(await stateOf(tagged, 'waiting')).toMatchObject({ name: 'waiting' });
    await server.close();
    await relay.close();
    await start(false);
    const sealed = open({ ...both, sealed: true }, server.address);
    expect(await stateOf(sealed, 'waiting')).toMatchObject({ name: 'waiting' });
    expect(tagged.identity ?? sealed.identity).toBeUndefined();
  });

  test('answered with sealed names turned into plain ones fails at the client', async () => {
    await start(false);
    // The server is told that tagged frames will do; the client is told that it got what it wanted.
    relay.offer = (protocols) => protocols.map((name) => name.replace('.sealed', ''));
    relay.chosen = (name) => `${name}.sealed`;
    const client = open({ ...both, sealed: true });
    expect(await stateOf(client, 'waiting')).toMatchObject({ name: 'waiting' });
    expect(client.identity).toBeUndefined();
  });
});

test('a session goes from codec to codec, and its messages with it', async () => {
  await start(false);
  const { MemoryKeyStore } = await import('../../worker/host/key-store.ts');
  const keyStore = new MemoryKeyStore('persistent');
  const first = open({ codecs: [cborCodec], keyStore });
  const { sessionID } = await first.waitForSession();
  expect(await first.ask('echo', ...everything())).toEqual(everything());
  hosts.splice(0).forEach((host) => {
    host.close();
  });
  const second = open({ keyStore });
  expect((await second.waitForSession()).sessionID).toBe(sessionID);
  expect(await second.ask('echo', ...everything())).toEqual(everything());
  expect(relay.links.map(({ client }) => client.protocol)).toEqual(['webgram.2.cbor', 'webgram.2.json']);
});

/** The last bit but one of a frame; a text stays ASCII. */
function flip(frame: Message): Message {
  if (typeof frame === 'string') {
    return frame.slice(0, -1) + String.fromCharCode(frame.charCodeAt(frame.length - 1) ^ 2);
  }
  const changed = frame.slice();
  changed[changed.length - 1]! ^= 2;
  return changed;
}

function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

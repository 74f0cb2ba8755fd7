/** Every way in which frames travel, on real sockets: with values of every kind, and with somebody in between. */
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { codecs, DEFAULT_LIMITS, isSealed, subprotocolsOf, type Frame } from 'webgram';
import type { Conn } from './conn.ts';
import { Scene } from './testing/scene.ts';
import { TestTab, UpgradeRefused, type TestIdentity, type TestLink } from './testing/test-client.ts';
import { turn } from './testing/until.ts';

const TAGGED = subprotocolsOf(codecs, false);
const SEALED = subprotocolsOf(codecs, true);

let scene: Scene;
/** What the handler of `note` was given. */
let noted: unknown[];
let conns: Conn[];

beforeEach(() => {
  scene = new Scene();
  noted = [];
  conns = [];
});

afterEach(async () => {
  await scene.close();
});

async function start(sealed = false): Promise<void> {
  const server = await scene.start({ sealed });
  server.on('$session-active', (conn) => void conns.push(conn));
  server.on('note', (_conn, value) => void noted.push(value));
  server.answer['echo'] = (_conn, ...values) => values;
  server.answer['keep'] = async (conn, value) => {
    conn.sessionData['value'] = value;
    await conn.save();
  };
  server.answer['kept'] = (conn) => conn.sessionData['value'];
}

/** Everything that a message can carry. Objects have their names in the order of CBOR. */
function everything(): unknown[] {
  return [
    new Uint8Array([0, 1, 127, 128, 255]),
    new Uint8Array(),
    new Date(1_700_000_000_123),
    new Date(-1),
    new Date(NaN),
    123n,
    -(2n ** 200n),
    0n,
    new Map<unknown, unknown>([
      ['b', new Set([1, 'two', new Uint8Array([3])])],
      [new Date(5), { deep: [new Map([[1n, NaN]])] }],
    ]),
    new Set(['z', 'a']),
    [undefined, null, -0, NaN, Infinity, -Infinity, 1.5, 2 ** 53 - 1, 1e300],
    { a: [], z: { $date: 'no date', x: 1 }, $: {} },
    { $bytes: 'no bytes' },
    JSON.parse('{"__proto__":{"polluted":true}}'),
    'Grüße, 🕸 \u2028 </script>',
  ];
}

describe('the subprotocol', () => {
  async function offer(...protocols: string[]): Promise<string> {
    try {
      return (await scene.connect({ protocols })).socket.protocol;
    } catch (error) {
      if (error instanceof UpgradeRefused) return `${error.status} ${error.text}`;
      throw error;
    }
  }

  test('is the densest that was offered', async () => {
    await start();
    expect(await offer('webgram.2.cbor')).toBe('webgram.2.cbor');
    expect(await offer('webgram.2.json', 'webgram.2.cbor')).toBe('webgram.2.cbor');
    expect(await offer('webgram.3.cbor', 'webgram.2.json', 'webgram.2.json.sealed')).toBe('webgram.2.json');
  });

  test('is never one that this server is not configured for', async () => {
    await start();
    expect(await offer(...SEALED)).toMatch(/^426 .*webgram\.2\.cbor, webgram\.2\.json$/);
    await scene.close();
    await start(true);
    expect(await offer(...TAGGED)).toMatch(/^426 .*webgram\.2\.cbor\.sealed, webgram\.2\.json\.sealed$/);
    expect(await offer(...TAGGED, 'webgram.2.json.sealed')).toBe('webgram.2.json.sealed');
  });
});

describe.each([...TAGGED, ...SEALED])('%s', (protocol) => {
  const sealed = isSealed(protocol);

  beforeEach(async () => {
    scene.protocols = [protocol];
    await start(sealed);
  });

  test('values come to a handler and back as they were', async () => {
    const tab = await scene.tab();
    expect(tab.link.socket.protocol).toBe(protocol);
    expect(await tab.ask('echo', ...everything())).toEqual(everything());
    expect(({} as { polluted?: unknown }).polluted).toBeUndefined();
    await tab.ask('keep', everything());
    expect(await tab.ask('kept')).toEqual(everything());
  });

  test('values come to the tab as they were', async () => {
    const tab = await scene.tab();
    await tab.ask('echo');
    conns[0]!.send('news', ...everything());
    conns[0]!.volatile.send('flash', ...everything());
    const asked = conns[0]!.ask('what', ...everything());
    // What is volatile overtakes nothing here, but has no place in the stream.
    const all = [await tab.link.next('send'), await tab.link.next('volatile'), await tab.link.next('ask')];
    for (const { args } of all) expect(args).toEqual(everything());
    tab.seq += 1;
    const { seq } = all[2] as { seq: { life: number; n: number } };
    const [tabNumber, ack] = [tab.tab, seq];
    const answer = { kind: 'answer', tab: tabNumber, seq: tab.seq, ack, asked: seq, error: null } as const;
    tab.link.send({ ...answer, value: everything() });
    expect(await asked).toEqual(everything());
  });

  test('what cannot be sent is named', async () => {
    const tab = await scene.tab();
    await tab.ask('echo');
    const send = (value: unknown) => () => {
      conns[0]!.send('news', 1, { x: [value] });
    };
    for (const value of [() => 1, Symbol('x'), new (class Own {})(), new WeakMap()]) {
      expect(send(value)).toThrow(/^args\[1\]\.x\[0\] cannot be sent: /);
    }
    expect(await tab.ask('echo', 1)).toEqual([1]);
  });

  test('the messages of one tick share frames of 32', async () => {
    const tab = await scene.tab();
    let frames = 0;
    tab.link.onWire = (frame) => {
      frames += 1;
      return [frame];
    };
    const seqs = Array.from({ length: 100 }, (_, n) => {
      tab.link.send(tab.askEnvelope('echo', n));
      return tab.seq;
    });
    for (const seq of seqs) await tab.answerTo(seq);
    expect(frames).toBe(4);
  });

  test('a resumed session renews its key on it', async () => {
    scene.server.answer['login'] = (conn) => conn.login('alice').then(() => undefined);
    const identity = scene.identity();
    const tab = await scene.tab(identity);
    tab.link.send(tab.askEnvelope('login'));
    await tab.link.renew(identity);
    await tab.link.waitForClose();
    const again = await scene.tab(identity);
    expect(await again.ask('echo', 7)).toEqual([7]);
    expect(conns[0]!.session.account).toBe('alice');
  });

  test(
    sealed
      ? 'early frames are refused, and nothing of them is handled'
      : 'early frames are handled behind the proof',
    async () => {
      const identity = scene.identity();
      await (await scene.enter(identity)).close();
      const link = await scene.connect();
      expect(link.hello.maxEarlyBytes).toBe(sealed ? 0 : DEFAULT_LIMITS.maxEarlyBytes);
      const tab = new TestTab(link);
      const attach = tab.attachEnvelope();
      const entering = link.enter(identity, [attach, tab.askEnvelope('echo', 'early'), noteOf(tab, 'early')]);
      if (!sealed) {
        await entering;
        expect(await tab.answerTo(1)).toEqual(['early']);
        return;
      }
      await expect(entering).rejects.toThrow('closed with 4413');
      expect(noted).toEqual([]);
      // The identity is as good as before.
      expect(await (await scene.tab(identity)).ask('echo', 1)).toEqual([1]);
      expect(noted).toEqual([]);
    },
  );

  describe('with somebody in between', () => {
    const FRAMES = 12;
    let identity: TestIdentity;

    beforeEach(() => {
      identity = scene.identity();
    });

    /**
     * Sends notes 0, 1, 2 …, each in a frame of its own, through a hand that changes what goes over the wire.
     *
     * @param change Gets the frame of note k and gives what is sent in its place.
     * @returns How the server closed the socket.
     */
    async function attempt(change: (frame: Frame, k: number, link: TestLink) => readonly Frame[]) {
      noted = [];
      const tab = await scene.tab(identity);
      let k = 0;
      tab.link.onWire = (frame) => change(frame, k++, tab.link);
      for (let n = 0; n < FRAMES; n += 1) tab.link.sendTogether([noteOf(tab, n)]);
      return tab.link.waitForClose();
    }

    const upTo = (k: number): number[] => Array.from({ length: k }, (_, n) => n);

    test('a frame with a flipped bit ends the link before it is handled', async () => {
      for (let round = 0; round < 24; round += 1) {
        const k = round % FRAMES;
        let first = '';
        const { code } = await attempt((frame, at) => {
          if (at !== k) return [frame];
          const changed = flip(frame, round * 37);
          first = typeof changed === 'string' ? changed[0]! : '';
          return [changed];
        });
        // A text that begins with a bracket is taken for another handshake frame.
        expect([round, code]).toEqual([round, first === '[' ? 4400 : 4402]);
        expect(noted).toEqual(upTo(k));
      }
    });

    test('a frame that comes twice, is left out, or changes places ends the link', async () => {
      for (const k of [0, 1, FRAMES - 2]) {
        expect((await attempt((frame, at) => (at === k ? [frame, frame] : [frame]))).code).toBe(4402);
        expect(noted).toEqual(upTo(k + 1));
        expect((await attempt((frame, at) => (at === k ? [] : [frame]))).code).toBe(4402);
        expect(noted).toEqual(upTo(k));
        let held: Frame | undefined;
        const swap = (frame: Frame, at: number): Frame[] => {
          if (at === k) held = frame;
          return at === k ? [] : at === k + 1 ? [frame, held!] : [frame];
        };
        expect((await attempt(swap)).code).toBe(4402);
        expect(noted).toEqual(upTo(k));
      }
    });

    test("the server's own frames, and those of another link of the session, end the link", async () => {
      const reflected: Frame[] = [];
      const older: Frame[] = [];
      const tab = await scene.tab(identity);
      tab.link.socket.on('message', (data: Buffer, isBinary: boolean) => {
        reflected.push(isBinary ? new Uint8Array(data) : data.toString());
      });
      tab.link.onWire = (frame) => {
        older.push(frame);
        return [frame];
      };
      await tab.ask('echo', 1);
      await tab.ask('echo', 2);
      for (const frames of [reflected, older]) {
        expect(frames.length).toBeGreaterThan(1);
        for (const foreign of frames) {
          expect((await attempt((frame, at) => (at === 0 ? [foreign] : [frame]))).code).toBe(4402);
          expect(noted).toEqual([]);
        }
      }
    });

    test('a frame of the other kind of message ends the link', async () => {
      const other = typeof (await someFrame()) === 'string' ? new Uint8Array(64) : 'A'.repeat(64);
      expect((await attempt((frame, at) => (at === 3 ? [other] : [frame]))).code).toBe(4400);
      expect(noted).toEqual(upTo(3));
    });

    async function someFrame(): Promise<Frame> {
      const tab = await scene.tab(identity);
      const frames: Frame[] = [];
      tab.link.onWire = (frame) => (frames.push(frame), [frame]);
      await tab.ask('echo');
      return frames[0]!;
    }

    test('a link that is cut at any frame has not ended well, and nothing is handled twice', async () => {
      const tab = await scene.tab(identity);
      const { tabID } = tab;
      await tab.ask('echo');
      let [counter, seq] = [1, tab.seq];
      let from = tab.link;
      for (let k = 1; k <= 8; k += 1) {
        const before = conns[0]!;
        from.socket.terminate();
        while (before.isOnline) await turn();
        // The tab has not said goodbye: its conn waits for it.
        expect(conns).toHaveLength(1);
        from = await scene.enter(identity);
        const again = new TestTab(from, 1, tabID, (counter += 1));
        again.seq = seq;
        let sent = 0;
        from.onWire = (frame) => (sent++ < k + 1 ? [frame] : []);
        await again.attach();
        for (let n = 0; n < 4; n += 1) from.sendTogether([noteOf(again, `${k}.${n}`)]);
        // Those that were let through are all handled, the ones behind them are not.
        const through = Math.min(k, 4);
        if (k >= 5) await again.ask('echo');
        else while (noted.filter((note) => String(note).startsWith(`${k}.`)).length < through) await turn();
        expect(noted.filter((note) => String(note).startsWith(`${k}.`))).toHaveLength(through);
        seq += through + (k >= 5 ? 1 : 0);
      }
      expect(new Set(noted).size).toBe(noted.length);
    });
  });
});

describe('what was sent while another codec was spoken', () => {
  test.each([
    ['webgram.2.cbor', 'webgram.2.json'],
    ['webgram.2.json', 'webgram.2.cbor'],
  ])('by %s comes over %s as it was, also from the store', async (before, after) => {
    await start();
    const identity = scene.identity();
    const tab = new TestTab(await scene.enter(identity, { protocols: [before] }));
    await tab.attach();
    await tab.ask('echo');
    // Inside a transaction, so that it is stored as well.
    await conns[0]!.update(() => {
      conns[0]!.send('news', ...everything());
    });
    const { seq: first } = await tab.link.next('send');
    const back = await comeBack(tab, identity, after);
    expect(await back.link.next('send')).toMatchObject({ seq: first, type: 'news', args: everything() });
    await scene.close();
    await start();
    const later = await comeBack(tab, identity, after, 3);
    expect(await later.link.next('send')).toMatchObject({ seq: first, type: 'news', args: everything() });
  });

  test('and does not fit into a frame of the new one cuts the stream off, and the tab is told', async () => {
    await start();
    const identity = scene.identity();
    const tab = new TestTab(await scene.enter(identity, { protocols: ['webgram.2.cbor'] }));
    await tab.attach();
    await tab.ask('echo');
    tab.link.socket.pause();
    conns[0]!.send('big', new Uint8Array(1_000_000));
    const back = new TestTab(await scene.enter(identity), 1, tab.tabID, 2);
    back.seq = tab.seq;
    back.received = tab.received;
    await back.attach();
    expect(await back.link.next('detach')).toMatchObject({ why: 'overflow' });
    // The link and the session live on.
    const other = new TestTab(back.link, 2);
    await other.attach();
    expect(await other.ask('echo', 1)).toEqual([1]);
  });

  async function comeBack(
    tab: TestTab,
    identity: TestIdentity,
    protocol: string,
    counter = 2,
  ): Promise<TestTab> {
    const link = await scene.enter(identity, { protocols: [protocol] });
    const back = new TestTab(link, 1, tab.tabID, counter);
    back.seq = tab.seq;
    back.received = tab.received;
    await back.attach();
    return back;
  }
});

function noteOf(tab: TestTab, value: unknown) {
  tab.seq += 1;
  const { tab: number, seq, received } = tab;
  return { kind: 'send' as const, tab: number, seq, ack: received, type: 'note', args: [value] };
}

/** One bit of a frame changed; a text stays ASCII, because others are refused below us. */
function flip(frame: Frame, bit: number): Frame {
  if (typeof frame === 'string') {
    const at = Math.floor(bit / 7) % frame.length;
    const changed = String.fromCharCode(frame.charCodeAt(at) ^ (1 << (bit % 7)));
    return frame.slice(0, at) + changed + frame.slice(at + 1);
  }
  const changed = frame.slice();
  changed[Math.floor(bit / 8) % frame.length]! ^= 1 << (bit % 8);
  return changed;
}

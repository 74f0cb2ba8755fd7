import {
  AskError,
  bodyFor,
  CLOSE,
  DEFAULT_LIMITS,
  jsonCodec,
  parseUp,
  START,
  type DownEnvelope,
  type EncodedBody,
  type BodyCodec,
  type Position,
} from 'webgram';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { Conn } from './conn.ts';
import type { DataVersion } from './data-version.ts';
import { concurrent, Handlers } from './handlers.ts';
import { DEFAULT_RETENTION } from './session-context.ts';
import type { SessionLink } from './session-link.ts';
import type { Sessions } from './sessions.ts';
import { MemoryStore } from './store/memory-store.ts';
import { sessionsOn } from './testing/sessions-on.ts';

const SILENT = { debug: vi.fn(), info: vi.fn(), warn: vi.fn(), error: vi.fn() };

/** A link whose other end is the test. */
class TestLink implements SessionLink {
  readonly address = ['127.0.0.1', 1] as const;
  readonly codec: BodyCodec = jsonCodec;
  readonly generation: number;
  readonly isFirst: boolean;
  readonly supersededBy = undefined;
  readonly hasAnswered = false;
  ended: unknown[] | null = null;
  paused = false;
  readonly #sent: unknown[] = [];
  readonly #wakers: (() => void)[] = [];

  constructor(generation: number, isFirst = false) {
    this.generation = generation;
    this.isFirst = isFirst;
  }
  probe(): void {
    // Nobody is asked whether he is there.
  }
  send(envelope: DownEnvelope): void {
    // Every link begins with it, and none of this is about it.
    if (envelope.kind === 'identity' && envelope.what === 'profile') return;
    this.#add(envelope);
  }
  sendMessage(
    kind: 'send' | 'ask' | 'answer',
    tab: number,
    seq: Position,
    ack: number,
    asked: number | undefined,
    body: EncodedBody,
  ): boolean {
    const decoded = this.codec.decodeBody(bodyFor(this.codec, body));
    this.#add({ kind, tab, seq, ack, ...(asked === undefined ? {} : { asked }), body: decoded });
    return true;
  }
  end(...why: unknown[]): void {
    this.ended ??= why;
  }
  pause(): void {
    this.paused = true;
  }
  resume(): void {
    this.paused = false;
  }
  readonly isRenewing = false;
  renew(): Promise<void> {
    return Promise.reject(new Error('not in these tests'));
  }
  #add(envelope: unknown): void {
    this.#sent.push(envelope);
    for (const wake of this.#wakers.splice(0)) wake();
  }
  /** What was sent since the last look. */
  look(): unknown[] {
    return this.#sent.splice(0);
  }
  /** Waits until something was sent that matches, and returns all up to it. */
  async until(matches: (envelope: Record<string, unknown>) => boolean): Promise<unknown[]> {
    for (;;) {
      const at = this.#sent.findIndex((one) => matches(one as Record<string, unknown>));
      if (at >= 0) return this.#sent.splice(0, at + 1);
      await new Promise<void>((resolve) => this.#wakers.push(resolve));
    }
  }
}

const TAB = ['AAAAAAAAAAAAAAAAAAAAAA', 'BBBBBBBBBBBBBBBBBBBBBA'] as const;

function attach(tab: number, tabID: string, counter = 1, more: object = {}) {
  return {
    kind: 'attach' as const,
    tab,
    tabID,
    counter,
    received: START,
    oldest: 1,
    seen: { timeMs: 0, life: 0, commit: 0 },
    info: {},
    ...more,
  };
}

const send = (tab: number, seq: number, type: string, ...args: unknown[]) =>
  parseUp([2, tab, seq, [0, 0], type, ...args]);
const ask = (tab: number, seq: number, type: string, ...args: unknown[]) =>
  parseUp([3, tab, seq, [0, 0], type, ...args]);

/** Stops the store before its next commit, until released. */
class GatedStore extends MemoryStore {
  gate: Promise<void> = Promise.resolve();
  refuse = false;
  commits = 0;
  override async commit(commit: Parameters<MemoryStore['commit']>[0]): Promise<void> {
    await this.gate;
    this.commits += 1;
    if (this.refuse) throw new Error('refused by the test');
    return super.commit(commit);
  }
  hold(): () => void {
    let release = (): void => undefined;
    this.gate = new Promise((resolve) => {
      release = resolve;
    });
    return release;
  }
}

describe('LiveSession', () => {
  let store: GatedStore;
  let handlers: Handlers;
  let sessions: Sessions;
  let nowMs: number;
  let version: DataVersion;

  async function setUp(): Promise<void> {
    store = new GatedStore();
    await store.open();
    await store.create({ keyID: 'k', publicKey: new Uint8Array(65), nowMs, fromClient: undefined });
    restart();
  }
  /** A new server process on the same store. */
  function restart(): void {
    handlers = new Handlers(SILENT);
    sessions = sessionsOn(store, { clock: () => nowMs, handlers, log: SILENT, ...version });
  }
  async function link(generation: number, isFirst = false) {
    const session = await sessions.open(1);
    const one = new TestLink(generation, isFirst);
    session.attachLink(one);
    return { session, link: one };
  }

  beforeEach(async () => {
    nowMs = 1_700_000_000_000;
    version = { dataVersion: 1, upgradeData: undefined };
    await setUp();
  });
  afterEach(async () => {
    await sessions.close(1_000);
    await store.close();
  });

  it('answers an attach, then an ask, and acknowledges with the answer', async () => {
    handlers.answer['incr'] = (_conn: Conn, x: number) => x + 1;
    const { session, link: one } = await link(1, true);
    session.receive(one, attach(1, TAB[0]));
    session.receive(one, ask(1, 1, 'incr', 41));
    expect(one.look()).toMatchObject([
      { kind: 'attached', tab: 1, counter: 1, received: 0, outcome: { resumed: false, reason: 'new' } },
      { kind: 'answer', tab: 1, seq: { n: 1 }, ack: 1, asked: 1, body: [null, 42] },
    ]);
  });

  it('shares one sessionData object and lets nothing out before the commit', async () => {
    const release = store.hold();
    handlers.on('add-one', async (conn: Conn, x: number) => {
      conn.sessionData['lastValue'] = x + 1;
      await conn.save();
      conn.session.send('added-one', x + 1);
    });
    const { session, link: one } = await link(1, true);
    session.receive(one, attach(1, TAB[0]));
    session.receive(one, attach(2, TAB[1]));
    one.look();
    session.receive(one, ask(1, 1, 'add-one', 1));
    await vi.waitFor(() => expect(session.sessionData['lastValue']).toBe(2));
    expect(one.look()).toEqual([]);
    release();
    const sent = await one.until(({ kind, tab }) => kind === 'send' && tab === 2);
    expect(sent).toMatchObject([
      { kind: 'ack', tab: 1, ack: 0, com: [session.life, 1] },
      { kind: 'send', tab: 1, ack: 0, body: ['added-one', 2] },
      { kind: 'answer', tab: 1, ack: 1, asked: 1, body: [null, undefined] },
      { kind: 'ack', tab: 2, com: [session.life, 1] },
      { kind: 'send', tab: 2, body: ['added-one', 2] },
    ]);
    const [first, second] = [...session.conns];
    expect(first!.sessionData).toBe(second!.sessionData);
  });

  it('handles one message of a session at a time, in order, across its tabs', async () => {
    const log: string[] = [];
    const open: (() => void)[] = [];
    handlers.on('slow', async (_conn: Conn, name: string) => {
      log.push(`begin ${name}`);
      await new Promise<void>((resolve) => open.push(resolve));
      log.push(`end ${name}`);
    });
    const { session, link: one } = await link(1, true);
    session.receive(one, attach(1, TAB[0]));
    session.receive(one, attach(2, TAB[1]));
    session.receive(one, send(1, 1, 'slow', 'a'));
    session.receive(one, send(2, 1, 'slow', 'b'));
    session.receive(one, send(1, 2, 'slow', 'c'));
    for (const _ of 'abc') {
      await vi.waitFor(() => expect(open).toHaveLength(1));
      open.pop()!();
    }
    await vi.waitFor(() => expect(log).toHaveLength(6));
    expect(log).toEqual(['begin a', 'end a', 'begin b', 'end b', 'begin c', 'end c']);
  });

  it('leaves nothing behind of a handler that throws', async () => {
    handlers.on('set', async (conn: Conn, x: number, fails: boolean) => {
      conn.sessionData['x'] = x;
      conn.sessionData['list'] = [x];
      conn.send('note', x);
      await conn.save();
      if (fails) throw new AskError('no', 'not this one', { x });
    });
    handlers.answer['get'] = (conn: Conn) => ({ ...conn.sessionData });
    const { session, link: one } = await link(1, true);
    session.receive(one, attach(1, TAB[0]));
    session.receive(one, ask(1, 1, 'set', 1, false));
    session.receive(one, ask(1, 2, 'set', 2, true));
    session.receive(one, ask(1, 3, 'get'));
    const sent = await one.until(({ asked }) => asked === 3);
    const messages = sent.filter((envelope) => ['send', 'answer'].includes((envelope as DownEnvelope).kind));
    expect(messages).toMatchObject([
      { kind: 'send', body: ['note', 1] },
      { asked: 1, body: [null, undefined] },
      { asked: 2, body: [{ code: 'no', message: 'not this one', data: { x: 2 } }, null] },
      { asked: 3, body: [null, { x: 1, list: [1] }] },
    ]);
  });

  it('tells a stranger nothing of an error but that there was one', async () => {
    handlers.answer['boom'] = () => {
      throw new Error('the password is 1234');
    };
    const { session, link: one } = await link(1, true);
    session.receive(one, attach(1, TAB[0]));
    session.receive(one, ask(1, 1, 'boom'));
    session.receive(one, ask(1, 2, '__proto__'));
    session.receive(one, ask(1, 3, 'toString'));
    const sent = JSON.stringify(one.look());
    expect(sent).toContain('WEBGRAM_HANDLER_FAILED');
    expect(sent).not.toContain('1234');
    expect(sent.match(/WEBGRAM_NO_HANDLER/g)).toHaveLength(2);
  });

  it('knows an AskError of another copy of the library', async () => {
    vi.resetModules();
    const other = await import('webgram');
    expect(other.AskError).not.toBe(AskError);
    handlers.answer['buy'] = () => {
      throw new other.AskError('sold-out', 'no seats left', { seats: 0 });
    };
    const { session, link: one } = await link(1, true);
    session.receive(one, attach(1, TAB[0]));
    session.receive(one, ask(1, 1, 'buy'));
    const error = { code: 'sold-out', message: 'no seats left', data: { seats: 0 } };
    expect(one.look().slice(1)).toMatchObject([{ asked: 1, body: [error, null] }]);
  });

  it('answers with a failure what no AskError can carry, and goes on', async () => {
    const thrown = [
      new AskError('', 'no code'),
      new AskError('x'.repeat(257)),
      new AskError('data', 'a function', () => 1),
      new AskError('data', 'too much', 'x'.repeat(DEFAULT_LIMITS.maxFrameBytes)),
    ];
    handlers.answer['fail'] = (_conn: Conn, n: number) => {
      throw thrown[n] as Error;
    };
    const { session, link: one } = await link(1, true);
    session.receive(one, attach(1, TAB[0]));
    for (const n of thrown.keys()) session.receive(one, ask(1, n + 1, 'fail', n));
    const failed = [{ code: 'WEBGRAM_HANDLER_FAILED', message: 'the handler failed' }, null];
    expect(one.look().slice(1)).toMatchObject(thrown.map((_, n) => ({ asked: n + 1, body: failed })));
    expect(session.isLive).toBe(true);
    expect(SILENT.error).toHaveBeenCalledWith(expect.anything(), 'an AskError cannot be sent');
  });

  it('goes on after a crash: data, marks and unacknowledged replies are those of the last commit', async () => {
    const runs: number[] = [];
    const handle = async (conn: Conn, x: number): Promise<number> => {
      runs.push(x);
      conn.sessionData['sum'] = ((conn.sessionData['sum'] as number | undefined) ?? 0) + x;
      await conn.save();
      return conn.sessionData['sum'] as number;
    };
    handlers.answer['add'] = handle;
    const before = await link(1, true);
    before.session.receive(before.link, attach(1, TAB[0]));
    before.session.receive(before.link, ask(1, 1, 'add', 5));
    await before.link.until(({ asked }) => asked === 1);
    restart();
    handlers.answer['add'] = handle;
    const after = await link(2);
    expect(after.session.life).toBeGreaterThan(before.session.life);
    // The tab has seen nothing of the answer, and offers its ask again.
    after.session.receive(
      after.link,
      attach(1, TAB[0], 2, { seen: { timeMs: nowMs, life: before.session.life, commit: 0 } }),
    );
    after.session.receive(after.link, ask(1, 1, 'add', 5));
    after.session.receive(after.link, ask(1, 2, 'add', 2));
    const sent = await after.link.until(({ asked }) => asked === 2);
    expect(runs).toEqual([5, 2]);
    expect(sent[0]).toMatchObject({
      kind: 'attached',
      received: 1,
      outcome: { resumed: true, reason: 'resumed' },
      lineage: [[before.session.life, 1]],
    });
    expect(sent.filter((one) => (one as DownEnvelope).kind === 'answer')).toMatchObject([
      { asked: 1, seq: { life: before.session.life, n: 1 }, body: [null, 5] },
      { asked: 2, seq: { life: after.session.life, n: 1 }, body: [null, 7] },
    ]);
  });

  it('runs again after a crash what had not been committed', async () => {
    const release = store.hold();
    let runs = 0;
    const handle = async (conn: Conn): Promise<void> => {
      runs += 1;
      conn.sessionData['runs'] = ((conn.sessionData['runs'] as number | undefined) ?? 0) + 1;
      await conn.save();
    };
    handlers.on('count', handle);
    const before = await link(1, true);
    before.session.receive(before.link, attach(1, TAB[0]));
    before.session.receive(before.link, ask(1, 1, 'count'));
    await vi.waitFor(() => expect(runs).toBe(1));
    const dead = sessions;
    restart();
    handlers.on('count', handle);
    const after = await link(2);
    release();
    await vi.waitFor(() => expect(before.link.ended).toMatchObject(['commit-refused', 1013]));
    after.session.receive(after.link, attach(1, TAB[0], 2));
    after.session.receive(after.link, ask(1, 1, 'count'));
    await after.link.until(({ asked }) => asked === 1);
    expect(after.session.sessionData['runs']).toBe(1);
    expect(before.link.look().filter((one) => (one as DownEnvelope).kind === 'answer')).toEqual([]);
    await dead.close(1_000);
  });

  it('ends when a commit is refused, and lets nothing of it out', async () => {
    handlers.on('save', (conn: Conn) => {
      conn.sessionData['x'] = 1;
      void conn.save();
      conn.send('note');
    });
    const { session, link: one } = await link(1, true);
    session.receive(one, attach(1, TAB[0]));
    one.look();
    store.refuse = true;
    session.receive(one, send(1, 1, 'save'));
    await vi.waitFor(() => expect(one.ended).toMatchObject(['commit-refused', 1013]));
    expect(one.look()).toEqual([]);
    expect(session.isLive).toBe(false);
  });

  it('is superseded by a newer link, and its streams follow', async () => {
    handlers.answer['incr'] = (_conn: Conn, x: number) => x + 1;
    const { session, link: one } = await link(1, true);
    session.receive(one, attach(1, TAB[0]));
    const { link: two } = await link(2);
    expect(one.ended).toEqual(['superseded', 4409, 2]);
    session.receive(one, ask(1, 1, 'incr', 1));
    session.receive(two, attach(1, TAB[0], 2));
    session.receive(two, ask(1, 1, 'incr', 1));
    expect(two.look()).toMatchObject([{ kind: 'attached' }, { kind: 'answer', asked: 1, body: [null, 2] }]);
    expect(one.look().filter((envelope) => (envelope as DownEnvelope).kind === 'answer')).toEqual([]);
    const late = new TestLink(1);
    session.attachLink(late);
    expect(late.ended).toEqual(['superseded', 4409, 2]);
  });

  it('refuses a lower attach, an ended stream and a forgotten one, and answers each', async () => {
    const { session, link: one } = await link(1, true);
    session.receive(one, attach(1, TAB[0], 5));
    one.look();
    session.receive(one, attach(1, TAB[0], 4));
    expect(one.look()).toMatchObject([{ kind: 'attached', counter: 4, outcome: 'stale' }]);
    session.receive(one, { kind: 'detach', tab: 1, counter: 5, why: 'closed' });
    session.receive(one, attach(2, TAB[0], 6));
    session.receive(one, attach(3, TAB[1], 1, { seen: { timeMs: nowMs - 86_400_000, life: 3, commit: 0 } }));
    const attached = one.look().filter((envelope) => (envelope as DownEnvelope).kind === 'attached');
    // One has ended, the other says that it is old.
    expect(attached).toMatchObject([{ outcome: 'forgotten' }, { outcome: 'forgotten' }]);
  });

  it('does not handle again what a tab had sent that was taken for gone and comes back', async () => {
    handlers.on('count', (conn: Conn) => {
      conn.sessionData['count'] = ((conn.sessionData['count'] as number | undefined) ?? 0) + 1;
    });
    const { session, link: one } = await link(1, true);
    session.receive(one, attach(1, TAB[0], 1, { info: { departed: true } }));
    session.receive(one, send(1, 1, 'count'));
    session.receive(one, { kind: 'detach', tab: 1, counter: 1, why: 'gone' });
    await session.save();
    session.receive(one, attach(2, TAB[0], 2));
    session.receive(one, send(2, 1, 'count'));
    await session.save();
    expect(session.sessionData['count']).toBe(1);
    expect(one.look()).toContainEqual(expect.objectContaining({ tab: 2, outcome: 'forgotten' }));
  });

  it('leaves a node when its session is claimed there and another node has had it since', async () => {
    const here = sessions;
    const { session } = await link(1, true);
    restart();
    const there = await sessions.open(1);
    await there.update((data) => {
      (data as Record<string, unknown>)['written'] = 'there';
    });
    expect(session.isLive).toBe(true);
    await here.claim(1);
    expect(session.isLive).toBe(false);
    expect((await here.open(1)).sessionData['written']).toBe('there');
    await here.close(1_000);
  });

  it('finishes for a tab that has gone: its messages run, its answers are dropped, its conn closes', async () => {
    const closed: string[] = [];
    const ran: number[] = [];
    handlers.on('$closed', (_conn: Conn, why: string) => closed.push(why));
    handlers.on('note', (_conn: Conn, x: number) => ran.push(x));
    handlers.answer['incr'] = (_conn: Conn, x: number) => ran.push(x);
    const { session, link: one } = await link(1, true);
    session.receive(one, attach(1, TAB[0]));
    session.receive(one, send(1, 1, 'note', 1));
    one.look();
    session.receive(one, attach(1, TAB[0], 1, { info: { departed: true }, oldest: 2 }));
    session.receive(one, send(1, 2, 'note', 2));
    session.receive(one, ask(1, 3, 'incr', 3));
    expect(one.look().at(-1)).toMatchObject({ kind: 'ack', ack: 3 });
    session.receive(one, { kind: 'detach', tab: 1, counter: 1, why: 'gone' });
    await vi.waitFor(() => expect(closed).toEqual(['gone']));
    expect(ran).toEqual([1, 2, 3]);
    expect(one.look()).toEqual([]);
    expect(session.conns.size).toBe(0);
  });

  it('tells every conn of the session what was saved', async () => {
    const saves: unknown[] = [];
    handlers.on('$session-active', (conn: Conn) => {
      conn.on('$save', ({ changed }) => saves.push(changed));
    });
    const { session, link: one } = await link(1, true);
    session.receive(one, attach(1, TAB[0]));
    session.receive(one, attach(2, TAB[1]));
    await vi.waitFor(() => expect(session.conns.size).toBe(2));
    await session.update((data) => {
      data['a'] = 1;
      data['b'] = new Date(5);
    });
    await vi.waitFor(() =>
      expect(saves).toEqual([
        ['a', 'b'],
        ['a', 'b'],
      ]),
    );
    await session.update((data) => {
      data['a'] = 1;
      delete data['b'];
    });
    await vi.waitFor(() => expect(saves.slice(2)).toEqual([['b'], ['b']]));
  });

  it('handles nothing before the listeners of $session-active have settled', async () => {
    let go: (() => void) | undefined;
    const order: string[] = [];
    handlers.on('$session-active', async (conn: Conn) => {
      await new Promise<void>((resolve) => {
        go = resolve;
      });
      order.push('active');
      conn.on('note', () => order.push('note'));
    });
    const { session, link: one } = await link(1, true);
    session.receive(one, attach(1, TAB[0]));
    session.receive(one, send(1, 1, 'note'));
    await vi.waitFor(() => expect(go).toBeDefined());
    expect(order).toEqual([]);
    go!();
    await vi.waitFor(() => expect(order).toEqual(['active', 'note']));
  });

  it('keeps Dates, the system fields read-only, and visit times in order', async () => {
    const first = await link(1, true);
    first.session.receive(first.link, attach(1, TAB[0]));
    await first.session.update((data) => {
      data['at'] = new Date(123);
    });
    first.session.receive(first.link, { kind: 'detach', tab: 1, counter: 1, why: 'closed' });
    first.session.linkDown(first.link);
    restart();
    nowMs += 60_000;
    const second = await link(2);
    second.session.receive(second.link, attach(1, TAB[1]));
    const data = second.session.sessionData;
    expect(data['at']).toEqual(new Date(123));
    expect([data._sessionID, data.id]).toEqual([1, 1]);
    expect(data._firstVisitTime).toEqual(new Date(1_700_000_000_000));
    expect(data._firstVistTime).toEqual(data._firstVisitTime);
    expect(data._previousVisitTime).toEqual(new Date(1_700_000_000_000));
    expect(data._latestVisitTime).toEqual(new Date(1_700_000_060_000));
    expect(() => {
      (data as Record<string, unknown>)['_sessionID'] = 2;
    }).toThrow(TypeError);
  });

  it('upgrades data of an older version, and refuses data of a newer one', async () => {
    const first = await link(1, true);
    await first.session.update((data) => {
      data['name'] = 'Ada Lovelace';
    });
    version = {
      dataVersion: 3,
      upgradeData: (old, from) => ({ names: String(old['name']).split(' '), from }),
    };
    restart();
    const second = await link(2);
    expect({ ...second.session.sessionData }).toEqual({ names: ['Ada', 'Lovelace'], from: 1 });
    await second.session.save();
    version = { dataVersion: 2, upgradeData: (old) => old };
    restart();
    await expect(sessions.open(1)).rejects.toMatchObject({ code: 'WEBGRAM_DATA_NEWER' });
  });

  it('commits in the middle of a handler on demand; a later throw goes back to that point', async () => {
    const handle = async (conn: Conn, fails: boolean): Promise<void> => {
      conn.sessionData['step'] = 'paid';
      await conn.save({ now: true });
      conn.sessionData['step'] = 'shipped';
      if (fails) throw new AskError('no');
    };
    handlers.answer['buy'] = handle;
    const { session, link: one } = await link(1, true);
    session.receive(one, attach(1, TAB[0]));
    session.receive(one, ask(1, 1, 'buy', true));
    await one.until(({ asked }) => asked === 1);
    expect(session.sessionData['step']).toBe('paid');
    expect(store.commits).toBe(1);
    restart();
    expect((await link(2)).session.sessionData['step']).toBe('paid');
  });

  it('lets others in while a concurrent handler waits, and ends its tab after it', async () => {
    const order: string[] = [];
    let go: (() => void) | undefined;
    const closed = vi.fn();
    handlers.on('$closed', closed);
    handlers.on(
      'slow',
      concurrent(async (conn: Conn) => {
        await new Promise<void>((resolve) => {
          go = resolve;
        });
        order.push('slow');
        await conn.update((data) => {
          data['slow'] = true;
        });
      }),
    );
    handlers.on('fast', () => {
      order.push('fast');
    });
    const { session, link: one } = await link(1, true);
    session.receive(one, attach(1, TAB[0]));
    session.receive(one, ask(1, 1, 'slow'));
    session.receive(one, ask(1, 2, 'fast'));
    session.receive(one, { kind: 'detach', tab: 1, counter: 1, why: 'closed' });
    await one.until(({ asked }) => asked === 2);
    expect(order).toEqual(['fast']);
    expect(closed).not.toHaveBeenCalled();
    go!();
    await vi.waitFor(() => expect(closed).toHaveBeenCalled());
    await vi.waitFor(() => expect(store.commits).toBe(2));
    restart();
    expect((await link(2)).session.sessionData['slow']).toBe(true);
  });

  it('keeps what a concurrent handler has changed when another handler throws meanwhile', async () => {
    const goOn = new Map<string, () => void>();
    const wait = (what: string) => new Promise<void>((resolve) => goOn.set(what, resolve));
    handlers.answer['share'] = concurrent(async (conn: Conn) => {
      await wait('share');
      const saving = conn.save({ now: true });
      const updating = conn.update((data) => {
        data['shared'] = true;
      });
      goOn.get('throw')!();
      await Promise.all([saving, updating]);
      return conn.sessionData['shared'];
    });
    handlers.answer['throw'] = async (conn: Conn) => {
      conn.sessionData['half'] = true;
      await wait('throw');
      throw new AskError('thrown', 'on purpose');
    };
    const { session, link: one } = await link(1, true);
    session.receive(one, attach(1, TAB[0]));
    session.receive(one, ask(1, 1, 'share'));
    session.receive(one, ask(1, 2, 'throw'));
    await vi.waitFor(() => expect(goOn.size).toBe(2));
    goOn.get('share')!();
    expect((await one.until(({ asked }) => asked === 1)).at(-1)).toMatchObject({ body: [null, true] });
    expect(session.sessionData).toEqual({ shared: true });
    restart();
    expect((await link(2)).session.sessionData).toEqual({ shared: true });
  });

  it('rejects an update, and what a handler saves at once, that are under way when it ends', async () => {
    const { session, link: one } = await link(1);
    let release = (): void => undefined;
    const ended = new Promise<void>((resolve) => (release = resolve));
    const saving = new Promise((resolve) => {
      handlers.answer['slow'] = async (conn: Conn) => {
        await ended;
        resolve(await conn.save({ now: true }).catch((error: unknown) => error));
      };
    });
    session.receive(one, attach(1, TAB[0]));
    session.receive(one, ask(1, 1, 'slow'));
    session.end('idle', CLOSE.normal);
    const again = (await link(2)).session;
    const updating = again.update(() => ended);
    again.end('idle', CLOSE.normal);
    release();
    expect(await saving).toMatchObject({ code: 'WEBGRAM_SESSION_ENDED' });
    await expect(updating).rejects.toMatchObject({ code: 'WEBGRAM_SESSION_ENDED' });
  });

  it('lets a concurrent handler read the data, and change it in an update only', async () => {
    const errors: unknown[] = [];
    const attempt = (change: () => void): void => {
      try {
        change();
      } catch (error) {
        errors.push(error);
      }
    };
    handlers.answer['fill'] = (conn: Conn) => {
      conn.sessionData['list'] = [{ n: 1 }];
      conn.sessionData['at'] = new Date(5);
    };
    handlers.answer['read'] = concurrent((conn: Conn) => {
      const data = conn.sessionData as unknown as { list: { n: number }[]; at: Date; _sessionID: number };
      attempt(() => (data.list[0]!.n = 2));
      attempt(() => data.list.push({ n: 3 }));
      attempt(() => Reflect.deleteProperty(data, 'list'));
      return [data.list, data.at, data._sessionID, Object.keys(data)];
    });
    const { session, link: one } = await link(1, true);
    session.receive(one, attach(1, TAB[0]));
    session.receive(one, ask(1, 1, 'fill'));
    session.receive(one, ask(1, 2, 'read'));
    const [answer] = (await one.until(({ asked }) => asked === 2)).slice(-1);
    expect(answer).toMatchObject({ body: [null, [[{ n: 1 }], new Date(5), 1, ['list', 'at']]] });
    expect(errors).toEqual(Array.from({ length: 3 }, () => expect.any(TypeError)));
    expect(session.sessionData['list']).toEqual([{ n: 1 }]);
  });

  it('refuses at once what no frame can hold, and the session goes on', async () => {
    const huge = 'x'.repeat(DEFAULT_LIMITS.maxFrameBytes);
    handlers.answer['huge'] = () => huge;
    handlers.answer['fine'] = () => 'fine';
    const { session, link: one } = await link(1, true);
    session.receive(one, attach(1, TAB[0]));
    expect(() => {
      session.send('note', huge);
    }).toThrow(expect.objectContaining({ code: 'WEBGRAM_MESSAGE_TOO_LARGE' }));
    session.receive(one, ask(1, 1, 'huge'));
    session.receive(one, ask(1, 2, 'fine'));
    expect(one.look().slice(1)).toMatchObject([
      { asked: 1, body: [{ code: 'WEBGRAM_HANDLER_FAILED' }, null] },
      { asked: 2, body: [null, 'fine'] },
    ]);
  });

  it('leaves memory after its grace time without a link', async () => {
    const { session, link: one } = await link(1, true);
    session.receive(one, attach(1, TAB[0]));
    session.linkDown(one);
    nowMs += DEFAULT_RETENTION.streamGraceMs - 1;
    session.sweep();
    expect(sessions.live.size).toBe(1);
    nowMs += 1;
    session.sweep();
    expect(sessions.live.size).toBe(0);
  });

  it.each([
    ['a handler', (handler: (conn: Conn) => Promise<number>) => handler],
    ['a concurrent handler', concurrent<(conn: Conn) => Promise<number>>],
  ])('remembers what %s is handling, however long its tab is gone', async (_what, wrap) => {
    let runs = 0;
    let go = (): void => undefined;
    const paid = new Promise<void>((resolve) => {
      go = resolve;
    });
    handlers.answer['pay'] = wrap(async (conn) => {
      runs += 1;
      await paid;
      await conn.save();
      return runs;
    });
    const closed = vi.fn();
    handlers.on('$closed', closed);
    const { session, link: one } = await link(1, true);
    session.receive(one, attach(1, TAB[0]));
    session.receive(one, ask(1, 1, 'pay'));
    session.linkDown(one);
    nowMs += DEFAULT_RETENTION.streamGraceMs;
    session.sweep();
    expect(closed).toHaveBeenCalledWith(expect.anything(), 'lost');
    const { link: two } = await link(2);
    session.receive(two, attach(1, TAB[0], 2));
    session.receive(two, ask(1, 1, 'pay'));
    go();
    const answered = await two.until(({ asked }) => asked === 1);
    expect(answered[0]).toMatchObject({ kind: 'attached', received: 1 });
    expect(answered.at(-1)).toMatchObject({ body: [null, 1] });
    expect(runs).toBe(1);
  });

  it('asks a tab, but not from a handler of the same session', async () => {
    handlers.answer['loop'] = (conn: Conn) => conn.ask('name');
    const { session, link: one } = await link(1, true);
    session.receive(one, attach(1, TAB[0]));
    one.look();
    const [conn] = [...session.conns];
    const name = conn!.ask('name');
    const [asked] = one.look() as { seq: Position }[];
    session.receive(one, {
      kind: 'answer',
      tab: 1,
      seq: 1,
      ack: START,
      asked: asked!.seq,
      error: null,
      value: 'tab one',
    });
    expect(await name).toBe('tab one');
    session.receive(one, ask(1, 2, 'loop'));
    const sent = await one.until(({ asked: number }) => number === 2);
    expect(JSON.stringify(sent)).toContain('WEBGRAM_HANDLER_FAILED');
  });
});

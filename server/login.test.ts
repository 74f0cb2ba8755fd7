import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { CLOSE, fromBase64url, renewalEnvelope, WebgramError, type Bytes } from 'webgram';
import type { Conn } from './conn.ts';
import { NodeSigningKey } from './node-crypto.ts';
import { Sessions } from './sessions.ts';
import { MemoryStore } from './store/memory-store.ts';
import type { NewKey, Renewed } from './store/store.ts';
import { Scene } from './testing/scene.ts';
import { TestTab, type TestIdentity, type TestLink } from './testing/test-client.ts';
import { turn, until } from './testing/until.ts';

/** Counts writes of renewals, and can hold or fail them. */
class RenewingStore extends MemoryStore {
  renewed: (Renewed | 'failed')[] = [];
  before: () => Promise<void> | void = () => undefined;

  /** Holds the next write. @returns What settles when it has come, and what lets it go. */
  hold(): { isWriting: Promise<void>; release: () => void } {
    let release = (): void => undefined;
    const released = new Promise<void>((resolve) => (release = resolve));
    const isWriting = new Promise<void>((reached) => {
      this.before = () => {
        reached();
        return released;
      };
    });
    return { isWriting, release };
  }

  override async renew(key: NewKey): Promise<Renewed> {
    await this.before();
    const renewed = await super.renew(key);
    this.renewed.push(renewed);
    return renewed;
  }
}

let scene: Scene;
let store: RenewingStore;
let identity: TestIdentity;
let tab: TestTab;
let conn: Conn;
let events: unknown[];

async function start(limits: { renewTimeoutMs?: number } = {}): Promise<void> {
  const server = await scene.start({ limits });
  server.on('$session-active', (one) => {
    conn = one;
  });
  server.on('$login', (one, login) => events.push([one === conn, login]));
  server.on('$closed', () => events.push('closed'));
  server.answer['login'] = async (one, name) => {
    await one.login(name as string, { label: 'Alice', picture: '/a.png' });
    return one.session.account;
  };
  tab = await scene.tab(identity);
}

beforeEach(() => {
  scene = new Scene();
  store = new RenewingStore();
  scene.store = store;
  identity = scene.identity();
  events = [];
});

afterEach(() => {
  vi.restoreAllMocks();
  return scene.close();
});

/** Resumes with the tab's next attach, as its host would. */
async function comeBack(): Promise<TestTab> {
  const link = await scene.enter(identity);
  const again = new TestTab(link, 1, tab.tabID, tab.counter + 1);
  again.seq = tab.seq;
  again.received = tab.received;
  link.send({ ...again.attachEnvelope(), oldest: 1 } as ReturnType<TestTab['attachEnvelope']>);
  return again;
}

describe('login', () => {
  test('gives the session another key, tells the client, and ends the link', async () => {
    await start();
    const { key: old, sessionID } = identity;
    const loggingIn = conn.login('alice', { label: 'Alice' });
    await tab.link.renew(identity);
    await loggingIn;
    expect(await tab.link.next('bye')).toMatchObject({ reason: 'renewed' });
    expect(await tab.link.waitForClose()).toMatchObject({ code: CLOSE.normal });
    expect(await scene.attempt({ key: old, sessionID: sessionID! })).toEqual({
      kind: 'denied',
      code: 'renewed',
    });
    expect(await scene.attempt({ key: old })).toEqual({ kind: 'denied', code: 'renewed' });
    expect(await scene.attempt(identity)).toMatchObject({ kind: 'ok', sessionID });
    expect(conn.session.account).toBe('alice');
    expect(conn.session.record).toEqual({
      id: String(sessionID),
      account: 'alice',
      profile: { label: 'Alice' },
      created: expect.any(Date) as Date,
    });
    expect(store.renewed).toEqual(['renewed']);
  });

  test('may be awaited by a handler, whose answer comes over the next link; tabs notice nothing', async () => {
    await start();
    tab.link.send(tab.askEnvelope('login', 'alice'));
    await tab.link.renew(identity);
    await tab.link.waitForClose();
    const again = await comeBack();
    expect(await again.answerTo(1)).toBe('alice');
    expect(await again.ask('incr', 1)).toBe(2);
    expect(events).toEqual([[true, { account: 'alice', profile: { label: 'Alice', picture: '/a.png' } }]]);
    expect(scene.server.connections.size).toBe(1);
  });

  test('is not undone when the handler throws behind it', async () => {
    await start();
    scene.server.answer['login'] = async (one) => {
      one.sessionData['before'] = 1;
      await one.login('alice');
      throw new Error('behind');
    };
    tab.link.send(tab.askEnvelope('login'));
    await tab.link.renew(identity);
    const again = await comeBack();
    await expect(again.answerTo(1)).rejects.toMatchObject({ code: 'WEBGRAM_HANDLER_FAILED' });
    expect([conn.session.account, conn.sessionData['before']]).toEqual(['alice', undefined]);
  });

  test('is kept over a restart, with its data', async () => {
    await start();
    await conn.update((data) => {
      data['kept'] = 1;
    });
    const loggingIn = conn.login('alice', { label: 'Alice' });
    await tab.link.renew(identity);
    await loggingIn;
    await scene.close();
    await scene.start();
    const session = await scene.server.sessions.open(identity.sessionID!);
    expect(session.record).toMatchObject({ account: 'alice', profile: { label: 'Alice' } });
    expect(session.sessionData).toMatchObject({ kept: 1 });
    expect(await scene.attempt(identity)).toMatchObject({ kind: 'ok' });
  });

  test('is told on every link, and so is that nobody is logged in', async () => {
    await start();
    expect(tab.link.profiles).toEqual([[null, {}]]);
    const loggingIn = conn.login('alice', { label: 'Alice' });
    await tab.link.renew(identity);
    await loggingIn;
    tab = await comeBack();
    expect(tab.link.profiles).toEqual([['alice', { label: 'Alice' }]]);
    const loggingOut = conn.logout();
    await tab.link.renew(identity);
    await loggingOut;
    tab = await comeBack();
    await tab.attached();
    expect(tab.link.profiles).toEqual([[null, {}]]);
  });

  test('can follow another one, each with a key of its own', async () => {
    await start();
    const keys = [identity.key];
    for (const label of ['Alice', 'Alice B.']) {
      const loggingIn = conn.login('alice', { label });
      await tab.link.renew(identity);
      await loggingIn;
      keys.push(identity.key);
      tab = await comeBack();
    }
    expect(conn.session.record).toMatchObject({ account: 'alice', profile: { label: 'Alice B.' } });
    for (const key of keys.slice(0, 2)) {
      expect(await scene.attempt({ key, sessionID: 1 })).toEqual({ kind: 'denied', code: 'renewed' });
    }
  });

  test('works while more waits than the session takes, because its answer is read', async () => {
    await start();
    await scene.close();
    await scene.start({ limits: { maxQueued: 4 } });
    scene.server.answer['login'] = (one) => one.login('alice');
    tab = await scene.tab(identity);
    tab.link.sendTogether([tab.askEnvelope('login')]);
    tab.link.sendTogether(Array.from({ length: 20 }, () => tab.askEnvelope('incr', 1)));
    await tab.link.renew(identity);
    const again = await comeBack();
    expect(await again.answerTo(21)).toBe(2);
  });
});

describe('login that does not come to its end changes nothing:', () => {
  /** The old key is the one, and there is no account. */
  async function nothingHasChanged(): Promise<void> {
    expect(conn.session.account).toBeUndefined();
    expect(events.filter((event) => event !== 'closed')).toEqual([]);
    expect(store.renewed).not.toContain('renewed');
    expect(await scene.attempt(identity)).toMatchObject({ kind: 'ok', sessionID: identity.sessionID });
  }

  test('the tab is offline', async () => {
    await start();
    await tab.link.close();
    await expect.poll(() => conn.isOnline).toBe(false);
    await expect(conn.login('alice')).rejects.toMatchObject({ code: 'WEBGRAM_CLOSED', retryable: true });
    await nothingHasChanged();
  });

  test('the link goes', async () => {
    await start();
    const loggingIn = expect(conn.login('alice')).rejects.toMatchObject({ code: 'WEBGRAM_CLOSED' });
    await tab.link.renewal(identity);
    tab.link.socket.terminate();
    await loggingIn;
    await nothingHasChanged();
  });

  test('another link of the session comes', async () => {
    await start();
    const loggingIn = expect(conn.login('alice')).rejects.toMatchObject({ code: 'WEBGRAM_CLOSED' });
    await scene.enter(identity);
    await loggingIn;
    await nothingHasChanged();
  });

  test('the server is closed', async () => {
    await start();
    const loggingIn = expect(conn.login('alice')).rejects.toMatchObject({ code: 'WEBGRAM_CLOSED' });
    await scene.close();
    await loggingIn;
    await scene.start();
    await nothingHasChanged();
  });

  test('the time is out, and a key that comes later closes the socket', async () => {
    await start({ renewTimeoutMs: 50 });
    const renewal = tab.link.renewal(identity);
    await expect(conn.login('alice')).rejects.toMatchObject({ code: 'WEBGRAM_TIMEOUT', retryable: true });
    expect(await tab.ask('incr', 1)).toBe(2);
    tab.link.send(await (await renewal).answer(NodeSigningKey.generate()));
    expect(await tab.link.waitForClose()).toMatchObject({ code: CLOSE.badFrame });
    await nothingHasChanged();
  });

  test('another login is open, which goes on', async () => {
    await start();
    const first = conn.login('alice');
    await expect(conn.login('bob')).rejects.toMatchObject({ code: 'WEBGRAM_LOGIN_PENDING' });
    await expect(conn.logout()).rejects.toMatchObject({ code: 'WEBGRAM_LOGIN_PENDING' });
    await tab.link.renew(identity);
    await first;
    expect(conn.session.account).toBe('alice');
  });

  test('the client brings the key of somebody', async () => {
    await start();
    const other = scene.identity();
    await scene.enter(other);
    const loggingIn = expect(conn.login('alice')).rejects.toMatchObject({ code: 'WEBGRAM_BAD_FRAME' });
    tab.link.send(await (await tab.link.renewal(identity)).answer(other.key));
    await loggingIn;
    expect(await tab.link.waitForClose()).toMatchObject({ code: CLOSE.badFrame });
    expect(await scene.attempt(other)).toMatchObject({ kind: 'ok', sessionID: 2 });
    await nothingHasChanged();
  });

  test('the client brings the key that it has', async () => {
    await start();
    const loggingIn = expect(conn.login('alice')).rejects.toMatchObject({ code: 'WEBGRAM_BAD_FRAME' });
    tab.link.send(await (await tab.link.renewal(identity)).answer(identity.key));
    await loggingIn;
    await nothingHasChanged();
  });

  test('the signature is that of another connection', async () => {
    await start();
    const loggingIn = expect(conn.login('alice')).rejects.toMatchObject({ code: 'WEBGRAM_BAD_FRAME' });
    const next = NodeSigningKey.generate();
    const answer = await (
      await tab.link.renewal(identity)
    ).answer({
      publicKey: next.publicKey,
      sign: (data: Uint8Array) => {
        // The exporter stands behind the label.
        data[24 + 1]! ^= 1;
        return next.sign(data);
      },
    });
    tab.link.send(answer);
    await loggingIn;
    expect(await tab.link.waitForClose()).toMatchObject({ code: CLOSE.badFrame });
    await nothingHasChanged();
  });

  test('the client answers twice', async () => {
    await start();
    store.before = () => new Promise(() => undefined);
    void conn.login('alice').catch(() => undefined);
    const renewal = await tab.link.renewal(identity);
    const answer = await renewal.answer(NodeSigningKey.generate());
    tab.link.sendTogether([answer, answer]);
    expect(await tab.link.waitForClose()).toMatchObject({ code: CLOSE.badFrame });
  });

  test('an account or profile that cannot be meant', async () => {
    await start();
    for (const name of ['', 'x'.repeat(257)]) await expect(conn.login(name)).rejects.toThrow(RangeError);
    await expect(conn.login(5 as never)).rejects.toThrow(TypeError);
    await expect(conn.login('a', { label: 5 as never })).rejects.toThrow("'label'");
    await expect(conn.login('a', { picture: 'x'.repeat(65_536) })).rejects.toThrow(RangeError);
    await nothingHasChanged();
  });
});

describe('a key that was not asked for', () => {
  test.each(['renew-key', 'renew', 'renew-ok', 'profile', 'upgrade'])(
    'as %s closes the socket',
    async (what) => {
      await start();
      const bytes = (length: number): Bytes => new Uint8Array(length).fill(4);
      const args =
        what === 'renew-key'
          ? renewalEnvelope({ what, renewID: bytes(16), publicKey: bytes(65), signature: bytes(64) }).args
          : ['AAAAAAAAAAAAAAAAAAAAAA'];
      tab.link.send({ kind: 'identity', what, args });
      expect(await tab.link.waitForClose()).toMatchObject({ code: CLOSE.badFrame });
      expect(store.renewed).toEqual([]);
      expect(await scene.attempt(identity)).toMatchObject({ kind: 'ok' });
    },
  );

  test('after a renewal of another link closes the socket', async () => {
    await start();
    const loggingIn = conn.login('alice').catch(() => undefined);
    const { args } = await tab.link.next('identity');
    const newer = await scene.enter(identity);
    await loggingIn;
    const renewID = fromBase64url(args[0] as string);
    const signature = new Uint8Array(64);
    newer.send(
      renewalEnvelope({ what: 'renew-key', renewID, publicKey: new Uint8Array(65).fill(4), signature }),
    );
    expect(await newer.waitForClose()).toMatchObject({ code: CLOSE.badFrame });
  });
});

describe('the old key', () => {
  test('that proves itself while the new one is written is denied', async () => {
    await start();
    const { isWriting, release } = store.hold();
    const old = { ...identity };
    const loggingIn = conn.login('alice');
    const renewing = tab.link.renew(identity);
    await isWriting;
    const claims = vi.spyOn(Sessions.prototype, 'claim');
    const late = await scene.connect();
    const answer = late.enter(old);
    await until(() => claims.mock.calls.length === 1);
    // It waits behind the write now.
    await turn();
    release();
    await Promise.all([loggingIn, renewing]);
    expect(await answer).toEqual({ kind: 'denied', code: 'renewed' });
    expect(await scene.attempt(identity)).toMatchObject({ kind: 'ok' });
  });

  test('whose new link was claimed elsewhere before the write keeps the session', async () => {
    await start();
    store.before = async () => {
      await store.claim(1, Date.now());
    };
    const loggingIn = expect(conn.login('alice')).rejects.toMatchObject({ code: 'WEBGRAM_CLOSED' });
    const renewal = await tab.link.renewal(identity);
    tab.link.send(await renewal.answer(NodeSigningKey.generate()));
    await loggingIn;
    expect(store.renewed).toEqual(['superseded']);
    expect(await scene.attempt(identity)).toMatchObject({ kind: 'ok' });
  });
});

describe('a store that fails to write the key', () => {
  test('makes login reject with its code and closes the link for a fault of ours', async () => {
    await start();
    store.before = () => {
      throw new WebgramError('WEBGRAM_STORE_FAILED', 'the disk is full');
    };
    const loggingIn = expect(conn.login('alice')).rejects.toMatchObject({ code: 'WEBGRAM_STORE_FAILED' });
    tab.link.send(await (await tab.link.renewal(identity)).answer(NodeSigningKey.generate()));
    await loggingIn;
    expect(await tab.link.waitForClose()).toMatchObject({ code: CLOSE.tryLater });
    expect(await scene.attempt(identity)).toMatchObject({ kind: 'ok' });
  });

  test('does not keep login from resolving when the link went after the key was good', async () => {
    await start();
    const { isWriting, release } = store.hold();
    const loggingIn = conn.login('alice');
    const next = NodeSigningKey.generate();
    tab.link.send(await (await tab.link.renewal(identity)).answer(next));
    await isWriting;
    tab.link.socket.terminate();
    await expect.poll(() => conn.isOnline).toBe(false);
    release();
    await loggingIn;
    expect(await scene.attempt({ key: next, sessionID: 1 })).toMatchObject({ kind: 'ok' });
  });
});

describe('logout', () => {
  beforeEach(async () => {
    await start();
    const loggingIn = conn.login('alice', { label: 'Alice' });
    await tab.link.renew(identity);
    await loggingIn;
    tab = await comeBack();
    await conn.update((data) => {
      data['secret'] = 'of alice';
    });
  });

  test('takes account and data away with the key, in the store as well', async () => {
    const old = identity.key;
    const data = conn.sessionData;
    const loggingOut = conn.logout();
    await tab.link.renew(identity);
    await loggingOut;
    expect(conn.sessionData).toBe(data);
    expect([conn.session.account, Object.keys(data)]).toEqual([undefined, []]);
    expect(conn.session.record.profile).toEqual({});
    expect(await scene.attempt({ key: old, sessionID: 1 })).toEqual({ kind: 'denied', code: 'renewed' });
    const stored = await store.load(1, 0);
    expect([stored?.account, stored?.data]).toEqual([undefined, undefined]);
  });

  test('in a handler that saved before and throws behind it leaves nothing of the data', async () => {
    scene.server.answer['logout'] = async (one) => {
      one.sessionData['more'] = 'of alice';
      await one.save();
      await one.logout();
      one.sessionData['after'] = 1;
      throw new Error('behind');
    };
    tab.link.send(tab.askEnvelope('logout'));
    await tab.link.renew(identity);
    const again = await comeBack();
    await expect(again.answerTo(tab.seq)).rejects.toMatchObject({ code: 'WEBGRAM_HANDLER_FAILED' });
    expect(Object.keys(conn.sessionData)).toEqual([]);
    await conn.save();
    await scene.close();
    await scene.start();
    expect(Object.keys((await scene.server.sessions.open(1)).sessionData)).toEqual([]);
  });

  test('lets the handler begin anew with the data', async () => {
    scene.server.answer['logout'] = async (one) => {
      await one.logout();
      one.sessionData['after'] = 1;
      await one.save();
      return Object.keys(one.sessionData);
    };
    tab.link.send(tab.askEnvelope('logout'));
    await tab.link.renew(identity);
    expect(await (await comeBack()).answerTo(tab.seq)).toEqual(['after']);
    expect((await store.load(1, 0))?.data).toBe('1:{"after":1}');
  });

  test('takes away what was saved while it waited for the client', async () => {
    const loggingOut = conn.logout();
    const saving = conn.update((data) => {
      data['late'] = 'of alice';
    });
    await tab.link.renew(identity);
    await Promise.all([loggingOut, saving]);
    await conn.save();
    expect(Object.keys(conn.sessionData)).toEqual([]);
    expect((await store.load(1, 0))?.data ?? '1:{}').toBe('1:{}');
  });
});

/** Where the server process ends: before or after the nth call into its store. */
describe('a server that is killed in the middle of a login', () => {
  const STEPS = ['renew received', 'key sent', 'ok received', 'bye received'] as const;

  /** Calls of a dead process do nothing any more and never return. */
  class MortalStore extends MemoryStore {
    calls = 0;
    diesAt: { call: number; when: 'before' | 'after' } | undefined;
    isDead = false;
    isCounting = false;
    died: (() => void) | undefined;
    die(): Promise<never> {
      this.isDead = true;
      this.died?.();
      return new Promise(() => undefined);
    }
    async step<T>(call: () => Promise<T>): Promise<T> {
      if (this.isDead) return new Promise(() => undefined);
      if (!this.isCounting) return call();
      const number = (this.calls += 1);
      const isHere = this.diesAt?.call === number;
      if (isHere && this.diesAt?.when === 'before') return this.die();
      const result = await call();
      if (isHere) return this.die();
      return result;
    }
    override findKey(...args: Parameters<MemoryStore['findKey']>) {
      return this.step(() => super.findKey(...args));
    }
    override claim(...args: Parameters<MemoryStore['claim']>) {
      return this.step(() => super.claim(...args));
    }
    override load(...args: Parameters<MemoryStore['load']>) {
      return this.step(() => super.load(...args));
    }
    override commit(...args: Parameters<MemoryStore['commit']>) {
      return this.step(() => super.commit(...args));
    }
    override renew(...args: Parameters<MemoryStore['renew']>) {
      return this.step(() => super.renew(...args));
    }
    override create(...args: Parameters<MemoryStore['create']>) {
      return this.step(() => super.create(...args));
    }
    revive(): void {
      this.isDead = false;
      this.isCounting = false;
    }
  }

  /** One login, until the server dies in the store or at a step of the client. */
  async function loginUntil(
    diesAt: MortalStore['diesAt'],
    cutAt: (typeof STEPS)[number] | undefined,
  ): Promise<{
    calls: number;
    hasResolved: boolean;
    isConfirmed: boolean;
    old: NodeSigningKey;
    next: NodeSigningKey;
  }> {
    const mortal = new MortalStore();
    scene.store = mortal;
    const server = await scene.start({ drainMs: 1 });
    let hasResolved = false;
    server.answer['login'] = async (one) => {
      await one.login('alice');
      hasResolved = true;
      one.sessionData['in'] = true;
      await one.save();
      return true;
    };
    const identity = scene.identity();
    const tab = await scene.tab(identity);
    const old = identity.key;
    const next = NodeSigningKey.generate();
    mortal.diesAt = diesAt;
    mortal.isCounting = true;
    const dead = new Promise<'dead'>((resolve) => (mortal.died = () => resolve('dead')));
    let isConfirmed = false;
    const kill = (step: (typeof STEPS)[number]): boolean => {
      if (cutAt === step) void mortal.die();
      return cutAt === step;
    };
    const client = async (link: TestLink): Promise<void> => {
      tab.link.send(tab.askEnvelope('login'));
      const renewal = await link.renewal(identity);
      if (kill('renew received')) return;
      link.send(await renewal.answer(next));
      if (kill('key sent')) return;
      renewal.receiveOk(await link.next('identity'));
      isConfirmed = true;
      if (kill('ok received')) return;
      await link.next('bye');
      if (kill('bye received')) return;
      const resumed = await scene.connect();
      const again = new TestTab(resumed, 1, tab.tabID, 2);
      await resumed.enter({ key: next, sessionID: identity.sessionID! }, [again.attachEnvelope()]);
      await again.answerTo(1);
    };
    await Promise.race([client(tab.link).catch(() => undefined), dead]);
    const { calls } = mortal;
    for (const { socket } of scene.links) socket.terminate();
    mortal.died = undefined;
    void mortal.die();
    return { calls, hasResolved, isConfirmed, old, next };
  }

  /** After it: another process on the same store. */
  async function usableKeys(run: Awaited<ReturnType<typeof loginUntil>>): Promise<string[]> {
    const mortal = scene.store as MortalStore;
    mortal.revive();
    const dead = scene;
    scene = new Scene();
    scene.store = mortal;
    await dead.close();
    await scene.start();
    const usable: string[] = [];
    for (const name of ['next', 'old'] as const) {
      const answer = await scene.attempt({ key: run[name], sessionID: 1 });
      if (answer.kind === 'ok') {
        usable.push(name);
        expect(answer.sessionID).toBe(1);
      } else expect(answer.code).toBe(name === 'old' ? 'renewed' : 'unknown');
    }
    const { account } = await scene.server.sessions.open(1);
    expect(account).toBe(usable[0] === 'next' ? 'alice' : undefined);
    return usable;
  }

  test('leaves exactly one usable key, wherever it was', async () => {
    const whole = await loginUntil(undefined, undefined);
    expect(await usableKeys(whole)).toEqual(['next']);
    await scene.close();
    expect(whole.calls).toBeGreaterThan(3);
    const outcomes = new Set<string>();
    const deaths = Array.from({ length: whole.calls }, (_, i) => i + 1).flatMap((call) =>
      (['before', 'after'] as const).map((when) => ({ call, when })),
    );
    const runs = [
      ...deaths.map((death) => [death, undefined] as const),
      ...STEPS.map((step) => [undefined, step] as const),
    ];
    for (const [death, step] of runs) {
      scene = new Scene();
      const run = await loginUntil(death, step);
      const usable = await usableKeys(run);
      const where = JSON.stringify([death, step]);
      expect(usable, where).toHaveLength(1);
      // What the client or the application was told holds.
      if (run.isConfirmed || run.hasResolved) expect(usable, where).toEqual(['next']);
      outcomes.add(usable.join());
      await scene.close();
    }
    expect([...outcomes].sort()).toEqual(['next', 'old']);
  }, 30_000);
});

import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { AskError, CLOSE, type DeviceSession } from 'webgram';
import { deviceOf, labelOf, type NewDevice } from './device.ts';
import { Scene } from './testing/scene.ts';
import { TestTab } from './testing/test-client.ts';
import { turn } from './testing/until.ts';

const AGENTS = {
  linux: 'Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0',
  phone: 'Mozilla/5.0 (Linux; Android 15; SM-S921) AppleWebKit/537.36 Chrome/140.0.1.2 Mobile Safari/537.36',
};

let scene: Scene;

beforeEach(() => {
  scene = new Scene();
});

afterEach(() => scene.close());

/** A tab of a browser that has just logged in. */
async function loggedIn(account: string, agent?: string, identity = scene.identity()): Promise<TestTab> {
  const link = await scene.enter(identity, agent === undefined ? {} : { headers: { 'User-Agent': agent } });
  const before = new TestTab(link);
  await before.attach();
  const conn = [...scene.server.connections].find(({ session }) => session.sessionID === identity.sessionID)!;
  const loggingIn = conn.login(account);
  await link.renew(identity);
  await loggingIn;
  await link.waitForClose();
  return scene.tab(identity);
}

function idOf(tab: TestTab): number {
  const session = [...scene.server.sessions.live.values()].find(({ conns }) =>
    [...conns].some(({ isOnline, address }) => isOnline && address[1] === portOf(tab)),
  );
  return session!.sessionID;
}

function portOf(tab: TestTab): number {
  return (tab.link.socket as unknown as { _socket: { localPort: number } })._socket.localPort;
}

describe('what is kept of a device', () => {
  test.each([
    [AGENTS.linux, 'Firefox on Linux'],
    [AGENTS.phone, 'Chrome on Android'],
    ['Mozilla/5.0 (Windows NT 10.0) AppleWebKit/537.36 Chrome/140 Safari/537.36 Edg/140', 'Edge on Windows'],
    ['Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15) Version/18.0 Safari/605.1.15', 'Safari on macOS'],
    ['Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) Version/18.0 Safari/604.1', 'Safari on iOS'],
    ['curl/8', 'Unknown device'],
    ['', 'Unknown device'],
  ])('of %s is: %s', (agent, label) => {
    expect(labelOf(deviceOf(agent))).toBe(label);
  });

  test('is coarse, and the name that fromClient gives', async () => {
    await scene.start();
    const link = await scene.connect({ headers: { 'User-Agent': AGENTS.linux } });
    const { key } = scene.identity();
    const { proof } = await link.prove(key, { kind: 'create', fromClient: { device: ' Till 3 ' } });
    link.sendRaw(proof);
    await link.answer();
    expect(await scene.server.sessions.get(1)).toEqual({
      sessionID: 1,
      created: expect.any(Date) as Date,
      lastUsed: expect.any(Date) as Date,
      label: 'Till 3',
      device: { platform: 'Linux', browser: 'Firefox', name: 'Till 3' },
      isOnline: true,
      isCurrent: false,
      forked: false,
    });
    expect(JSON.stringify(await scene.store.summary(1))).not.toMatch(/Gecko|140|x86/);
  });

  test('has a place only where the application tells it, written when it changes', async () => {
    const asked: string[] = [];
    let country = 'LV';
    const server = await scene.start({
      locate: async (ip) => {
        asked.push(ip);
        return { city: 'Riga', country, street: 'nobody wants to know' } as { city: string };
      },
    });
    const identity = scene.identity();
    const placeOf = async () => (await server.sessions.get(1))?.device.location;
    await scene.tab(identity);
    await expect.poll(placeOf).toEqual({ city: 'Riga', country: 'LV' });
    await scene.tab(identity);
    country = 'EE';
    server.sessions.live.get(1)!.end('idle', CLOSE.normal);
    await scene.tab(identity);
    await expect.poll(placeOf).toEqual({ city: 'Riga', country: 'EE' });
    expect(asked).toHaveLength(2);
    expect(asked[0]).toMatch(/127\.0\.0\.1|::1/);
  });

  test('is served also where the place cannot be told', async () => {
    await scene.start({
      locate: () => {
        throw new Error('no database');
      },
    });
    const tab = await scene.tab();
    expect(await tab.ask('incr', 1)).toBe(2);
    expect(scene.messages('warn')).toEqual(['where a device is could not be told or stored']);
  });
});

describe('a login', () => {
  test('tells of a device that the account was not on, and not of one that it was on', async () => {
    const server = await scene.start();
    const news: NewDevice[] = [];
    server.on('$new-device', (conn, device) => {
      expect(conn.session.account).toBe('alice');
      news.push(device);
    });
    const identity = scene.identity();
    await loggedIn('alice', AGENTS.linux, identity);
    await loggedIn('alice', undefined, identity);
    await loggedIn('alice', AGENTS.phone);
    await expect.poll(() => news).toHaveLength(2);
    const told = (sessionID: number, label: string, platform: string, browser: string) => ({
      account: 'alice',
      sessionID,
      label,
      device: { platform, browser },
      address: [expect.any(String), expect.any(Number)],
      isFirst: sessionID === 1,
    });
    expect(news).toEqual([
      told(1, 'Firefox on Linux', 'Linux', 'Firefox'),
      told(2, 'Chrome on Android', 'Android', 'Chrome'),
    ]);
  });

  test('of another account is refused on a session that has one, until it has logged out', async () => {
    await scene.start();
    const identity = scene.identity();
    const tab = await loggedIn('alice', undefined, identity);
    const [conn] = [...scene.server.connections].filter(({ isOnline }) => isOnline);
    await expect(conn!.login('bob')).rejects.toMatchObject({ code: 'WEBGRAM_ACCOUNT_BOUND' });
    expect(conn!.session.account).toBe('alice');
    expect(await tab.ask('incr', 1)).toBe(2);
    const loggingOut = conn!.logout();
    await tab.link.renew(identity);
    await loggingOut;
    await loggedIn('bob', undefined, identity);
    expect(await scene.server.sessions.list('alice')).toEqual([]);
    expect(await scene.server.sessions.list('bob')).toHaveLength(1);
    expect(scene.server.sessions.liveOf('alice').size).toBe(0);
    expect([...scene.server.sessions.liveOf('bob')].map(({ sessionID }) => sessionID)).toEqual([1]);
  });
});

describe('sessions', () => {
  test('are listed by account, each once, in pages, without anything of the key', async () => {
    await scene.start();
    for (let n = 1; n <= 5; n += 1) await loggedIn(n === 3 ? 'bob' : 'alice', AGENTS.linux);
    const { sessions } = scene.server;
    const all = await sessions.list('alice', { current: 4 });
    expect(all.map(({ sessionID, isCurrent }) => [sessionID, isCurrent])).toEqual([
      [1, false],
      [2, false],
      [4, true],
      [5, false],
    ]);
    expect(Object.keys(all[0]!).sort()).toEqual(
      [
        'account',
        'created',
        'device',
        'forked',
        'isCurrent',
        'isOnline',
        'label',
        'lastUsed',
        'sessionID',
      ].sort(),
    );
    const page = await sessions.list('alice', { after: 1, limit: 2 });
    expect(page.map(({ sessionID }) => sessionID)).toEqual([2, 4]);
    await expect(sessions.list('alice', { limit: 0 })).rejects.toThrow(RangeError);
    await expect(sessions.list('alice', { after: -1 })).rejects.toThrow(RangeError);
  });

  test('all but one end at once, those of the account only', async () => {
    await scene.start();
    const tabs = [];
    for (const account of ['alice', 'alice', 'bob', 'alice']) tabs.push(await loggedIn(account));
    expect(await scene.server.sessions.revokeOthers(2)).toBe(2);
    for (const n of [0, 3]) {
      expect(await tabs[n]!.link.next('bye')).toMatchObject({ reason: 'revoked' });
      expect(await tabs[n]!.link.waitForClose()).toMatchObject({ code: CLOSE.revoked });
    }
    expect((await scene.server.sessions.list('alice')).map(({ sessionID }) => sessionID)).toEqual([2]);
    for (const n of [1, 2]) expect(await tabs[n]!.ask('incr', 1)).toBe(2);
    expect(await scene.server.sessions.revokeOthers(99)).toBe(0);
  });
});

describe('$devices', () => {
  const ids = (list: unknown) => (list as DeviceSession[]).map(({ sessionID }) => sessionID);

  test('lists, names and ends the sessions of the account, and no others', async () => {
    await scene.start();
    const alice = await loggedIn('alice', AGENTS.linux);
    const phone = await loggedIn('alice', AGENTS.phone);
    const bob = await loggedIn('bob');
    const [laptop, mobile] = (await phone.ask('$devices', 'list', 0)) as DeviceSession[];
    expect(laptop).toMatchObject({ sessionID: idOf(alice), label: 'Firefox on Linux', isCurrent: false });
    expect(mobile).toMatchObject({ sessionID: idOf(phone), label: 'Chrome on Android', isCurrent: true });
    expect(laptop!.created).toBeInstanceOf(Date);
    expect(ids(await phone.ask('$devices', 'list', 2))).toEqual([]);

    expect(await phone.ask('$devices', 'rename', 1, ' Laptop ')).toBe(true);
    expect(await bob.ask('$devices', 'rename', 1, 'mine now')).toBe(false);
    expect((await scene.server.sessions.get(1))!.label).toBe('Laptop');
    expect(scene.server.sessions.live.get(1)!.device.name).toBe('Laptop');
    expect(await phone.ask('$devices', 'rename', 1, '')).toBe(true);
    expect((await scene.server.sessions.get(1))!.label).toBe('Firefox on Linux');

    expect(await bob.ask('$devices', 'revoke', 1)).toBe(false);
    expect(await bob.ask('$devices', 'revoke', 99)).toBe(false);
    expect(await alice.ask('incr', 1)).toBe(2);
    expect(await phone.ask('$devices', 'revoke', 1)).toBe(true);
    expect(await alice.link.next('bye')).toMatchObject({ reason: 'revoked' });
    expect(await phone.ask('$devices', 'revoke', 1)).toBe(false);
    expect(ids(await phone.ask('$devices', 'list', 0))).toEqual([2]);
    expect(await phone.ask('$devices', 'revoke-others')).toBe(0);
  });

  test('knows one device without an account, which can be renamed and ended', async () => {
    await scene.start();
    const tab = await scene.tab();
    const other = await scene.tab();
    const list = (await tab.ask('$devices', 'list', 0)) as DeviceSession[];
    expect(list).toMatchObject([{ sessionID: 1, isCurrent: true }]);
    expect(await tab.ask('$devices', 'list', 1)).toEqual([]);
    expect(await tab.ask('$devices', 'rename', 1, 'Mine')).toBe(true);
    expect(await tab.ask('$devices', 'rename', 2, 'Yours')).toBe(false);
    expect(await tab.ask('$devices', 'revoke', 2)).toBe(false);
    expect(await tab.ask('$devices', 'revoke-others')).toBe(0);
    expect(await other.ask('incr', 1)).toBe(2);
    tab.link.send(tab.askEnvelope('$devices', 'revoke', 1));
    expect(await tab.link.next('bye')).toMatchObject({ reason: 'revoked' });
  });

  test.each([
    [['dance']],
    [['list', -1]],
    [['revoke', '1']],
    [['revoke']],
    [['rename', 1]],
    [['rename', 1, 'x'.repeat(65)]],
  ])('refuses %j with a code', async (args) => {
    await scene.start();
    const tab = await scene.tab();
    await expect(tab.ask('$devices', ...args)).rejects.toMatchObject({ code: 'WEBGRAM_BAD_REQUEST' });
    expect(scene.messages()).toEqual([]);
  });

  test('asks the application before it ends anything', async () => {
    const revocations: unknown[] = [];
    await scene.start({
      mayRevoke: async (conn, revocation) => {
        expect(conn.session.account).toBe('alice');
        revocations.push(revocation);
        if (revocation.proof === 'locked') throw new AskError('locked-out');
        return revocation.proof === 'secret';
      },
    });
    const laptop = await loggedIn('alice');
    const phone = await loggedIn('alice');
    const stepUp = { code: 'WEBGRAM_STEP_UP_REQUIRED' };
    await expect(phone.ask('$devices', 'revoke', 1)).rejects.toMatchObject(stepUp);
    await expect(phone.ask('$devices', 'revoke-others', 'wrong')).rejects.toMatchObject(stepUp);
    await expect(phone.ask('$devices', 'revoke', 1, 'locked')).rejects.toMatchObject({ code: 'locked-out' });
    expect(await laptop.ask('incr', 1)).toBe(2);
    expect(await phone.ask('$devices', 'revoke-others', 'secret')).toBe(1);
    expect(revocations).toEqual([
      { sessionID: 1, proof: null },
      { proof: 'wrong' },
      { sessionID: 1, proof: 'locked' },
      { proof: 'secret' },
    ]);
  });

  test('ends nothing for a session that has lost the account while the application thought', async () => {
    let decide = (_may: boolean): void => undefined;
    let wasAsked = (): void => undefined;
    const asked = new Promise<void>((resolve) => (wasAsked = resolve));
    await scene.start({
      mayRevoke: () => {
        wasAsked();
        return new Promise<boolean>((resolve) => (decide = resolve));
      },
    });
    await loggedIn('alice');
    const phone = await loggedIn('alice');
    phone.link.send(phone.askEnvelope('$devices', 'revoke', 1));
    await asked;
    await scene.server.sessions.revoke(2);
    decide(true);
    await phone.link.waitForClose();
    await turn();
    expect((await scene.server.sessions.list('alice')).map(({ sessionID }) => sessionID)).toEqual([1]);
  });

  test('is no way to listeners of events, nor is anything else of the library', async () => {
    await scene.start();
    const called: unknown[] = [];
    scene.server.on('$devices' as 'x', () => called.push('on'));
    scene.server.on('$visible' as 'x', () => called.push('visible'));
    const tab = await scene.tab();
    tab.link.send({ ...tab.askEnvelope('$devices', 'list', 0), kind: 'send' } as never);
    tab.link.send({ kind: 'volatile', tab: 1, type: '$devices', args: [] });
    await expect(tab.ask('$visible', true)).rejects.toMatchObject({ code: 'WEBGRAM_NO_HANDLER' });
    expect(called).toEqual([]);
    tab.link.send(tab.askEnvelope('$session-active'));
    expect(await tab.link.waitForClose()).toMatchObject({ code: CLOSE.badFrame });
  });
});

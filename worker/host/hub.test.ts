import { toBase64url } from 'webgram';
import { beforeEach, describe, expect, test } from 'vitest';
import { KEY_CHANGED_RETRY_MS, LINGER_MS } from './identity-link.ts';
import { KEEP_ASIDE_MS, TRY_ASIDE_MS } from './keyring.ts';
import { MemoryKeyStore } from './key-store.ts';
import { FakeServer } from './testing/fake-server.ts';
import { rest, until } from './testing/until.ts';
import { ADDRESS, TestHost, TestTab } from './testing/test-host.ts';
import { parseUnfinished } from './unfinished.ts';
import type { Unfinished } from './unfinished.ts';

let server: FakeServer;
let host: TestHost;

beforeEach(async () => {
  server = await FakeServer.start();
  host = new TestHost(server);
});

test('the first word on a port is welcome, and every message names the incarnation', async () => {
  const tab = host.tab('a');
  await tab.isActive();
  expect(tab.messages[0]).toMatchObject({ kind: 'welcome', build: 'test', host: { kind: 'in-process' } });
  expect(new Set(tab.messages.map(({ incarnation }) => incarnation))).toEqual(
    new Set([host.hub.incarnation]),
  );
  expect(new TestHost(server).hub.incarnation).not.toBe(host.hub.incarnation);
  // It names a Web Lock, and browsers refuse names that begin with "-".
  expect(host.hub.incarnation).toMatch(/^webgram-host-/);
});

test('two tabs share one socket, and each gets what is its own', async () => {
  const a = host.tab('a');
  const b = host.tab('b');
  a.attach(await a.link());
  b.attach(await b.link());
  await server.last.up('attach', ({ tabID }) => tabID === b.tabID);
  await Promise.all([a.isActive(), b.isActive()]);
  expect(server.connections).toHaveLength(1);
  expect([a.sessionID, b.sessionID]).toEqual([1, 1]);

  const [first, second] = server.last.ups.filter((up) => up.kind === 'attach').map(({ tab }) => tab);
  const seq = { life: 1, n: 1 };
  server.last.send({ kind: 'send', tab: second!, seq, ack: 0, type: 'for-b', args: [] });
  server.last.send({ kind: 'send', tab: first!, seq, ack: 0, type: 'for-a', args: [] });
  await until(() => a.downs.length > 0 && b.downs.length > 0);
  expect(a.downs).toEqual([{ kind: 'send', seq, ack: 0, type: 'for-a', args: [] }]);
  expect(b.downs).toEqual([{ kind: 'send', seq, ack: 0, type: 'for-b', args: [] }]);
});

test('20 tabs that come at once on a first visit make one create', async () => {
  const tabs = Array.from({ length: 20 }, (_, i) => host.tab(`tab${i}`));
  await Promise.all(tabs.map((tab) => tab.isActive()));
  expect(server.connections).toHaveLength(1);
  expect(server.last.proof?.kind).toBe('create');
  expect(new Set(tabs.map((tab) => tab.sessionID))).toEqual(new Set([1]));
});

test('attaches and first messages travel before the server has answered', async () => {
  server.answers = false;
  const tab = host.tab('a');
  tab.attach(await tab.link());
  tab.send(1, 1);
  await until(() => server.last.texts.length === 2, 'an early frame');
  expect(tab.state).toBe('connecting');
  await server.last.release();
  await server.last.up('send');
  expect(server.last.ups.map(({ kind }) => kind)).toEqual(['attach', 'send']);
  await tab.isActive();
});

test('a tab that joins an active link is told so at once, without the network', async () => {
  await host.tab('a').isActive();
  const tab = host.tab('b');
  expect(tab.messages.map(({ kind }) => kind)).toEqual(['welcome', 'state', 'link']);
  expect(tab.of('state')[0]).toMatchObject({ state: { name: 'active' }, identity: { sessionID: 1 } });
});

test('every tab hears of every change of state', async () => {
  const tabs = [host.tab('a'), host.tab('b')];
  await Promise.all(tabs.map((tab) => tab.isActive()));
  server.last.cut(1006, 'pulled out');
  host.clock.advance(500);
  await until(() => server.connections.length === 2);
  await Promise.all(tabs.map((tab) => until(() => tab.state === 'active')));
  for (const tab of tabs) {
    const states = tab.of('state').map(({ state }) => state);
    expect(states.map(({ name }) => name)).toEqual([
      'connecting',
      'active',
      'waiting',
      'connecting',
      'active',
    ]);
    expect(states[2]).toMatchObject({ reason: 'pulled out (1006)' });
  }
  expect(server.last.proof).toMatchObject({ kind: 'resume', sessionID: 1 });
});

test('no tab number is given twice on a link', async () => {
  const stays = host.tab('stays');
  stays.attach(await stays.link());
  const numbers = new Set<number>();
  for (let i = 0; i < 5; i++) {
    const tab = host.tab(`tab${i}`);
    tab.attach(await tab.link());
    const { tab: number } = await server.last.up('attach', ({ tabID }) => tabID === tab.tabID);
    numbers.add(number);
    tab.post({ kind: 'close' });
    await server.last.up('detach', (detach) => detach.tab === number);
  }
  expect(numbers.size).toBe(5);
});

test('finishes for a tab that has gone: attaches in its name, waits for the acknowledgement, then detaches', async () => {
  const tab = host.tab('a');
  host.tab('b');
  const counter = tab.attach(await tab.link());
  tab.send(1, 1);
  tab.send(1, 2);
  await server.last.up('send', ({ seq }) => seq === 2);
  tab.die();
  const departed = await server.last.up('attach', ({ info }) => info.departed === true);
  expect(departed).toMatchObject({ tabID: tab.tabID, counter, oldest: 1 });
  await until(() => server.last.ups.filter(({ kind }) => kind === 'send').length === 4);

  const ack = { kind: 'ack', tab: departed.tab, com: null, timeMs: 5 } as const;
  server.last.send({ ...ack, ack: 1 });
  await rest();
  expect(server.last.ups.some(({ kind }) => kind === 'detach')).toBe(false);

  server.last.send({ ...ack, ack: 2 });
  expect(await server.last.up('detach')).toMatchObject({ tab: departed.tab, counter });
});

test('finishes for a tab that has gone over the next link, when this one breaks first', async () => {
  const tab = host.tab('a');
  tab.attach(await tab.link());
  tab.send(1, 1, 'first');
  await server.last.up('send');
  server.last.send({ kind: 'ack', tab: 1, ack: 1, com: null, timeMs: 5 });
  await until(() => tab.downs.length === 1);
  tab.send(1, 2, 'second');
  tab.send(1, 3, 'third');
  await server.last.up('send', ({ seq }) => seq === 3);
  server.last.cut();
  tab.die();
  host.clock.advance(500);
  await until(() => server.connections.length === 2);
  const departed = await server.last.up('attach');
  expect(departed).toMatchObject({
    oldest: 2,
    info: { departed: true },
    seen: { timeMs: 1_700_000_000_000 },
  });
  await server.last.up('send', ({ seq }) => seq === 3);
  const sends = server.last.ups.filter((up) => up.kind === 'send');
  expect(sends.map(({ seq }) => seq)).toEqual([2, 3]);
});

test('a stream is as old as what was heard behind its attaches, not as young as the session-ok before the next', async () => {
  const tab = host.tab('a');
  const link = await tab.link();
  await tab.isActive();
  // The session-ok is older than this attach.
  tab.attach(link);
  expect(await server.last.up('attach')).toMatchObject({ seen: { timeMs: 0 } });
  server.last.cut();
  await until(() => tab.state === 'waiting');
  host.clock.advance(500);
  // And that of the next link is, too: the tab is slow.
  await tab.link(1);
  await tab.isActive();
  tab.attach(2);
  expect(await server.last.up('attach')).toMatchObject({ seen: { timeMs: 0 } });
});

test('a stream that the server has forgotten is not made young by its refusal', async () => {
  const tab = host.tab('a');
  const counter = tab.attach(await tab.link(), { seenMs: 5 });
  tab.send(1, 1);
  await server.last.up('send');
  tab.die();
  const { tab: number } = await server.last.up('attach', ({ info }) => info.departed === true);
  const refusal = { kind: 'attached', tab: number, counter, received: 0, outcome: 'forgotten' } as const;
  server.last.send({ ...refusal, life: 1, timeMs: 1_000, lineage: [] });
  await rest();
  // It was in the back-forward cache, and comes back over the port it had.
  tab.attach(1, { seenMs: 5 });
  const back = host.tab('a');
  back.attach(await back.link(), { seenMs: 5 });
  const again = await server.last.up('attach', (up) => up.tab !== number);
  expect(again).toMatchObject({ tabID: tab.tabID, seen: { timeMs: 5 } });
});

test('nor by a session-ok before it is taken up', async () => {
  const tab = host.tab('a');
  tab.attach(await tab.link(), { seenMs: 5 });
  await tab.isActive();
  server.last.cut();
  await until(() => tab.state === 'waiting');
  host.clock.advance(500);
  tab.attach(await tab.link(1), { seenMs: 5 });
  expect(await server.last.up('attach')).toMatchObject({ seen: { timeMs: 5 } });
});

test('what a tab handed over without a link is finished for it as well', async () => {
  server.isDown = true;
  const tab = host.tab('a');
  tab.attach(0);
  tab.send(0, 1);
  tab.die();
  await until(() => server.connections.length === 1 && !server.last.isOpen);
  server.isDown = false;
  host.clock.advance(30_000);
  await until(() => server.connections.length === 2);
  expect(await server.last.up('send')).toMatchObject({ type: 'hello', args: [1] });
});

test('a tab that goes between its attach and what it offers again behind it is finished for all the same', async () => {
  server.isDown = true;
  const tab = host.tab('a');
  tab.attach(0);
  tab.send(0, 1, 'first');
  tab.send(0, 2, 'second');
  await until(() => tab.state === 'waiting');
  server.isDown = false;
  host.clock.advance(30_000);
  tab.attach(await tab.link());
  tab.die();
  const departed = await server.last.up('attach', ({ info }) => info.departed === true);
  expect(departed).toMatchObject({ oldest: 1 });
  await server.last.up('send', ({ seq }) => seq === 2);
  const sends = server.last.ups.filter((up) => up.kind === 'send');
  expect(sends.map(({ seq, type }) => [seq, type])).toEqual([
    [1, 'first'],
    [2, 'second'],
  ]);
});

test('a tab that attaches again says what was acknowledged meanwhile', async () => {
  const tab = host.tab('a');
  tab.attach(0);
  tab.send(0, 1);
  tab.send(0, 2);
  // An acknowledgement of another host's link has covered the first.
  tab.attach(await tab.link(), { oldest: 2 });
  tab.die();
  expect(await server.last.up('attach', ({ info }) => info.departed === true)).toMatchObject({ oldest: 2 });
});

test('messages that come in after the death of their tab was noticed are finished too', async () => {
  const tab = host.tab('a');
  tab.attach(await tab.link());
  tab.send(1, 1);
  await server.last.up('send');
  tab.die();
  await server.last.up('attach', ({ info }) => info.departed === true);
  tab.send(1, 2, 'last words');
  await server.last.up('send', ({ type }) => type === 'last words');
  server.last.send({ kind: 'ack', tab: 1, ack: 1, com: null, timeMs: 5 });
  await rest();
  expect(server.last.ups.some(({ kind }) => kind === 'detach')).toBe(false);
  server.last.send({ kind: 'ack', tab: 1, ack: 2, com: null, timeMs: 5 });
  await server.last.up('detach');
});

test('what a tab has posted last is finished also by a host that was busy for longer than it waits', async () => {
  const tab = host.tab('a');
  const link = await tab.link();
  tab.attach(link);
  await tab.isActive();
  await rest();
  // Its timers have their turn before the message that has been there all the time.
  tab.die();
  tab.send(link, 1, 'last words');
  expect(await server.last.up('send')).toMatchObject({ type: 'last words' });
});

test('a departure that the server refuses is over, without a detach', async () => {
  const tab = host.tab('a');
  const counter = tab.attach(await tab.link());
  tab.send(1, 1);
  await server.last.up('send');
  tab.die();
  await server.last.up('attach', ({ info }) => info.departed === true);
  const refusal = { kind: 'attached', tab: 1, counter, received: 0, outcome: 'forgotten' } as const;
  server.last.send({ ...refusal, life: 1, timeMs: 5, lineage: [] });
  await rest();
  expect(server.last.ups.some(({ kind }) => kind === 'detach')).toBe(false);
  host.clock.advance(LINGER_MS);
  expect(await server.last.up('bye')).toMatchObject({ reason: 'closed' });
});

test('a tab that was taken for dead and comes back speaks for itself', async () => {
  const tab = host.tab('a');
  tab.attach(await tab.link());
  tab.send(1, 1);
  await server.last.up('send');
  tab.die();
  await server.last.up('attach', ({ info }) => info.departed === true);

  const back = host.tab('a');
  for (let i = 0; i < 3; i++) back.attach(await back.link());
  await server.last.up('attach', ({ counter }) => counter === 3);
  server.last.send({ kind: 'ack', tab: 1, ack: 1, com: null, timeMs: 5 });
  await until(() => back.downs.length === 1);
  expect(server.last.ups.some(({ kind }) => kind === 'detach')).toBe(false);
});

test('a tab that speaks over another port under the same lock is not gone', async () => {
  const tab = host.tab('a');
  tab.attach(await tab.link());
  await server.last.up('attach');
  const again = new TestTab(host, 'a');
  again.hello();
  again.attach(await again.link());
  await rest();
  host.clock.advance(1_000);
  await rest();
  expect(server.last.ups.some((up) => up.kind === 'attach' && up.info.departed === true)).toBe(false);
  tab.send(1, 1, 'over the old port');
  again.send(1, 1, 'over the new port');
  expect(await server.last.up('send')).toMatchObject({ type: 'over the new port' });
});

test('what was meant for another link is kept and not forwarded', async () => {
  const tab = host.tab('a');
  tab.attach(await tab.link());
  await tab.isActive();
  server.last.cut();
  host.clock.advance(500);
  const second = await tab.link(1);
  expect(second).toBe(2);
  tab.send(1, 1, 'for the old link, before the attach');
  tab.attach(second);
  tab.send(1, 1, 'for the old link, behind the attach');
  tab.send(second, 1, 'for the new link');
  await server.last.up('send');
  await rest();
  expect(server.last.ups.filter((up) => up.kind === 'send').map(({ type }) => type)).toEqual([
    'for the new link',
  ]);
});

test('a message before any attach goes nowhere', async () => {
  const tab = host.tab('a');
  tab.send(await tab.link(), 1);
  await tab.isActive();
  await rest();
  expect(server.last.ups).toEqual([]);
});

test('nothing that a page posts disturbs the host', async () => {
  const honest = host.tab('honest');
  honest.attach(await honest.link());
  await honest.isActive();
  const hostile = host.tab('hostile');
  const attach = {
    kind: 'attach',
    tabID: honest.tabID,
    counter: 1,
    received: 7,
    oldest: 1,
    seen: {},
    info: {},
  };
  const send = { kind: 'send', seq: 1, ack: { life: 0, n: 0 }, type: '$session-active', args: [] };
  const junk: unknown[] = [
    null,
    [],
    'hello',
    7,
    { kind: 'nonsense' },
    { kind: 'hello' },
    {
      kind: 'hello',
      protocol: 1,
      build: '',
      lock: 'x',
      address: 'javascript:alert(1)',
      fresh: false,
      fromClient: null,
    },
    { kind: 'up' },
    { kind: 'up', link: -1, envelope: {} },
    { kind: 'up', link: 1, envelope: attach },
    { kind: 'up', link: 1, envelope: send },
    { kind: 'up', link: 1, envelope: { kind: 'send', seq: 1, ack: null, type: 'x', args: 7 } },
    { kind: 'up', link: 1, envelope: { kind: 'bye', reason: 'for everyone', args: [] } },
    { kind: 'up', link: 1, envelope: { kind: 'identity', what: 'renew-key', args: [] } },
    { kind: 'up', link: 1, envelope: { kind: 'ping', n: 1 } },
    { kind: 'pong', n: 'x' },
    { __proto__: { kind: 'close' } },
  ];
  for (const message of junk) hostile.post(message);
  hostile.attach(1);
  hostile.up(1, { kind: 'send', seq: 1, ack: { life: 0, n: 0 }, type: 'regex', args: [/not encodable/] });
  for (let i = 0; i < 1_000; i++) hostile.post({ kind: 'wake' });
  await rest();
  honest.send(1, 1);
  await server.last.up('send');
  expect(server.connections).toHaveLength(1);
  expect(server.last.isOpen).toBe(true);
  expect(server.last.ups.filter(({ kind }) => kind === 'send')).toHaveLength(1);
  expect(server.last.ups.filter(({ kind }) => kind === 'ping').length).toBeLessThanOrEqual(1);
});

test('refuses a page that speaks another port protocol, and more tabs than the limit', async () => {
  const other = host.tab('other', { protocol: 1 });
  expect(other.of('refused')[0]).toMatchObject({ code: 'WEBGRAM_VERSION_SKEW' });
  for (let i = 0; i < 256; i++) host.tab(`tab${i}`);
  expect(host.tab('one too many').of('refused')[0]).toMatchObject({ code: 'WEBGRAM_TOO_MANY_TABS' });
});

test('closes the socket 30 s after the last tab has gone, and opens it again with the next', async () => {
  const tab = host.tab('a');
  await tab.isActive();
  tab.post({ kind: 'close' });
  await pass(LINGER_MS - 1);
  expect(server.last.ups.some(({ kind }) => kind === 'bye')).toBe(false);
  await pass(1);
  await server.last.up('bye');
  host.clock.advance(1_000);
  expect(server.last.isOpen).toBe(false);
  expect(host.clock.pending).toBe(0);
  expect(host.locks.watched).toBe(0);

  const next = host.tab('b');
  await next.isActive();
  expect(server.connections).toHaveLength(2);
  expect(next.sessionID).toBe(1);
});

test('a tab that comes within the 30 s finds the socket open', async () => {
  const tab = host.tab('a');
  await tab.isActive();
  tab.post({ kind: 'close' });
  await pass(LINGER_MS - 1);
  host.tab('b');
  await pass(LINGER_MS);
  expect(server.connections).toHaveLength(1);
  expect(server.last.isOpen).toBe(true);
});

test('pings after 25 s of silence and gives the link up when nothing comes in 10 s', async () => {
  const tab = host.tab('a');
  await tab.isActive();
  host.clock.advance(25_000);
  await server.last.up('ping');
  await rest();
  server.last.isHalfOpen = true;
  host.clock.advance(25_000);
  expect(tab.state).toBe('active');
  host.clock.advance(10_000);
  await until(() => tab.state === 'waiting' || tab.state === 'connecting');
  expect(tab.of('state').at(-1)?.state).toMatchObject({ reason: 'the server has become silent' });
});

test('a wake finds a dead socket within 3 s', async () => {
  const tab = host.tab('a');
  await tab.isActive();
  server.last.isHalfOpen = true;
  host.clock.advance(5_000);
  tab.post({ kind: 'wake' });
  host.clock.advance(2_999);
  expect(tab.state).toBe('active');
  host.clock.advance(1);
  expect(tab.state).toBe('waiting');
});

test('a wake leaves a living socket as it is', async () => {
  const tab = host.tab('a');
  await tab.isActive();
  host.clock.advance(5_000);
  tab.post({ kind: 'wake' });
  await server.last.up('ping');
  await rest();
  host.clock.advance(3_000);
  expect(tab.state).toBe('active');
  expect(server.connections).toHaveLength(1);
});

test('a machine that has slept probes its socket for 3 s', async () => {
  const tab = host.tab('a');
  await tab.isActive();
  server.last.isHalfOpen = true;
  host.clock.sleep(600_000);
  host.clock.advance(3_000);
  await until(() => tab.of('state').some(({ state }) => state.name === 'waiting'));
});

test('a wake retries at once', async () => {
  server.isDown = true;
  const tab = host.tab('a');
  await until(() => tab.state === 'waiting');
  for (let i = 0; i < 6; i++) {
    host.clock.advance(20_000);
    await rest();
  }
  server.isDown = false;
  const before = server.connections.length;
  host.clock.advance(1_000);
  tab.post({ kind: 'wake' });
  await tab.isActive();
  expect(server.connections.length - before).toBeLessThanOrEqual(1);
});

test('takes the next link when this one is as old as it may get', async () => {
  server.maxLinkMs = 60_000;
  const tab = host.tab('a');
  await tab.isActive();
  await pass(60_000);
  expect(await server.connections[0]!.up('bye')).toMatchObject({ reason: 'age' });
  host.clock.advance(500);
  await until(() => server.connections.length === 2);
  await tab.isActive();
});

test('refuses a 101 without a subprotocol', async () => {
  server.subprotocol = '';
  const tab = host.tab('a');
  await until(() => tab.state === 'waiting');
  expect(server.last.texts).toEqual([]);
  expect(server.last.isOpen).toBe(false);
});

test('a flipped bit in any place of the answer keeps the identity', async () => {
  const tab = host.tab('a');
  await tab.isActive();
  const keyIDs = [...server.sessions.keys()];
  for (const field of [1, 2, 3]) {
    server.last.cut();
    server.tamper = (text) => {
      const frame = JSON.parse(text) as string[];
      const value = frame[field]!;
      const at = value.length >> 1;
      frame[field] = value.slice(0, at) + (value[at] === '1' ? '2' : '1') + value.slice(at + 1);
      return JSON.stringify(frame);
    };
    const before = server.connections.length;
    host.clock.advance(20_000);
    await until(() => server.connections.length > before && tab.state === 'waiting');
    server.tamper = (text) => text;
    host.clock.advance(20_000);
    await tab.isActive();
  }
  expect([...server.sessions.keys()]).toEqual(keyIDs);
  expect(tab.sessionID).toBe(1);
});

test('no close code ends an identity', async () => {
  const tab = host.tab('a');
  await tab.isActive();
  for (const code of [1000, 1013, 4401, 4403, 4409, 4410, 4429]) {
    server.last.cut(code);
    const before = server.connections.length;
    host.clock.advance(60_000);
    await until(() => server.connections.length > before);
    await tab.isActive();
  }
  expect(server.sessions.size).toBe(1);
});

test.each(['revoked', 'expired'] as const)(
  'a verified denial %s drops the identity and makes a new one',
  async (ended) => {
    const tab = host.tab('a');
    await tab.isActive();
    for (const session of server.sessions.values()) session.ended = ended;
    server.last.cut();
    host.clock.advance(20_000);
    await until(() => server.connections.length === 2 && tab.state === 'waiting');
    host.clock.advance(20_000);
    await until(() => tab.sessionID === 2);
    tab.attach(await tab.link(2));
    const { tab: number, counter } = await server.last.up('attach');
    const outcome = { resumed: false, reason: 'new', gap: { sent: 0, received: 0 } } as const;
    server.last.send({
      kind: 'attached',
      tab: number,
      counter,
      received: 0,
      outcome,
      life: 1,
      timeMs: 1,
      lineage: [],
    });
    await until(() => tab.downs.length === 1);
    expect(tab.downs[0]).toMatchObject({ outcome: { reason: ended } });
    expect(await stored(host)).toEqual([{ sessionID: 2 }]);
  },
);

test('a verified denial unknown sets the identity aside and keeps its key', async () => {
  const tab = host.tab('a');
  await tab.isActive();
  const sessions = [...server.sessions];
  server.sessions.clear();
  server.last.cut();
  host.clock.advance(20_000);
  await until(() => server.connections.length === 2 && tab.state === 'waiting');
  host.clock.advance(20_000);
  await until(() => tab.sessionID === 2);
  expect(await stored(host)).toEqual([{ sessionID: 1, setAside: 'unknown' }, { sessionID: 2 }]);
  expect(sessions).toHaveLength(1);
});

test('another store gets another identity, and the old store gets the old one back', async () => {
  const tab = host.tab('a');
  await tab.isActive();
  const first = server.storeID;
  const created = new Set(server.sessions.keys());
  server.storeID = new Uint8Array(16).fill(7);
  server.last.cut();
  host.clock.advance(20_000);
  await until(() => tab.sessionID === 2);
  const second = server.connections.at(-1)?.proof;
  expect(second?.kind).toBe('create');

  server.storeID = first;
  server.last.cut();
  host.clock.advance(20_000);
  await until(() => server.last.proof?.kind === 'resume');
  await until(() => tab.sessionID === 1);
  const proof = server.last.proof!;
  expect('keyID' in proof && created.has(proof.keyID)).toBe(true);
});

test('the next run of the host finds the identity', async () => {
  await host.tab('a').isActive();
  const next = new TestHost(server, { keyStore: host.keyStore });
  const tab = next.tab('b');
  await tab.isActive();
  expect(tab.sessionID).toBe(1);
  expect(server.last.proof).toMatchObject({ kind: 'resume', sessionID: 1 });
});

test('a session-ok that was lost leaves no second session', async () => {
  server.answers = false;
  host.tab('a');
  await until(() => server.connections.at(-1)?.proof !== undefined);
  const { proof } = server.last;
  if (proof?.kind !== 'create') throw new Error('the proof must be a create');
  server.create(proof.keyID, proof.publicKey);
  server.answers = true;
  const next = new TestHost(server, { keyStore: host.keyStore });
  const tab = next.tab('b');
  await tab.isActive();
  expect(server.sessions.size).toBe(1);
  expect(server.last.proof?.kind).toBe('create');
  expect(tab.sessionID).toBe(1);
});

test('sends nothing to a server whose key has changed, says so, and keeps the identity', async () => {
  const tab = host.tab('a');
  await tab.isActive();
  const impostor = await FakeServer.successor(server, 'same store');
  host.server = impostor;
  server.last.cut();
  host.clock.advance(500);
  await until(() => tab.of('notice').length === 1);
  await until(() => tab.state === 'waiting');
  expect(tab.of('notice')[0]).toMatchObject({ code: 'WEBGRAM_SERVER_KEY_CHANGED' });
  expect(impostor.last.texts).toEqual([]);
  host.clock.advance(KEY_CHANGED_RETRY_MS - 1_000);
  await rest();
  expect(impostor.connections).toHaveLength(1);

  host.server = server;
  host.clock.advance(20_000);
  await tab.isActive();
  expect(tab.sessionID).toBe(1);
});

test('on this machine another server key is accepted, said, and gets a new identity', async () => {
  const address = 'ws://localhost:5678/';
  const tab = host.tab('a', { address });
  await tab.isActive();
  host.server = await FakeServer.successor(server, 'same store');
  server.last.cut();
  host.clock.advance(500);
  await until(() => host.server.connections.length > 0 && tab.state === 'active');
  expect(tab.of('notice')[0]).toMatchObject({ code: 'WEBGRAM_SERVER_KEY_CHANGED' });
  expect(host.server.last.proof?.kind).toBe('create');
  expect(await stored(host, address)).toHaveLength(2);

  await rest();
  host.server.last.cut();
  host.clock.advance(20_000);
  await until(() => host.server.connections.length === 2 && tab.state === 'active');
  expect(host.server.last.proof?.kind).toBe('resume');
  expect(tab.of('notice')).toHaveLength(1);
});

test('a superseded link comes back no sooner than in 5 s', async () => {
  const tab = host.tab('a');
  await tab.isActive();
  host.clock.advance(10_000);
  server.last.send({ kind: 'bye', reason: 'superseded', args: [9] });
  await until(() => tab.state === 'waiting');
  host.clock.advance(4_999);
  await rest();
  expect(server.connections).toHaveLength(1);
  host.clock.advance(1);
  await until(() => server.connections.length === 2);
});

test('fresh begins a new identity and keeps the older', async () => {
  await host.tab('a').isActive();
  const tab = host.tab('b', { fresh: true });
  await until(() => tab.sessionID === 2);
  expect(server.connections).toHaveLength(2);
  expect(await stored(host)).toEqual([{ sessionID: 1 }, { sessionID: 2 }]);
});

test('the application accepts the server key that was refused last, and no other; the session is resumed', async () => {
  const tab = host.tab('a');
  await tab.isActive();
  const successor = await FakeServer.successor(server, 'same store');
  host.server = successor;
  server.last.cut();
  host.clock.advance(500);
  await until(() => tab.state === 'waiting' && tab.of('notice').length === 1);
  expect(tab.of('state').at(-1)?.state).toMatchObject({ reason: 'server-key-changed' });
  tab.post({ kind: 'accept-key' });
  await tab.isActive();
  expect(successor.last.proof).toMatchObject({ kind: 'resume', sessionID: 1 });
  tab.attach(await tab.link(1));
  await answerAttach(successor, 'resumed');
  await until(() => tab.downs.length === 1);
  expect(tab.downs[0]).toMatchObject({ outcome: { resumed: true, reason: 'server-key-changed' } });

  // It is the pin now; the older key is another one.
  await rest();
  host.server = server;
  successor.last.cut();
  host.clock.advance(20_000);
  await until(() => tab.of('notice').length === 2 && tab.state === 'waiting');
  host.server = await FakeServer.successor(server, 'same store');
  tab.post({ kind: 'accept-key' });
  await until(() => tab.of('notice').length === 3);
  expect(host.server.last.texts).toEqual([]);
});

describe('a page that was built with pins', () => {
  const keyOf = ({ key }: FakeServer): string => toBase64url(key.publicKey);
  const OTHER = toBase64url(new Uint8Array(65).fill(4));

  test.each(['wss://server.example/', 'ws://127.0.0.1:5678/'])(
    'sends nothing to another key at %s, also at the first visit, and accepts none',
    async (address) => {
      const tab = host.tab('a', { address, demands: { pins: [OTHER] } });
      await until(() => tab.of('notice').length === 1 && tab.state === 'waiting');
      expect(tab.of('state').at(-1)?.state).toMatchObject({ reason: 'server-key-changed' });
      expect(tab.of('notice')[0]).toMatchObject({ code: 'WEBGRAM_SERVER_KEY_CHANGED' });
      tab.post({ kind: 'accept-key' });
      await rest();
      expect(tab.state).toBe('waiting');
      host.clock.advance(KEY_CHANGED_RETRY_MS);
      await until(() => tab.of('notice').length === 2);
      expect(server.connections.map(({ texts }) => texts)).toEqual([[], []]);
      expect(await stored(host, address)).toEqual([]);
    },
  );

  test('follows the server from one of them to the other, whatever was seen before', async () => {
    const next = await FakeServer.successor(server, 'same store');
    const tab = host.tab('a', { demands: { pins: [keyOf(server), keyOf(next)] } });
    await tab.isActive();
    await rest();
    for (const [keyID, session] of server.sessions) next.sessions.set(keyID, session);
    host.server = next;
    server.last.cut();
    host.clock.advance(20_000);
    await until(() => next.connections.length === 1 && tab.state === 'active');
    expect(next.last.proof).toMatchObject({ kind: 'resume', sessionID: 1 });
    expect(tab.of('notice')).toEqual([]);
  });

  test.each([[[]], [['']], ['no list'], [null], [[7, {}]]])(
    'is locked out by its mistake: %j',
    async (pins) => {
      const tab = host.tab('a', { demands: { pins: pins as never } });
      await until(() => tab.of('notice').length === 1);
      expect(server.last.texts).toEqual([]);
    },
  );

  test('ends the link of a page without them, and a page without them does not loosen what holds', async () => {
    const loose = host.tab('a');
    await loose.isActive();
    const tab = host.tab('b', { demands: { pins: [OTHER] } });
    await until(() => tab.state === 'waiting' && loose.state === 'waiting');
    expect(await server.connections[0]!.up('bye')).toMatchObject({ reason: 'closed' });
    const late = host.tab('c');
    await rest();
    expect(late.state).toBe('waiting');
    expect(server.connections.slice(1).flatMap(({ texts }) => texts)).toEqual([]);
    // The next build knows better: those that were given last hold, and nobody waits.
    const newer = host.tab('d', { demands: { pins: [keyOf(server)] } });
    await newer.isActive();
    await until(() => [tab, loose, late].every(({ state }) => state === 'active'));
    // Again the same ones: nothing is opened anew.
    const before = server.connections.length;
    await host.tab('e', { demands: { pins: [keyOf(server)] } }).isActive();
    expect(server.connections).toHaveLength(before);
  });

  test('is finished for by the next host under the same pins', async () => {
    const tab = host.tab('a', { demands: { pins: [keyOf(server)], sealed: false } });
    tab.attach(await tab.link());
    await tab.isActive();
    const unfinished = host.hub.unfinished(new Set([tab.port]));
    host.hub.close();
    const other = await FakeServer.successor(server, 'same store');
    const next = new TestHost(other, { keyStore: new MemoryKeyStore('persistent'), locks: host.locks });
    for (const one of parseUnfinished(structuredClone(unfinished))) {
      next.hub.adopt({ ...one, localID: undefined });
    }
    await until(() => other.connections.length === 1);
    await rest();
    expect(other.last.texts).toEqual([]);
    const [{ demands: _demands, ...bare }] = unfinished as [Unfinished];
    expect(parseUnfinished([bare])).toEqual([]);
  });
});

test('both keys that a server announces are pins, and only those', async () => {
  const tab = host.tab('a');
  await tab.isActive();
  const next = await FakeServer.successor(server, 'same store');
  server.otherKey = next.key.publicKey;
  server.last.cut();
  host.clock.advance(500);
  await until(() => server.connections.length === 2 && tab.state === 'active');
  await rest();
  host.server = next;
  server.last.cut();
  host.clock.advance(20_000);
  await until(() => next.connections.length === 1 && tab.state === 'active');
  expect(tab.of('notice')).toEqual([]);
  expect(next.last.proof).toMatchObject({ kind: 'resume', sessionID: 1 });
  await rest();
  // The one before is no pin any more.
  host.server = server;
  next.last.cut();
  host.clock.advance(20_000);
  await until(() => tab.of('notice').length === 1);
});

test('an identity that the server did not know is tried again once a day, and comes back when it does', async () => {
  const tab = host.tab('a');
  await tab.isActive();
  const known = new Map(server.sessions);
  server.sessions.clear();
  server.last.cut();
  host.clock.advance(20_000);
  await until(() => tab.state === 'waiting');
  host.clock.advance(20_000);
  await until(() => tab.sessionID === 2);

  /** How many proofs are refused while so much time passes and the link breaks. */
  const refusals = async (ms: number): Promise<number> => {
    const before = server.connections.length;
    host.clock.advance(ms);
    await rest();
    server.last.cut();
    host.clock.advance(20_000);
    await until(() => server.connections.length > before && server.last.proof !== undefined);
    await tab.isActive();
    await rest();
    return server.connections.slice(before).filter(({ proof }) => proof?.kind === 'refused').length;
  };
  expect(await refusals(0)).toBe(0);
  expect(await refusals(TRY_ASIDE_MS)).toBe(1);
  expect(await refusals(TRY_ASIDE_MS / 2)).toBe(0);
  expect(tab.sessionID).toBe(2);

  for (const [keyID, session] of known) server.sessions.set(keyID, session);
  expect(await refusals(TRY_ASIDE_MS)).toBe(0);
  await until(() => tab.sessionID === 1);
  expect(await stored(host)).toEqual([{ sessionID: 1 }, { sessionID: 2 }]);
  const next = new TestHost(server, { keyStore: host.keyStore });
  const other = next.tab('b');
  await other.isActive();
  expect(other.sessionID).toBe(1);
});

test('a key that was set aside is forgotten after 30 days', async () => {
  const tab = host.tab('a');
  await tab.isActive();
  server.sessions.clear();
  server.last.cut();
  host.clock.advance(20_000);
  await until(() => tab.state === 'waiting');
  host.clock.advance(20_000);
  await until(() => tab.sessionID === 2);
  expect(await stored(host)).toHaveLength(2);
  host.clock.sleep(KEEP_ASIDE_MS + 1);
  const next = new TestHost(server, { keyStore: host.keyStore });
  next.clock.sleep(KEEP_ASIDE_MS + 60_000);
  await next.tab('b').isActive();
  expect(await stored(host)).toEqual([{ sessionID: 2 }]);
});

/** Somebody else takes the session over; the tab comes back when it has waited. */
async function supersede(tab: TestTab, by: number, waitMs: number): Promise<void> {
  const before = server.connections.length;
  server.last.send({ kind: 'bye', reason: 'superseded', args: [by] });
  await until(() => tab.state === 'waiting');
  host.clock.advance(waitMs - 1);
  await rest();
  expect(server.connections).toHaveLength(before);
  host.clock.advance(1);
  await until(() => server.connections.length > before);
  await tab.isActive();
  expect(server.last.proof).toMatchObject({ caps: [`superseded ${by}`] });
}

const lastWait = (tab: TestTab): unknown =>
  tab.of('state').findLast(({ state }) => state.name === 'waiting')?.state;

test('a host that has died and took the session over once is no copy, and the server is asked', async () => {
  const tab = host.tab('a');
  await tab.isActive();
  expect(server.last.proof).toMatchObject({ caps: [] });
  await supersede(tab, 9, 5_000);
  expect(lastWait(tab)).toMatchObject({ reason: 'superseded' });
  await rest();
  expect(tab.of('notice')).toEqual([]);
  // It is asked once.
  server.last.cut();
  host.clock.advance(20_000);
  await until(() => server.connections.length === 3 && tab.state === 'active');
  expect(server.last.proof).toMatchObject({ caps: [] });
  // Much later another one has died: that is the first time again.
  host.clock.sleep(600_001);
  await supersede(tab, 20, 5_000);
  await rest();
  expect(tab.of('notice')).toEqual([]);
});

test('a copy of the identity is reported at the word of the server', async () => {
  const tab = host.tab('a');
  await tab.isActive();
  await supersede(tab, 9, 5_000);
  server.last.send({ kind: 'identity', what: 'forked', args: [9] });
  await until(() => tab.of('notice').length === 1);
  expect(tab.of('notice')).toMatchObject([{ code: 'WEBGRAM_FORKED' }]);
  // The next time it is known at once, and told once.
  await supersede(tab, 11, 10_000);
  server.last.send({ kind: 'identity', what: 'forked', args: [11] });
  await rest();
  expect(tab.of('notice')).toHaveLength(2);
});

test('who takes over twice is reported without a word, and the wait doubles; a host that has lost the storage stays away', async () => {
  const tab = host.tab('a');
  await tab.isActive();
  for (const [index, waitMs] of [5_000, 10_000, 20_000].entries()) {
    await supersede(tab, 9 + index, waitMs);
    expect(lastWait(tab)).toMatchObject({ reason: index === 0 ? 'superseded' : 'forked' });
    expect(tab.of('notice')).toHaveLength(index);
  }

  let isFinished = false;
  host.hub.standDown({ script: 'https://page.example/next.js', build: 'next', why: 'a test' }, () => {
    isFinished = true;
  });
  expect(tab.of('moved')).toMatchObject([{ script: 'https://page.example/next.js', build: 'next' }]);
  const before = server.connections.length;
  server.last.send({ kind: 'bye', reason: 'superseded', args: [10] });
  await rest();
  host.clock.advance(3_600_000);
  await rest();
  expect(server.connections).toHaveLength(before);
  expect(tab.of('notice')).toHaveLength(2);
  expect(isFinished).toBe(true);
  // Who still comes is sent on.
  const late = host.tab('b');
  expect(late.of('moved')).toHaveLength(1);
  expect(late.of('state')).toEqual([]);
});

test('a proof that reaches the server later than that of the next link is no copy of the identity', async () => {
  server.answers = false;
  const tab = host.tab('a');
  await until(() => server.connections.at(-1)?.proof !== undefined);
  server.last.cut();
  await until(() => tab.state === 'waiting');
  server.answers = true;
  host.clock.advance(500);
  await tab.isActive();
  server.last.send({ kind: 'bye', reason: 'superseded', args: [9] });
  await until(() => tab.state === 'waiting');
  expect(tab.of('state').at(-1)?.state).toMatchObject({ reason: 'superseded' });
  host.clock.advance(500);
  await until(() => server.connections.length === 3);
  await tab.isActive();
  expect(server.last.proof).toMatchObject({ caps: [] });

  // The server takes no proof that late.
  host.clock.advance(server.limits.handshakeTimeoutMs);
  server.last.send({ kind: 'bye', reason: 'superseded', args: [10] });
  await until(() => tab.state === 'waiting');
  host.clock.advance(5_000);
  await until(() => server.connections.length === 4);
  await until(() => server.last.proof !== undefined);
  expect(server.last.proof).toMatchObject({ caps: ['superseded 10'] });
});

test('a host that has lost the storage finishes first for tabs that have gone', async () => {
  const [tab, gone] = [host.tab('a'), host.tab('b')];
  gone.attach(await gone.link());
  gone.send(1, 1, 'last words');
  await server.last.up('send');
  await tab.isActive();
  gone.die();
  let isFinished = false;
  host.hub.standDown({ script: 'https://page.example/next.js', build: 'next', why: 'a test' }, () => {
    isFinished = true;
  });
  await server.last.up('attach', ({ info }) => info.departed === true);
  expect(isFinished).toBe(false);
  server.last.send({ kind: 'ack', tab: 1, ack: 1, com: null, timeMs: 5 });
  await server.last.up('detach');
  host.clock.advance(0);
  expect(isFinished).toBe(true);
  expect(await server.last.up('bye')).toMatchObject({ reason: 'closed' });
});

test('a host that has lost the storage ends when its session is taken over, whatever departed tabs have left', async () => {
  const gone = host.tab('a');
  await gone.isActive();
  gone.attach(1);
  gone.send(1, 1);
  gone.die();
  let isFinished = false;
  host.hub.standDown({ script: 'https://page.example/next.js', build: 'next', why: 'a test' }, () => {
    isFinished = true;
  });
  await server.last.up('attach', ({ info }) => info.departed === true);
  expect(isFinished).toBe(false);
  server.last.send({ kind: 'bye', reason: 'superseded', args: [9] });
  await until(() => isFinished);
});

test('a session that has ended with an account is denied, and the next tab gets a new one', async () => {
  const tab = host.tab('a');
  await tab.isActive();
  server.last.send({ kind: 'identity', what: 'profile', args: ['alice', { label: 'Alice', more: 1 }] });
  await until(() => tab.of('state').at(-1)?.identity?.account === 'alice');
  expect(tab.of('state').at(-1)?.identity).toMatchObject({
    sessionID: 1,
    account: 'alice',
    label: 'Alice',
    storage: 'persistent',
  });
  await rest();
  for (const session of server.sessions.values()) session.ended = 'revoked';
  server.last.send({ kind: 'bye', reason: 'revoked', args: [] });
  await until(() => tab.state === 'denied');
  expect(tab.of('state').at(-1)?.state).toEqual({ name: 'denied', reason: 'revoked' });
  expect(await stored(host)).toEqual([]);
  const next = host.tab('b');
  await next.isActive();
  expect(next.of('state').at(-1)?.identity).toMatchObject({ sessionID: 2, storage: 'persistent' });
});

test('a tab whose session is another one is told, and what it had sent is not done again', async () => {
  const tab = host.tab('a');
  tab.attach(await tab.link());
  await answerAttach(server, 'new');
  tab.send(1, 1, 'for the first session');
  await server.last.up('send');
  server.storeID = new Uint8Array(16).fill(7);
  server.last.cut();
  host.clock.advance(20_000);
  await until(() => tab.sessionID === 2);
  tab.attach(2);
  tab.send(2, 1, 'for the first session');
  await until(() => tab.downs.at(-1)?.kind === 'attached');
  expect(tab.downs.at(-1)).toMatchObject({ outcome: 'forgotten', counter: 2, life: 0 });
  await rest();
  expect(server.last.ups).toEqual([]);
  const tabID = 'x'.repeat(21) + 'A';
  tab.attach(2, { tabID });
  await answerAttach(server, 'joined');
  await until(() => tab.downs.length === 3);
  expect(tab.downs[2]).toMatchObject({ outcome: { resumed: false, reason: 'store-lost' } });
});

test('a bye counts, however soon the socket ends behind it', async () => {
  const tab = host.tab('a');
  await tab.isActive();
  server.last.isLastFrame = true;
  server.last.send({ kind: 'bye', reason: 'superseded', args: [9] });
  await until(() => tab.state === 'waiting');
  expect(tab.of('state').at(-1)?.state).toMatchObject({ reason: 'superseded' });
});

test('a link that cannot be followed by another in time lives on, and the next try comes later', async () => {
  server.maxLinkMs = 60_000;
  const tab = host.tab('a');
  await tab.isActive();
  server.answers = false;
  await pass(60_000);
  expect(server.connections).toHaveLength(2);
  server.last.cut();
  expect(tab.state).toBe('active');
  server.answers = true;
  await pass(5_000);
  expect(server.connections).toHaveLength(3);
  expect(await server.connections[0]!.up('bye')).toMatchObject({ reason: 'age' });
  expect(new Set(tab.of('state').map(({ state }) => state.name))).toEqual(new Set(['connecting', 'active']));
});

test('a link that breaks while the next one is on its way is followed by that one, and no tab notices', async () => {
  server.maxLinkMs = 60_000;
  const tab = host.tab('a');
  await tab.isActive();
  server.answers = false;
  await pass(60_000);
  await until(() => server.connections.at(-1)?.proof !== undefined);
  server.connections[0]!.cut();
  await rest();
  expect(tab.links).toEqual([1, 2]);
  await server.last.release();
  await rest();
  expect(server.connections).toHaveLength(2);
  expect(new Set(tab.of('state').map(({ state }) => state.name))).toEqual(new Set(['connecting', 'active']));
});

/** Answers the last attach that has come in. */
async function answerAttach(of: FakeServer, reason: 'new' | 'resumed' | 'joined'): Promise<void> {
  const { tab, counter } = await of.last.up('attach');
  const outcome = { resumed: reason !== 'new', reason, gap: { sent: 0, received: 0 } };
  of.last.send({ kind: 'attached', tab, counter, received: 0, outcome, life: 1, timeMs: 1, lineage: [] });
}

/** Time passes, and what travels meanwhile arrives. */
async function pass(ms: number): Promise<void> {
  for (let left = ms; left > 0; left -= 5_000) {
    host.clock.advance(Math.min(left, 5_000));
    await rest();
  }
}

async function stored(of: TestHost, address = ADDRESS): Promise<unknown[]> {
  await rest();
  const records = await of.keyStore.read(`${address} identity `);
  return [...records.values()]
    .map((record) => record as { sessionID: number; setAside?: { reason: string }; publicKey: Uint8Array })
    .sort((a, b) => a.sessionID - b.sessionID)
    .map(({ sessionID, setAside, publicKey }) => {
      expect(toBase64url(publicKey)).toHaveLength(87);
      return setAside === undefined ? { sessionID } : { sessionID, setAside: setAside.reason };
    });
}

test('finishes for a tab of a host before it, also when nothing of it is under way', async () => {
  const tab = host.tab('a');
  const counter = tab.attach(await tab.link());
  await tab.isActive();
  const unfinished = host.hub.unfinished(new Set([tab.port]));
  const attach = { tabID: tab.tabID, counter };
  expect(unfinished).toMatchObject([{ lock: 'a', address: ADDRESS, attach, ups: [] }]);
  host.hub.close();

  const next = new TestHost(server, { keyStore: host.keyStore, locks: host.locks });
  const other = next.tab('b');
  await other.isActive();
  for (const one of parseUnfinished(structuredClone(unfinished))) next.hub.adopt(one);
  expect(await server.last.up('attach', ({ info }) => info.departed === true)).toMatchObject({
    tabID: tab.tabID,
    counter,
  });
  expect(await server.last.up('detach')).toMatchObject({ counter, why: 'gone' });
});

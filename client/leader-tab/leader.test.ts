import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { MemoryKeyStore } from '../../worker/host/key-store.ts';
import { StorageLock } from '../../worker/host/storage-lock.ts';
import { FakeServer } from '../../worker/host/testing/fake-server.ts';
import { ManualClock } from '../../worker/host/testing/manual-clock.ts';
import { TestTab } from '../../worker/host/testing/test-host.ts';
import { rest, until } from '../../worker/host/testing/until.ts';
import type { PortLike } from '../../worker/host/tab-port.ts';
import type { Word } from './assembly.ts';
import { Leader } from './leader.ts';
import { FakeLocks } from './testing/fake-locks.ts';

vi.mock('../../worker/host/idb-key-store.ts', () => ({
  IdbKeyStore: class extends MemoryKeyStore {
    constructor() {
      super('persistent');
    }
  },
}));
vi.mock('./open-socket.ts', () => ({
  openSocket: (address: string, protocols: string[]) => server.openSocket(address, protocols),
}));

let server: FakeServer;
let locks: FakeLocks;
let words: Word[];
/** How often a leader has said that its time is over. */
let overs: number;
const leaders: Leader[] = [];
const channels: BroadcastChannel[] = [];

beforeEach(async () => {
  server = await FakeServer.start();
  locks = new FakeLocks();
  words = [];
  overs = 0;
  vi.stubGlobal('navigator', { locks });
  vi.stubGlobal('origin', server.origin);
});

afterEach(() => {
  for (const leader of leaders.splice(0)) leader.end();
  for (const channel of channels.splice(0)) channel.close();
});

async function startLeader(): Promise<Leader> {
  const leader = await Leader.start({
    build: 'test',
    over: () => {
      overs += 1;
    },
    say: (word) => words.push(structuredClone(word)),
  });
  leaders.push(leader);
  return leader;
}

/** Holds a lock as long as nobody takes it. */
function holdLock(name: string): void {
  void locks.request(name, {}, () => new Promise(() => undefined)).catch(() => undefined);
}

function play(connect: (port: PortLike) => void, name: string): TestTab {
  holdLock(name);
  const release = (lock: string): void => {
    locks.take(lock);
  };
  const tab = new TestTab({ hub: { connect }, locks: { release }, clock: new ManualClock() }, name);
  tab.hello();
  return tab;
}

/** A client of the leader's page, which has said hello. */
function ownTab(leader: Leader, name: string): TestTab {
  return play((port) => {
    const own = leader.connect();
    own.onmessage = ({ data }: { data: unknown }) => {
      port.postMessage(data);
    };
    port.onmessage = ({ data }) => {
      own.postMessage(data);
    };
  }, name);
}

/** Another tab, which the leader serves and which has said hello. */
function otherTab(leader: Leader, name: string): TestTab {
  return play((port) => {
    const channel = new BroadcastChannel(`port of ${name}`);
    channels.push(channel);
    channel.onmessage = ({ data }: MessageEvent<unknown>) => {
      port.postMessage(data);
    };
    port.onmessage = ({ data }) => {
      channel.postMessage(data);
    };
    leader.serve(channel.name);
  }, name);
}

/** What was told since the last look, in short: who has sent which numbers. */
function told(): { kind: string; ups: Record<string, number[]> }[] {
  return words.splice(0).map((word) => {
    if (word.kind === 'more')
      return { kind: word.kind, ups: { [word.tabID]: word.ups.map(({ seq }) => seq) } };
    if (word.kind !== 'lead') throw new Error(`a leader does not say ${word.kind}`);
    const all = word.unfinished.map(({ attach, ups }) => [attach.tabID, ups.map(({ seq }) => seq)] as const);
    return { kind: word.kind, ups: Object.fromEntries(all) };
  });
}

const numbers = (from: number, through: number): number[] =>
  Array.from({ length: through - from + 1 }, (_, i) => from + i);

/** Behind the present task's messages. */
const atOnce = (): Promise<void> => Promise.resolve();

test('does not lead before its lock is held, nor takes the storage', async () => {
  let grant: () => void = () => undefined;
  const request = locks.request.bind(locks);
  const granted = new Promise<void>((resolve) => (grant = resolve));
  vi.spyOn(locks, 'request').mockImplementation(async (name, ...rest) => {
    if (name.startsWith('webgram-host-')) await granted;
    return request(name, ...rest);
  });
  let leader: Leader | undefined;
  void startLeader().then((started) => (leader = started));
  await rest();
  expect(leader).toBeUndefined();
  expect(locks.isHeld('webgram-serving')).toBe(false);
  grant();
  await until(() => leader !== undefined);
  expect(locks.isHeld(leader!.incarnation)).toBe(true);
  expect(locks.isHeld('webgram-serving')).toBe(true);
  expect(overs).toBe(0);
});

test('without the storage it does not lead, and keeps nothing', async () => {
  const request = locks.request.bind(locks);
  vi.spyOn(locks, 'request').mockImplementation((name, ...rest) =>
    name.startsWith('webgram-at ') ? Promise.reject(new Error('no locks here')) : request(name, ...rest),
  );
  await expect(startLeader()).rejects.toThrow('no locks here');
  await until(() => locks.names.length === 0);
});

test('tells nothing before anybody listens, then everything', async () => {
  const leader = await startLeader();
  const tab = ownTab(leader, 'a');
  tab.attach(await tab.link());
  tab.send(1, 1);
  await rest();
  expect(words).toEqual([]);
  leader.tell();
  expect(words).toMatchObject([{ kind: 'lead', incarnation: leader.incarnation }]);
  expect(told()).toEqual([{ kind: 'lead', ups: { [tab.tabID]: [1] } }]);
});

test('tells at once what its own clients send, each task once, and nothing of what other tabs do', async () => {
  const leader = await startLeader();
  const tabs = [ownTab(leader, 'a'), ownTab(leader, 'b')] as const;
  const other = otherTab(leader, 'other');
  for (const tab of [...tabs, other]) tab.attach(await tab.link());
  leader.tell();
  expect(told()).toEqual([{ kind: 'lead', ups: { [tabs[0].tabID]: [], [tabs[1].tabID]: [] } }]);
  tabs[0].send(1, 1);
  tabs[1].send(1, 1);
  tabs[0].send(1, 2);
  await atOnce();
  expect(words).toMatchObject([{ incarnation: leader.incarnation }, { incarnation: leader.incarnation }]);
  expect(told()).toEqual([
    { kind: 'more', ups: { [tabs[0].tabID]: [1, 2] } },
    { kind: 'more', ups: { [tabs[1].tabID]: [1] } },
  ]);
  other.send(1, 1);
  await server.last.up('send', ({ tab }) => tab === 3);
  expect(words).toEqual([]);
});

test('tells anew after 200 messages, without those that the server has', async () => {
  const leader = await startLeader();
  const tab = ownTab(leader, 'a');
  tab.attach(await tab.link());
  leader.tell();
  words.splice(0);
  for (const seq of numbers(1, 199)) tab.send(1, seq);
  await atOnce();
  expect(told()).toEqual([{ kind: 'more', ups: { [tab.tabID]: numbers(1, 199) } }]);
  await server.last.up('send', ({ seq }) => seq === 199);
  server.last.send({ kind: 'ack', tab: 1, ack: 150, com: null, timeMs: 5 });
  await until(() => tab.downs.length > 0);
  tab.send(1, 200);
  await atOnce();
  expect(told()).toEqual([{ kind: 'more', ups: { [tab.tabID]: [200] } }]);
  tab.send(1, 201);
  await atOnce();
  expect(told()).toEqual([{ kind: 'lead', ups: { [tab.tabID]: numbers(151, 201) } }]);
  tab.send(1, 202);
  await atOnce();
  expect(told()).toEqual([{ kind: 'more', ups: { [tab.tabID]: [202] } }]);
});

test('tells anew when a client comes, and when one closes', async () => {
  const leader = await startLeader();
  leader.tell();
  expect(told()).toEqual([{ kind: 'lead', ups: {} }]);
  const [a, b] = [ownTab(leader, 'a'), ownTab(leader, 'b')];
  await atOnce();
  expect(words).toEqual([]);
  a.attach(await a.link());
  await atOnce();
  expect(told()).toEqual([{ kind: 'lead', ups: { [a.tabID]: [] } }]);
  b.attach(await b.link());
  await atOnce();
  expect(told()).toEqual([{ kind: 'lead', ups: { [a.tabID]: [], [b.tabID]: [] } }]);
  b.post({ kind: 'close' });
  await atOnce();
  expect(told()).toEqual([{ kind: 'lead', ups: { [a.tabID]: [] } }]);
});

test('a client that goes over to another identity is told of anew, with what it has left in the one before', async () => {
  const leader = await startLeader();
  const tab = ownTab(leader, 'a');
  const { tabID: before } = tab;
  const after = before.replace('a', 'b');
  tab.attach(await tab.link());
  leader.tell();
  tab.send(1, 1);
  await atOnce();
  words.splice(0);
  tab.hello({ fresh: true });
  tab.attach(await tab.link(1), { tabID: after });
  await atOnce();
  expect(told()).toEqual([{ kind: 'lead', ups: { [before]: [1], [after]: [] } }]);
  tab.send(2, 1);
  await atOnce();
  expect(told()).toEqual([{ kind: 'more', ups: { [after]: [1] } }]);
});

test('ended, it serves nobody, holds no lock and finishes nothing', async () => {
  const leader = await startLeader();
  const [own, other] = [ownTab(leader, 'own'), otherTab(leader, 'other')];
  for (const tab of [own, other]) tab.attach(await tab.link());
  leader.tell();
  const { unfinished } = words.splice(0).find((word) => word.kind === 'lead')!;
  holdLock('gone');
  leader.adopt(unfinished.map((one) => ({ ...one, lock: 'gone' })));
  expect(leader.unfinished(false)).toMatchObject([{ lock: 'gone' }]);

  leader.end();
  await until(() => !locks.isHeld(leader.incarnation));
  locks.take('gone');
  const heard = other.messages.length;
  other.post({ kind: 'ping' });
  await rest();
  expect(locks.names).toEqual(['own', 'other']);
  expect(other.messages).toHaveLength(heard);
  expect(server.connections.map(({ isOpen }) => isOpen)).toEqual([false]);
  expect(leader.unfinished(false)).toEqual([]);
  expect(overs).toBe(0);
});

test('its time is over when its lock is stolen', async () => {
  const leader = await startLeader();
  locks.take(leader.incarnation);
  await until(() => overs === 1);
});

test('its time is over when another tab takes the storage over', async () => {
  const leader = await startLeader();
  const tab = ownTab(leader, 'a');
  await tab.isActive();
  const lost = (): void => undefined;
  await new StorageLock('another', { script: '', build: 'test', why: 'a test' }, lost).take();
  await until(() => overs === 1);
  expect(tab.of('moved')).toEqual([]);
});

test('a worker that takes the storage over gets its tabs, and its time is over when nothing is left', async () => {
  const leader = await startLeader();
  const [own, other] = [ownTab(leader, 'own'), otherTab(leader, 'other')];
  for (const tab of [own, other]) tab.attach(await tab.link());
  await Promise.all([own.isActive(), other.isActive()]);
  const to = { script: '/worker.js', build: 'later', why: 'a test' };
  await new StorageLock('another', to, () => undefined).take();
  await until(() => own.of('moved').length > 0 && other.of('moved').length > 0);
  expect(own.of('moved')).toMatchObject([to]);
  expect(other.of('moved')).toMatchObject([to]);
  await until(() => overs === 1);
});

import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { PORT_PROTOCOL } from '../../worker/host/port-protocol.ts';
import { rest, until } from '../../worker/host/testing/until.ts';
import type { FoundHost } from '../environment.ts';
import type { Word } from './assembly.ts';
import type { LeaderOptions } from './leader.ts';
import type * as PlaceModule from './place.ts';
import { FakeLocks } from './testing/fake-locks.ts';

/** What stands for the host in a tab that leads: welcomes, and keeps what it is told. */
class FakeLeader {
  readonly incarnation = `host-${++started}`;
  readonly adopted: unknown[] = [];
  isOver = false;
  readonly options: LeaderOptions;

  constructor(options: LeaderOptions) {
    this.options = options;
    leaders.push(this);
  }

  connect(): FoundHost['port'] {
    const port: FoundHost['port'] = { onmessage: null, postMessage: () => undefined, close: () => undefined };
    queueMicrotask(() => port.onmessage?.({ data: this.#welcome }));
    return port;
  }

  serve(name: string): void {
    const channel = new BroadcastChannel(name);
    channels.push(channel);
    channel.postMessage(this.#welcome);
  }

  tell(): void {
    this.options.say({ kind: 'lead', incarnation: this.incarnation, unfinished: [] });
  }

  adopt(data: unknown): void {
    this.adopted.push(data);
  }

  unfinished(isGone: boolean): unknown[] {
    return [isGone ? 'its own and others' : 'others'];
  }

  end(): void {
    this.isOver = true;
  }

  get #welcome() {
    return { kind: 'welcome', incarnation: this.incarnation };
  }
}

let started = 0;
const leaders: FakeLeader[] = [];
const channels: BroadcastChannel[] = [];
/** How a leader starts; it may wait, or fail. */
let start: (options: LeaderOptions) => Promise<FakeLeader>;
vi.mock('./leader.ts', () => ({ Leader: { start: (options: LeaderOptions) => start(options) } }));

let locks: FakeLocks;
let page: EventTarget;
let words: Word[];

beforeEach(() => {
  locks = new FakeLocks();
  page = new EventTarget();
  start = async (options) => new FakeLeader(options);
  leaders.length = 0;
  vi.stubGlobal('navigator', { locks });
  vi.stubGlobal('document', page);
  vi.stubGlobal('addEventListener', page.addEventListener.bind(page));
  vi.stubGlobal('BroadcastChannel', OwnChannel);
  words = [];
});

/** Closed after the test, or the process would not end. */
class OwnChannel extends BroadcastChannel {
  constructor(name: string) {
    super(name);
    channels.push(this);
  }
}

afterEach(() => {
  for (const channel of channels.splice(0)) channel.close();
});

/** Each is a page of its own; those of one test share locks, channels and the events of `page`. */
async function openPlace(): Promise<PlaceModule.Place> {
  const { Place } = await import('./place.ts');
  return new Place('test');
}

/** Another tab, which hears everything and says what the test wants. */
function otherTab(): (word: Word) => void {
  const channel = new OwnChannel('webgram-leader');
  channel.onmessage = ({ data }: MessageEvent<unknown>) => words.push(data as Word);
  return (word) => {
    channel.postMessage(word);
  };
}

test('the first tab leads, the second one follows, and no longer waits for the lead', async () => {
  const [first, second] = [await openPlace(), await openPlace()];
  expect(await first.find('a test')).toMatchObject({ role: 'leader', why: 'a test' });
  const found = await second.find('a test');
  expect(found).toMatchObject({ role: 'follower', welcome: { incarnation: leaders[0]!.incarnation } });
  leaders[0]!.options.over();
  await rest();
  expect(leaders).toHaveLength(1);
  expect(locks.isHeld('webgram-leader')).toBe(false);
});

test('a leader is called by its name: another one does not answer', async () => {
  const say = otherTab();
  await (await openPlace()).find('a test');
  const port = new OwnChannel('a port');
  const heard: unknown[] = [];
  port.onmessage = ({ data }: MessageEvent<unknown>) => heard.push(data);
  say({ kind: 'call', incarnation: 'another', port: 'a port' });
  say({ kind: 'call', incarnation: leaders[0]!.incarnation, port: 'a port' });
  await until(() => heard.length > 0);
  await rest();
  expect(heard).toEqual([{ kind: 'welcome', incarnation: leaders[0]!.incarnation }]);
});

test('a tab that cannot lead gives the lead up, and says why', async () => {
  start = async () => {
    throw new Error('no locks here');
  };
  const [first, second] = [await openPlace(), await openPlace()];
  await expect(first.find('a test')).rejects.toThrow('no locks here');
  expect(locks.isHeld('webgram-leader')).toBe(false);
  start = async (options) => new FakeLeader(options);
  expect(await second.find('a test')).toMatchObject({ role: 'leader' });
  expect(await first.find('a test')).toMatchObject({ role: 'follower' });
});

test('a leader whose time is over does not end the next one of the same page', async () => {
  const place = await openPlace();
  await place.find('a test');
  leaders[0]!.options.over();
  expect(leaders[0]!.isOver).toBe(true);
  await place.find('a test');
  leaders[0]!.options.over();
  expect(leaders).toHaveLength(2);
  expect(leaders[1]!.isOver).toBe(false);
  expect(await place.find('a test')).toMatchObject({
    role: 'leader',
    welcome: { incarnation: leaders[1]!.incarnation },
  });
});

test('a leader that is deposed while it begins never leads', async () => {
  let go: () => void = () => undefined;
  start = (options) =>
    new Promise((started) => {
      go = () => {
        started(new FakeLeader(options));
      };
    });
  const place = await openPlace();
  const found = place.find('a test');
  await until(() => locks.isHeld('webgram-leader'));
  await rest();
  locks.take('webgram-leader');
  await rest();
  const say = otherTab();
  go();
  await until(() => leaders.length === 1);
  await rest();
  expect(leaders[0]!.isOver).toBe(true);
  say({ kind: 'lead', incarnation: 'another', unfinished: [] });
  await until(() => words.some(({ kind }) => kind === 'call'));
  const { port } = words.find((word) => word.kind === 'call')!;
  new OwnChannel(port).postMessage({ kind: 'welcome', incarnation: 'another' });
  expect(await found).toMatchObject({ role: 'follower', welcome: { incarnation: 'another' } });
});

/** A tab that leads with a host of that port protocol, until the lead is taken from it. */
function otherLeader(protocol: number): { isOver: () => boolean; wasCalled: () => boolean } {
  let isOver = false;
  let wasCalled = false;
  const incarnation = `leader of ${protocol}`;
  void locks
    .request('webgram-leader', {}, () => new Promise(() => undefined))
    .catch(() => {
      isOver = true;
    });
  const channel = new OwnChannel('webgram-leader');
  channel.onmessage = ({ data }: MessageEvent<Word>) => {
    if (data.kind === 'seek' && !isOver) channel.postMessage({ kind: 'lead', incarnation, unfinished: [] });
    if (data.kind !== 'call' || data.incarnation !== incarnation) return;
    wasCalled = true;
    new OwnChannel(data.port).postMessage({ kind: 'welcome', incarnation, protocol });
  };
  return { isOver: () => isOver, wasCalled: () => wasCalled };
}

test('takes the lead from a tab of an older port protocol, and follows one of a newer', async () => {
  const older = otherLeader(PORT_PROTOCOL - 1);
  expect(await (await openPlace()).find('a test')).toMatchObject({ role: 'leader' });
  expect(older.isOver()).toBe(true);
  leaders[0]!.options.over();

  const newer = otherLeader(PORT_PROTOCOL + 1);
  const found = await (await openPlace()).find('a test');
  expect(found).toMatchObject({ role: 'follower', welcome: { protocol: PORT_PROTOCOL + 1 } });
  expect(newer.isOver()).toBe(false);
});

test('waits for the lead that a tab of an older port protocol has, when it was seized of late', async () => {
  void locks.request('webgram-leader-seizure', {}, () => new Promise(() => undefined)).catch(() => undefined);
  const older = otherLeader(PORT_PROTOCOL - 1);
  const found = (await openPlace()).find('a test');
  await until(older.wasCalled);
  await rest();
  expect(older.isOver()).toBe(false);
  // The tab is closed.
  locks.take('webgram-leader');
  expect(await found).toMatchObject({ role: 'leader' });
});

test('a page that goes away leaves everything to the next leader, one that is frozen keeps its own', async () => {
  for (const [event, unfinished] of [
    ['freeze', ['others']],
    ['pagehide', ['its own and others']],
  ] as const) {
    const place = await openPlace();
    await place.find('a test');
    const leader = leaders.at(-1)!;
    otherTab();
    page.dispatchEvent(new Event(event));
    await until(() => words.some(({ kind }) => kind === 'unfinished'));
    expect(words.filter(({ kind }) => kind === 'unfinished')).toEqual([
      { kind: 'unfinished', incarnation: leader.incarnation, unfinished },
    ]);
    expect(leader.isOver).toBe(true);
    await until(() => !locks.isHeld('webgram-leader'));
    words = [];
    for (const channel of channels.splice(0)) channel.close();
    page = new EventTarget();
    vi.stubGlobal('document', page);
    vi.stubGlobal('addEventListener', page.addEventListener.bind(page));
  }
});

test('what leaders before it have left reaches the next one, also by a tab that only follows', async () => {
  const say = otherTab();
  const [first, second] = [await openPlace(), await openPlace()];
  await first.find('a test');
  const left = (name: string): never => ({ attach: { tabID: name }, ups: [] }) as never;
  say({ kind: 'lead', incarnation: 'gone', unfinished: [left('a')] });
  say({ kind: 'unfinished', incarnation: 'gone', unfinished: [left('b')] });
  await until(() => leaders[0]!.adopted.length === 3);
  expect(leaders[0]!.adopted).toEqual([[], [left('a')], [left('b')]]);

  await second.find('a test');
  say({ kind: 'lead', incarnation: 'later', unfinished: [left('c')] });
  say({ kind: 'lead', incarnation: 'last', unfinished: [] });
  await until(() => words.some(({ kind }) => kind === 'legacy'));
  expect(words.find(({ kind }) => kind === 'legacy')).toEqual({ kind: 'legacy', unfinished: [left('c')] });
});

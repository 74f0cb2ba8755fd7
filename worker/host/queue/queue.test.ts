import type { DownEnvelope, UpEnvelope, WireError } from 'webgram';
import { beforeEach, describe, expect, test } from 'vitest';
import { MemoryKeyStore, type KeyStore, type Write } from '../key-store.ts';
import type { QueueInfo } from '../port-protocol.ts';
import { ManualClock } from '../testing/manual-clock.ts';
import { until } from '../testing/until.ts';
import { webCrypto } from '../web-crypto.ts';
import type { QueueCall, QueueLimits, QueueLink } from './durable-queue.ts';
import { headKey, messageKey, queuePrefix } from './queue-records.ts';
import { Queue } from './queue.ts';

const ADDRESS = 'wss://server.example/';
const ALICE = 'alicealicealicealiceal';
const BOB = 'bobbobbobbobbobbobbobb';

/** The server's end of queues: takes each number once, and knows what it has taken for ever. */
class QueueServer {
  readonly handled: unknown[] = [];
  readonly ups: UpEnvelope[] = [];
  acknowledges = true;
  /** Messages that came before one that is missing, and were not taken. */
  holes = 0;
  readonly #received = new Map<string, number>();

  link(host: Queue, lives: () => boolean = () => true): QueueLink {
    let tabID = '';
    let counter = 0;
    const say = (down: Extract<DownEnvelope, { tab: number }>): void => {
      queueMicrotask(() => {
        if (lives()) host.receive(down);
      });
    };
    return {
      send: (up) => {
        if (!lives()) return;
        this.ups.push(up);
        if (up.kind === 'attach') {
          expect(up.counter).toBe((counter += 1));
          tabID = up.tabID;
          const received = Math.max(this.#received.get(tabID) ?? 0, up.oldest - 1);
          this.#received.set(tabID, received);
          const outcome = { resumed: true, reason: 'resumed', gap: { sent: 0, received: 0 } } as const;
          say({ kind: 'attached', tab: 0, counter, received, outcome, life: 1, timeMs: 1, lineage: [] });
          if (received >= up.oldest && this.acknowledges) this.#acknowledge(received, say);
        } else if (up.kind === 'send') {
          const received = this.#received.get(tabID)!;
          if (up.seq > received + 1) this.holes += 1;
          if (up.seq === received + 1) {
            this.#received.set(tabID, up.seq);
            this.handled.push(up.args[0]);
          }
          if (this.acknowledges) this.#acknowledge(this.#received.get(tabID)!, say);
        }
      },
    };
  }

  #acknowledge(ack: number, say: (down: DownEnvelope & { kind: 'ack'; tab: number }) => void): void {
    say({ kind: 'ack', tab: 0, ack, com: null, timeMs: 1 });
  }
}

/** A tab: repeats to every host what was not answered. */
class Tab {
  readonly lock: string;
  readonly answers = new Map<number, WireError | undefined>();
  readonly values: unknown[] = [];
  info: QueueInfo | undefined;
  #calls: QueueCall[] = [];
  #last = 0;

  constructor(lock = 'tab') {
    this.lock = lock;
  }

  post({
    call,
    error,
    info,
    value,
  }: {
    call?: number;
    error?: WireError;
    info?: QueueInfo;
    value?: unknown;
  }): void {
    if (info !== undefined) this.info = info;
    if (call === undefined) return;
    this.#calls = this.#calls.filter((one) => one.call !== call);
    this.answers.set(call, error);
    this.values.push(value);
  }

  get codes(): (string | undefined)[] {
    return [...this.answers.values()].map((error) => error?.code);
  }

  get isAnswered(): boolean {
    return this.#calls.length === 0;
  }

  call(host: Queue, what: QueueCall['what'], arg?: unknown, bytes = 10): void {
    const call: QueueCall = { kind: 'queue', call: ++this.#last, what, type: 'note', args: [arg], bytes };
    this.#calls.push(call);
    host.call(this, call);
  }

  repeat(host: Queue, isDead: () => boolean = () => false): void {
    const port = {
      lock: this.lock,
      post: (message: Parameters<Tab['post']>[0]) => {
        if (!isDead()) this.post(message);
      },
    };
    for (const call of this.#calls) host.call(port, call);
  }
}

/** A medium that can fail. */
class TestStore extends MemoryKeyStore {
  /** Fails the next so many writes: before anything was written, or behind it. */
  failures: ('before' | 'after')[] = [];
  failsReads = false;

  constructor() {
    super('persistent');
  }

  override async read(prefix: string): Promise<ReadonlyMap<string, unknown>> {
    if (this.failsReads) throw new Error('no read');
    return super.read(prefix);
  }

  override async update(
    prefix: string,
    change: (records: ReadonlyMap<string, unknown>) => readonly Write[],
  ): Promise<void> {
    const failure = this.failures.shift();
    if (failure === 'before') throw new Error('no write');
    await super.update(prefix, change);
    if (failure === 'after') throw new Error('no answer');
  }

  /** What stands there of a queue, but for its head. */
  async messages(): Promise<unknown[]> {
    const rows = await super.read(queuePrefix(ADDRESS));
    return [...rows]
      .filter(([key]) => key !== headKey(ADDRESS))
      .map(([, row]) => (row as QueueCall).args?.[0]);
  }
}

let store: TestStore;
let server: QueueServer;
let told: unknown[];

beforeEach(async () => {
  store = new TestStore();
  server = new QueueServer();
  told = [];
  await keep(ALICE);
});

/** The browser has that identity. */
async function keep(...localIDs: string[]): Promise<void> {
  await store.update('', () => [
    ...localIDs.map((id): Write => [`${ADDRESS} identity s ${id}`, { version: 1 }]),
    [
      `${ADDRESS} server`,
      { version: 1, pins: [], active: Object.fromEntries(localIDs.map((id, i) => [`s${i}`, id])) },
    ],
  ]);
}

function host(keyStore: KeyStore = store, queueLimits?: QueueLimits): Queue {
  return new Queue({
    address: ADDRESS,
    platform: {
      keyStore,
      crypto: webCrypto,
      clock: new ManualClock(),
      ...(queueLimits === undefined ? {} : { queueLimits }),
    },
    owner: () => undefined,
    isActive: () => true,
    isHere: () => false,
    tell: (message) => told.push(message.kind === 'notice' ? message.code : message.info),
  });
}

const link = (queue: Queue, localID = ALICE, isStored = true): Promise<void> =>
  queue.linked(server.link(queue), { localID, isStored, sessionID: 1 });
const answered = (tab: Tab): Promise<void> => until(() => tab.isAnswered, 'the answer');
async function emptied(): Promise<void> {
  let left: unknown[] = ['unknown'];
  const look = (): void => void store.messages().then((messages) => (left = messages));
  look();
  await until(() => (look(), left.length === 0), 'the end of the queue');
}

test('keeps first, answers then, and sends what it has kept', async () => {
  const queue = host();
  await link(queue);
  const tab = new Tab();
  for (const x of [1, 2, 3]) tab.call(queue, 'send', x);
  expect(server.ups).toEqual([]);
  await answered(tab);
  await emptied();
  expect(server.handled).toEqual([1, 2, 3]);
  expect(tab.codes).toEqual([undefined, undefined, undefined]);
  expect(server.ups.filter(({ kind }) => kind === 'attach')).toHaveLength(1);
  expect(told.at(-1)).toEqual({ count: 0, bytes: 0, oldestMs: undefined });
});

test('what was kept without a link is sent by the next host, in order, and then deleted', async () => {
  const tab = new Tab();
  const first = host();
  for (const x of [1, 2]) tab.call(first, 'send', x);
  await answered(tab);
  expect(await store.messages()).toEqual([1, 2]);
  const second = host();
  tab.call(second, 'send', 3);
  await answered(tab);
  await link(second);
  await emptied();
  expect(server.handled).toEqual([1, 2, 3]);
});

test('sends at most 64 messages that are not acknowledged, and the others behind them', async () => {
  const tab = new Tab();
  const queue = host();
  server.acknowledges = false;
  for (let x = 1; x <= 200; x++) tab.call(queue, 'send', x);
  await answered(tab);
  await link(queue);
  expect(server.handled).toHaveLength(64);
  server.acknowledges = true;
  await link(queue);
  await emptied();
  expect(server.handled).toEqual(Array.from({ length: 200 }, (_, i) => i + 1));
});

/** Lives for so many steps; whatever a host does at its end may or may not have been done. */
class Mortal {
  steps = 0;
  readonly #limit: number;

  constructor(limit: number) {
    this.#limit = limit;
  }

  readonly step = (): boolean => {
    this.steps += 1;
    return !this.isDead;
  };
  get isDead(): boolean {
    return this.steps > this.#limit;
  }
  readonly store: KeyStore = {
    storage: 'persistent',
    read: async (prefix) => (this.step() ? store.read(prefix) : never()),
    update: async (prefix, change) => {
      if (!this.step()) return never();
      await store.update(prefix, change);
      return this.step() ? undefined : never();
    },
  };
}
const never = (): Promise<never> => new Promise<never>(() => undefined);

/** Two tabs send, are linked in the middle, and send again; the host dies at a step. @returns How many there were. */
async function liveAndDie(limit: number): Promise<number> {
  store = new TestStore();
  server = new QueueServer();
  await keep(ALICE);
  const life = new Mortal(limit);
  const first = host(life.store);
  const tabs = [new Tab('one'), new Tab('two')] as const;
  const dying = tabs.map((tab) => ({
    lock: tab.lock,
    post: (message: Parameters<Tab['post']>[0]) => {
      // The answer may be lost with the host.
      if (message.call === undefined || life.step()) tab.post(message);
    },
  }));
  const queueOf = (i: 0 | 1): Queue => ({ call: (_tab, call) => first.call(dying[i]!, call) }) as Queue;
  const steps = async (): Promise<void> => {
    for (let n = 0; n < 12; n++) await new Promise((resolve) => setImmediate(resolve));
  };
  tabs[0].call(queueOf(0), 'send', 'a1');
  await steps();
  tabs[1].call(queueOf(1), 'send', 'b1');
  void first.linked(server.link(first, life.step), { localID: ALICE, isStored: true, sessionID: 1 });
  tabs[0].call(queueOf(0), 'send', 'a2');
  await steps();
  tabs[1].call(queueOf(1), 'send', 'b2');
  tabs[0].call(queueOf(0), 'send', 'a3');
  await steps();

  const second = host();
  for (const tab of tabs) tab.repeat(second);
  await link(second);
  for (const tab of tabs) await answered(tab);
  await emptied();
  expect([...server.handled].sort()).toEqual(['a1', 'a2', 'a3', 'b1', 'b2']);
  for (const of of ['a', 'b']) {
    const own = server.handled.filter((x) => String(x).startsWith(of));
    expect(own).toEqual([...own].sort());
  }
  for (const tab of tabs) expect(new Set(tab.codes)).toEqual(new Set([undefined]));
  expect(server.holes).toBe(0);
  return life.steps;
}

test('every message is handled once and in order, at whatever step the host dies', async () => {
  const count = await liveAndDie(Infinity);
  expect(count).toBeGreaterThan(20);
  for (let limit = 0; limit <= count; limit++) await liveAndDie(limit);
});

test('two hosts that write at the same time give no number twice, and one drains what the other has kept', async () => {
  const hosts = [host(), host()] as const;
  const tabs = [new Tab('one'), new Tab('two')] as const;
  for (let x = 0; x < 20; x++) for (const i of [0, 1] as const) tabs[i].call(hosts[i], 'send', `${i} ${x}`);
  for (const tab of tabs) await answered(tab);
  await link(hosts[1]);
  await emptied();
  expect(server.handled).toHaveLength(40);
  expect(new Set(server.handled).size).toBe(40);
});

describe('when the storage fails', () => {
  test.each(['before', 'after'] as const)(
    '%s a write, the tab is told, and what was promised arrives',
    async (when) => {
      const tab = new Tab();
      const queue = host();
      tab.call(queue, 'send', 'promised');
      await answered(tab);
      store.failures = [when];
      tab.call(queue, 'send', 'perhaps');
      await answered(tab);
      expect(tab.codes).toEqual([undefined, 'WEBGRAM_STORAGE_FAILED']);
      tab.call(queue, 'send', 'promised as well');
      await answered(tab);
      await link(queue);
      await emptied();
      const perhaps = when === 'after' ? ['perhaps'] : [];
      expect(server.handled).toEqual(['promised', ...perhaps, 'promised as well']);
    },
  );

  test('while it is read, the next link goes on', async () => {
    const tab = new Tab();
    const first = host();
    tab.call(first, 'send', 1);
    await answered(tab);
    const queue = host();
    store.failsReads = true;
    await link(queue);
    tab.call(queue, 'list');
    await answered(tab);
    expect(tab.codes.at(-1)).toBe('WEBGRAM_STORAGE_FAILED');
    expect(told).toContain('WEBGRAM_STORAGE_FAILED');
    store.failsReads = false;
    await link(queue);
    await emptied();
    expect(server.handled).toEqual([1]);
  });

  test('while what is handled is deleted, it is not handled again', async () => {
    const tab = new Tab();
    const queue = host();
    tab.call(queue, 'send', 1);
    await answered(tab);
    store.failures = ['before'];
    await link(queue);
    await until(() => told.includes('WEBGRAM_STORAGE_FAILED'), 'the notice');
    expect(await store.messages()).toEqual([1]);
    await link(host());
    await emptied();
    expect(server.handled).toEqual([1]);
  });

  test.each([
    ['the identity ends with the host', 'persistent', false],
    ['the whole storage does', 'memory', true],
  ] as const)('because %s, nothing is promised', async (_what, storage, isStored) => {
    const queue = host(new MemoryKeyStore(storage));
    await link(queue, ALICE, isStored);
    const tab = new Tab();
    tab.call(queue, 'send', 1);
    await answered(tab);
    expect(tab.codes).toEqual(['WEBGRAM_STORAGE_FAILED']);
    expect(server.handled).toEqual([]);
  });
});

describe('what is full or no message', () => {
  test.each([
    ['count', { maxCount: 2, maxBytes: 1_000 }, 10],
    ['bytes', { maxCount: 100, maxBytes: 250 }, 100],
  ])('is refused over the %s, and taken when there is room', async (_what, limits, bytes) => {
    const tab = new Tab();
    const queue = host(store, limits);
    for (const x of [1, 2, 3]) tab.call(queue, 'send', x, bytes);
    await answered(tab);
    expect(tab.codes).toEqual([undefined, undefined, 'WEBGRAM_QUEUE_FULL']);
    await link(queue);
    await emptied();
    tab.call(queue, 'send', 4, bytes);
    await answered(tab);
    await emptied();
    expect(server.handled).toEqual([1, 2, 4]);
  });

  test('a call that was refused is no call that was kept', async () => {
    const tab = new Tab();
    const queue = host(store, { maxCount: 1, maxBytes: 1_000 });
    tab.call(queue, 'send', 1);
    tab.call(queue, 'send', 2);
    tab.call(queue, 'clear');
    tab.call(queue, 'send', 3);
    await answered(tab);
    expect(tab.codes).toEqual([undefined, 'WEBGRAM_QUEUE_FULL', undefined, undefined]);
    // As if its answer had been lost with the host: it is a new call to the next one.
    const next = host();
    next.call(tab, { kind: 'queue', call: 2, what: 'send', type: 'note', args: [2], bytes: 1 });
    next.call(tab, { kind: 'queue', call: 4, what: 'send', type: 'note', args: [3], bytes: 1 });
    await until(() => tab.values.length === 6, 'both answers');
    expect(await store.messages()).toEqual([3, 2]);
  });

  test.each([
    ['a type that begins with $', { type: '$close' }],
    ['arguments that are no list', { args: 'args' as unknown as unknown[] }],
    ['a size that is none', { bytes: -1 }],
  ])('%s is refused', async (_what, wrong) => {
    const tab = new Tab();
    host().call(tab, { kind: 'queue', call: 1, what: 'send', type: 'note', args: [], bytes: 1, ...wrong });
    await until(() => tab.answers.size === 1, 'the answer');
    expect(tab.codes).toEqual(['WEBGRAM_NOT_ENCODABLE']);
    expect(await store.messages()).toEqual([]);
  });
});

describe('list and clear', () => {
  test('tell what is kept without what is in it, and delete it', async () => {
    const tab = new Tab();
    const queue = host();
    for (const x of ['secret', 2]) tab.call(queue, 'send', x);
    tab.call(queue, 'list');
    await answered(tab);
    const one = { type: 'note', bytes: 10, storedMs: 1_700_000_000_000 };
    expect(tab.values.at(-1)).toEqual([one, one]);
    expect(told.at(-1)).toEqual({ count: 2, bytes: 20, oldestMs: 1_700_000_000_000 });
    tab.call(queue, 'clear');
    tab.call(queue, 'send', 3);
    await answered(tab);
    expect(tab.values).toContain(2);
    await link(queue);
    await emptied();
    expect(server.handled).toEqual([3]);
  });

  test('step over what was cleared while it was on its way', async () => {
    const tab = new Tab();
    const queue = host();
    server.acknowledges = false;
    for (let x = 1; x <= 100; x++) tab.call(queue, 'send', x);
    await answered(tab);
    await link(queue);
    tab.call(queue, 'clear');
    tab.call(queue, 'send', 'new');
    server.acknowledges = true;
    await answered(tab);
    await emptied();
    expect(server.handled.at(-1)).toBe('new');
    expect(server.handled).toHaveLength(65);
  });
});

describe('of several identities', () => {
  test('each sends its own', async () => {
    await keep(ALICE, BOB);
    const tab = new Tab();
    const queue = host();
    await link(queue, ALICE);
    queue.unlinked();
    tab.call(queue, 'send', 'of alice');
    await answered(tab);
    await link(queue, BOB);
    tab.call(queue, 'send', 'of bob');
    await answered(tab);
    await until(() => server.handled.length === 1, 'the message of bob');
    expect(server.handled).toEqual(['of bob']);
    tab.call(queue, 'list');
    await answered(tab);
    expect(tab.values.at(-1)).toEqual([]);
    await link(queue, ALICE);
    await emptied();
    expect(server.handled).toEqual(['of bob', 'of alice']);
  });

  test('what was kept before there was one goes to the first', async () => {
    store = new TestStore();
    const tab = new Tab();
    const queue = host();
    tab.call(queue, 'send', 1);
    await answered(tab);
    await keep(BOB);
    await link(queue, BOB);
    await emptied();
    expect(server.handled).toEqual([1]);
  });

  test('what was kept for one that has ended is deleted, and tabs are told', async () => {
    const tab = new Tab();
    const queue = host();
    for (const x of [1, 2]) tab.call(queue, 'send', x);
    await answered(tab);
    await store.update('', () => [[`${ADDRESS} identity s ${ALICE}`, undefined]]);
    await keep(BOB);
    await link(queue, BOB);
    await emptied();
    expect(server.handled).toEqual([]);
    expect(told).toContain('WEBGRAM_GAP');
  });
});

test('goes on behind the numbers of the server when the storage is older than what was sent', async () => {
  const tab = new Tab();
  const queue = host();
  await link(queue);
  tab.call(queue, 'send', 1);
  await answered(tab);
  await emptied();
  const old = await store.read(headKey(ADDRESS));
  for (const x of [2, 3]) tab.call(queue, 'send', x);
  await answered(tab);
  await emptied();
  // A backup of the profile.
  const head = { ...(old.get(headKey(ADDRESS)) as object), revision: 100 };
  await store.update('', () => [[headKey(ADDRESS), head]]);
  const later = host();
  await link(later);
  // The first is taken for what the server knows: nobody can tell. From then on every one arrives.
  for (const x of [4, 5]) {
    tab.call(later, 'send', x);
    await answered(tab);
    await emptied();
  }
  expect(server.handled).toEqual([1, 2, 3, 5]);
});

describe('rows', () => {
  test('of a later version are left alone, and nothing is promised beside them', async () => {
    const tab = new Tab();
    const queue = host();
    tab.call(queue, 'send', 1);
    await answered(tab);
    await store.update('', () => [[messageKey(ADDRESS, 2), { version: 2 }]]);
    const later = host();
    await link(later);
    tab.call(later, 'send', 2);
    await answered(tab);
    expect(tab.codes.at(-1)).toBe('WEBGRAM_VERSION_SKEW');
    expect(server.handled).toEqual([]);
    expect(await store.messages()).toHaveLength(2);
  });

  test('that cannot be understood are stepped over', async () => {
    const tab = new Tab();
    const queue = host();
    for (const x of [1, 2, 3]) tab.call(queue, 'send', x);
    await answered(tab);
    await store.update('', () => [[messageKey(ADDRESS, 2), 'broken']]);
    const later = host();
    await link(later);
    await until(() => server.handled.length === 2, 'both others');
    expect(server.handled).toEqual([1, 3]);
  });

  test('without their head are sent as a queue of another name', async () => {
    const tab = new Tab();
    const queue = host();
    for (const x of [1, 2]) tab.call(queue, 'send', x);
    await answered(tab);
    await store.update('', () => [[headKey(ADDRESS), 'broken']]);
    const later = host();
    await link(later);
    tab.call(later, 'send', 3);
    await answered(tab);
    await emptied();
    expect(server.handled).toEqual([1, 2, 3]);
  });
});

test('a message that no frame can hold is told and deleted, and the others arrive', async () => {
  const tab = new Tab();
  const queue = host();
  const { send } = server.link(queue);
  const narrow: QueueLink = {
    send: (up) => {
      const isHuge = up.kind === 'send' && up.args[0] === 'huge';
      if (isHuge) void queue.dropped(up, { code: 'WEBGRAM_MESSAGE_TOO_LARGE', message: 'too large' });
      else send(up);
    },
  };
  for (const x of [1, 'huge', 3, 4]) tab.call(queue, 'send', x);
  await answered(tab);
  await queue.linked(narrow, { localID: ALICE, isStored: true, sessionID: 1 });
  await emptied();
  expect(told).toContain('WEBGRAM_MESSAGE_TOO_LARGE');
  expect(server.handled).toEqual([1, 3, 4]);
});

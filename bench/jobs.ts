import type { PAGES } from './pages.ts';
import type { HostKind, LoadSpec, ServerSpec } from './subjects.ts';

/** One thing that is measured, beside others that do the same. */
export interface Subject {
  name: string;
  server: ServerSpec;
  load: LoadSpec;
  /** What performance.md wants of it. */
  goal?: Goal;
}

/** A bound of a ratio to another subject of the same job. */
export type Goal =
  | { of: string; what: 'rate'; atLeast: number }
  | { of: string; what: 'cpu'; atMost: number }
  | { of: string; what: 'memory'; atMost: number };

export interface Job extends JobName {
  kind: 'rate' | 'memory';
  subjects: readonly Subject[];
}

/** Tabs of a real browser, opened one after the other and kept. */
export interface TabsJob extends JobName {
  kind: 'tabs';
  count: number;
  subjects: readonly TabsSubject[];
}

export interface TabsSubject {
  name: string;
  server: ServerSpec;
  page: keyof typeof PAGES;
  /** What performance.md wants at most. */
  goals?: { fromScript?: number; sockets?: number; serverHeap?: number };
}

/** Accounts of a real browser, switched, added and renamed. */
export interface AccountsJob extends Omit<JobName, 'floor'> {
  kind: 'accounts';
  count: number;
  server: ServerSpec;
  floor: ServerSpec;
  hosts: readonly HostKind[];
  /** What the design wants at most, in ms. */
  goals: { warm: number; seen: number };
}

interface JobName {
  name: string;
  /** Belongs to these groups, which can be run by name. */
  groups: readonly string[];
  /** The one that the others are compared with. */
  floor: string;
}

const WS: ServerSpec = { kind: 'ws' };
const WEBGRAM: ServerSpec = { kind: 'webgram', frames: 'tick', commits: 'grouped' };
const EACH_FRAME: ServerSpec = { kind: 'webgram', frames: 'each', commits: 'grouped' };
const EACH_COMMIT: ServerSpec = { kind: 'webgram', frames: 'tick', commits: 'each' };
const SOCKET_IO: ServerSpec = { kind: 'socket.io' };
const PUT: ServerSpec = { kind: 'put' };

/** Bytes of data that a durable ask saves, about. */
const SAVED_BYTES = 100;

/** @param scale Of the number of operations; 1 is what makes a round about half a second long, so that the subjects take turns often. */
export function makeJobs(scale: number): (Job | TabsJob | AccountsJob)[] {
  const times = (count: number): number => Math.max(1, Math.round(count * scale));
  const connect = (resume: boolean): LoadSpec => ({
    kind: 'connect',
    count: times(500),
    inFlight: 64,
    resume,
  });
  const ask = (count: number, window: number, bytes = 32, type = 'echo', connections = 1): LoadSpec => ({
    kind: 'ask',
    count: times(count),
    type,
    bytes,
    connections,
    window,
  });
  const atLeast = (of: string, ratio: number): Goal => ({ of, what: 'rate', atLeast: ratio });
  const cpuAtMost = (of: string, ratio: number): Goal => ({ of, what: 'cpu', atMost: ratio });

  const asks = (name: string, count: number, window: number, bytes: number, ratio?: number): Job => {
    const load = ask(count, window, bytes);
    return {
      name,
      groups: ['asks'],
      kind: 'rate',
      floor: 'ws',
      subjects: [
        { name: 'ws', server: WS, load },
        {
          name: 'webgram',
          server: WEBGRAM,
          load,
          ...(ratio === undefined ? {} : { goal: atLeast('ws', ratio) }),
        },
        { name: 'webgram, a frame each', server: EACH_FRAME, load },
        { name: 'socket.io', server: SOCKET_IO, load },
      ],
    };
  };

  return [
    {
      name: 'create',
      groups: ['connect'],
      kind: 'rate',
      floor: 'ws',
      subjects: [
        { name: 'ws', server: WS, load: connect(false) },
        { name: 'webgram', server: WEBGRAM, load: connect(false), goal: cpuAtMost('ws', 3) },
        { name: 'socket.io', server: SOCKET_IO, load: connect(false) },
      ],
    },
    {
      name: 'resume',
      groups: ['connect'],
      kind: 'rate',
      floor: 'ws',
      subjects: [
        { name: 'ws', server: WS, load: connect(true) },
        { name: 'webgram', server: WEBGRAM, load: connect(true), goal: cpuAtMost('ws', 3) },
        { name: 'socket.io', server: SOCKET_IO, load: connect(true) },
      ],
    },
    asks('asks, 32 bytes, 1 in flight', 4_000, 1, 32, 0.6),
    asks('asks, 32 bytes, 64 in flight', 40_000, 64, 32, 2),
    asks('asks, 1 KiB, 1 in flight', 4_000, 1, 1_024),
    asks('asks, 1 KiB, 64 in flight', 16_000, 64, 1_024, 1.2),
    asks('asks, 16 KiB, 1 in flight', 2_000, 1, 16_384),
    asks('asks, 16 KiB, 64 in flight', 4_000, 64, 16_384, 0.3),
    {
      name: 'durable asks, 1 in flight',
      groups: ['durable'],
      kind: 'rate',
      floor: 'ws',
      subjects: [
        { name: 'ws', server: WS, load: ask(4_000, 1) },
        { name: 'synced put', server: PUT, load: { kind: 'put', count: times(1_000), bytes: SAVED_BYTES } },
        {
          name: 'webgram',
          server: WEBGRAM,
          load: ask(1_000, 1, 32, 'count'),
          goal: atLeast('synced put', 1 / 1.2),
        },
      ],
    },
    {
      name: 'durable asks, 64 in flight',
      groups: ['durable'],
      kind: 'rate',
      floor: 'ws',
      subjects: [
        { name: 'ws', server: WS, load: ask(25_000, 64) },
        { name: 'webgram', server: WEBGRAM, load: ask(8_000, 64, 32, 'count'), goal: atLeast('ws', 0.3) },
        { name: 'webgram, 64 sessions', server: WEBGRAM, load: ask(5_000, 1, 32, 'count', 64) },
        {
          name: 'webgram, 64 sessions, a sync each',
          server: EACH_COMMIT,
          load: ask(2_000, 1, 32, 'count', 64),
        },
      ],
    },
    {
      name: 'idle sessions',
      groups: ['memory'],
      kind: 'memory',
      floor: 'ws',
      subjects: [
        { name: 'ws', server: WS, load: { kind: 'hold', count: times(4_000) } },
        {
          name: 'webgram',
          server: WEBGRAM,
          load: { kind: 'hold', count: times(4_000) },
          goal: { of: 'ws', what: 'memory', atMost: 1.4 },
        },
        { name: 'socket.io', server: SOCKET_IO, load: { kind: 'hold', count: times(4_000) } },
      ],
    },
    {
      name: 'tabs',
      groups: ['tabs'],
      kind: 'tabs',
      floor: 'ws',
      // A few show nothing of what many share.
      count: Math.max(3, times(100)),
      subjects: [
        { name: 'ws', server: WS, page: 'ws' },
        {
          name: 'webgram',
          server: WEBGRAM,
          page: 'webgram',
          goals: { fromScript: 10, sockets: 1, serverHeap: 1_024 },
        },
      ],
    },
    {
      name: 'accounts',
      groups: ['accounts'],
      kind: 'accounts',
      // Switches go between two.
      count: Math.max(3, times(20)),
      server: WEBGRAM,
      floor: WS,
      hosts: ['shared-worker', 'leader-tab'],
      goals: { warm: 50, seen: 20 },
    },
  ];
}

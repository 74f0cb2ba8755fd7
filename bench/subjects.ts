/** What is measured: a server of some kind with its options. The same words in all three processes. */
export type ServerSpec =
  /** Bare `ws`, which sends back what it gets: the floor. */
  | { kind: 'ws' }
  | { kind: 'webgram'; frames: 'tick' | 'each'; commits: 'grouped' | 'each' }
  | { kind: 'socket.io' }
  /** No server: LevelDB alone, one synced put after the other. */
  | { kind: 'put' };

/** What the load does: so many operations. */
export type LoadSpec =
  /** Connections that are opened, used for nothing and cut, so many at a time. */
  | { kind: 'connect'; count: number; inFlight: number; resume: boolean }
  /** Asks over some connections, with so many in flight on each. */
  | { kind: 'ask'; count: number; type: string; bytes: number; connections: number; window: number }
  /** Connections that are opened and kept. */
  | { kind: 'hold'; count: number }
  /** Cuts those that are kept. */
  | { kind: 'drop' }
  /** Nothing over the network: the server does it to itself. */
  | { kind: 'put'; count: number; bytes: number };

/** One load that was done. */
export interface Done {
  operations: number;
  seconds: number;
  /** CPU time of the process that did it, in microseconds. */
  microseconds: number;
}

/** What a server gives browsers. */
export interface Site {
  /** Its only page. */
  html: string;
  /** Folder of the built scripts. */
  scripts: string;
}

export type ToServer =
  | { kind: 'start'; spec: ServerSpec; site?: Site }
  | { kind: 'cpu' }
  | { kind: 'memory' }
  | { kind: 'put'; count: number; bytes: number }
  /** Notes from now on what the time is spent on. */
  | { kind: 'profile' }
  /** Writes that to a file, and notes no more. */
  | { kind: 'profiled'; file: string }
  | { kind: 'stop' };

/** CPU time of the process so far, in microseconds, user and system. */
export interface Cpu {
  microseconds: number;
}

/** After the garbage was collected; in bytes. */
export interface Memory {
  rss: number;
  heapUsed: number;
  /** Sessions in memory; 0 where there is no such thing. */
  sessions: number;
  /** WebSockets that are open. */
  sockets: number;
}

export type ToLoad = { kind: 'run'; server: ServerSpec; port: number; load: LoadSpec } | { kind: 'stop' };

/** When a tab was linked to the server, and when its script was there to do so, in ms since the navigation began. */
export interface TabTimes {
  linkedMs: number;
  scriptMs: number;
}

export type HostKind = 'shared-worker' | 'leader-tab';

/** Of one switch between accounts, in ms. */
export interface SwitchTimes {
  /** Until the tab that was told to is in session again. */
  activeMs: number;
  /** Until another tab has heard of it. */
  seenMs: number;
}

/** What accounts took while they were added, time by time, in ms. */
export interface AddTimes {
  /** Until another tab has heard of it. */
  addSeen: number[];
  /** Between two tabs and back, bare. */
  addHop: number[];
}

/** What accounts took that were there, time by time, in ms. */
export interface UseTimes {
  /** Switches to accounts whose link is up, and to such as have none. */
  warm: number[];
  cold: number[];
  /** Until another tab has heard of it. */
  switchSeen: number[];
  renameSeen: number[];
  /** Between two tabs and back, bare; and a bare WebSocket. */
  hop: number[];
  connect: number[];
  /** WebSockets that the server was asked for, for each switch. */
  warmHandshakes: number;
  coldHandshakes: number;
}

/** Of all tabs that are open; JavaScript heaps after the garbage was collected; in bytes. */
export interface BrowserMemory {
  /** Heaps of the pages. */
  heap: number;
  /** Heap of the shared worker; 0 without one. */
  worker: number;
  /** Resident memory of all processes of the browser, what they share counted once; `null` where it cannot be told. */
  pss: number | null;
}

export type ToBrowser =
  | { kind: 'launch'; url: string; host: HostKind }
  | { kind: 'open'; url: string }
  | { kind: 'memory' }
  /** Makes so many accounts beside the first, and closes all tabs. */
  | { kind: 'add-accounts'; url: string; count: number }
  /** Switches between them. @param floorPort Of a bare WebSocket server. */
  | { kind: 'use-accounts'; url: string; count: number; floorPort: number }
  | { kind: 'stop' };

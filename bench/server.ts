import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer, type Server as HttpServer } from 'node:http';
import { Session } from 'node:inspector/promises';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { ClassicLevel } from 'classic-level';
import { Server as SocketIO } from 'socket.io';
import { WebSocketServer } from 'ws';
import { intercept } from '../server/http/intercept.ts';
import { LevelStore, Server } from '../server/index.ts';
import { serve } from './process.ts';
import type { Done, Memory, ServerSpec, Site, ToServer } from './subjects.ts';

/** How long sessions stay in memory after their link, in ms: short, so that it can be waited for. */
const GRACE_MS = 1_000;

interface Running {
  port: number;
  sessions: () => number;
  sockets: () => number;
  close: () => Promise<void>;
}

let running: Running | undefined;
let folder: string | undefined;

serve<ToServer>(
  async (message) => {
    switch (message.kind) {
      case 'start':
        running = await start(message.spec, message.site);
        return running.port;
      case 'cpu': {
        const { user, system } = process.cpuUsage();
        return { microseconds: user + system };
      }
      case 'memory':
        return memory();
      case 'put':
        return put(message.count, message.bytes);
      case 'profile':
        return beginProfile();
      case 'profiled':
        return endProfile(message.file);
    }
  },
  async () => {
    await running?.close();
    if (folder !== undefined) await rm(folder, { recursive: true, force: true });
  },
);

async function start(spec: ServerSpec, site: Site | undefined): Promise<Running> {
  switch (spec.kind) {
    case 'ws':
      return startWs(site);
    case 'socket.io':
      return startSocketIO();
    case 'webgram':
      return startWebgram(spec, site);
    case 'put':
      return { port: 0, sessions: () => 0, sockets: () => 0, close: async () => undefined };
  }
}

async function startWs(site: Site | undefined): Promise<Running> {
  const http = createSite(site);
  const server = new WebSocketServer({ server: http, perMessageDeflate: false });
  server.on('connection', (socket) => {
    socket.on('error', () => undefined);
    socket.on('message', (data, isBinary) => {
      socket.send(data, { binary: isBinary });
    });
  });
  const port = await listen(http);
  const close = async (): Promise<void> => {
    for (const client of server.clients) client.terminate();
    http.close();
  };
  const sockets = (): number => server.clients.size;
  return { port, sessions: () => 0, sockets, close };
}

/** Serves the only page, if there is one. */
function createSite(site: Site | undefined): HttpServer {
  return createServer((req, res) => {
    if (site === undefined || req.url !== '/') res.writeHead(404).end();
    else res.setHeader('Content-Type', 'text/html').end(site.html);
  });
}

async function listen(http: HttpServer): Promise<number> {
  await new Promise<void>((resolve) => http.listen(0, '127.0.0.1', resolve));
  return (http.address() as AddressInfo).port;
}

async function startSocketIO(): Promise<Running> {
  const http = createServer();
  const io = new SocketIO(http, {
    transports: ['websocket'],
    perMessageDeflate: false,
    connectionStateRecovery: { maxDisconnectionDuration: GRACE_MS },
  });
  io.on('connection', (socket) => {
    socket.on('echo', (data: unknown, done: (data: unknown) => void) => {
      done(data);
    });
  });
  const port = await listen(http);
  const close = async (): Promise<void> => {
    await io.close();
  };
  const sockets = (): number => io.engine.clientsCount;
  return { port, sessions: () => 0, sockets, close };
}

async function startWebgram(
  { frames, commits }: ServerSpec & { kind: 'webgram' },
  site: Site | undefined,
): Promise<Running> {
  const db = path.join(await makeFolder(), 'db');
  const store = new LevelStore(db);
  if (commits === 'each') writeEachByItself(store);
  const plenty = 1e9;
  const http = createSite(site);
  const server = new Server({
    store,
    keyFile: `${db}.key`,
    server: http,
    retention: { streamGraceMs: GRACE_MS },
    limits: {
      createBurst: plenty,
      createsPerMinute: plenty,
      maxUnproved: plenty,
      ...(frames === 'each' ? { tickFrameBytes: 1 } : {}),
    },
    ...(site === undefined ? {} : { browserFolder: site.scripts }),
    manualStart: true,
  });
  server.answer['echo'] = (_conn, data): unknown => data;
  server.answer['count'] = async (conn) => {
    const count = Number(conn.sessionData['count'] ?? 0) + 1;
    conn.sessionData['count'] = count;
    await conn.save();
    return count;
  };
  server.answer['login'] = (conn, name) => conn.login(String(name));
  server.answer['handshakes'] = () => handshakes;
  await server.start();
  let handshakes = 0;
  intercept(http, {
    request: () => false,
    upgrade: () => {
      handshakes += 1;
      return false;
    },
  });
  return {
    port: await listen(http),
    sessions: () => server.sessions.live.size,
    sockets: () => server.sockets,
    close: async () => {
      await server.close();
      http.close();
    },
  };
}

/** Takes the group commit away, to see what it is good for. */
function writeEachByItself(store: LevelStore): void {
  const commit = store.commit.bind(store);
  let last: Promise<unknown> = Promise.resolve();
  store.commit = (whole) => {
    const written = last.then(() => commit(whole));
    last = written.catch(() => undefined);
    return written;
  };
}

async function memory(): Promise<Memory> {
  for (let n = 0; n < 5; n += 1) {
    globalThis.gc?.();
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  const { rss, heapUsed } = process.memoryUsage();
  return { rss, heapUsed, sessions: running?.sessions() ?? 0, sockets: running?.sockets() ?? 0 };
}

async function put(count: number, bytes: number): Promise<Done> {
  const db = new ClassicLevel(path.join(await makeFolder(), 'puts'));
  await db.open();
  const value = 'x'.repeat(bytes);
  const startedMs = performance.now();
  const before = process.cpuUsage();
  for (let n = 0; n < count; n += 1) await db.put(`key-${n % 1_000}`, value, { sync: true });
  const seconds = (performance.now() - startedMs) / 1_000;
  const { user, system } = process.cpuUsage(before);
  await db.close();
  return { operations: count, seconds, microseconds: user + system };
}

let inspector: Session | undefined;

async function beginProfile(): Promise<void> {
  inspector = new Session();
  inspector.connect();
  await inspector.post('Profiler.enable');
  await inspector.post('Profiler.start');
}

async function endProfile(file: string): Promise<void> {
  const { profile } = await inspector!.post('Profiler.stop');
  inspector!.disconnect();
  await mkdir(path.dirname(file), { recursive: true });
  await writeFile(file, JSON.stringify(profile));
}

async function makeFolder(): Promise<string> {
  folder ??= await mkdtemp(path.join(tmpdir(), 'webgram-bench-'));
  return mkdtemp(path.join(folder, 'db-'));
}

import type { Asker } from './clients/asker.ts';
import { connectSocketIO } from './clients/socket-io.ts';
import { connectWebgram, newIdentity, type Identity } from './clients/webgram.ts';
import { connectWs } from './clients/ws.ts';
import { serve } from './process.ts';
import type { Done, LoadSpec, ServerSpec, ToLoad } from './subjects.ts';

/** At most so many connections are opened at the same time. */
const IN_FLIGHT = 64;

/** Kept from one run to the next: connections, and identities to resume with. */
const kept: Asker[] = [];
const identities: Identity[] = [];

serve<ToLoad>(
  ({ server, port, load }) => run(server, port, load),
  async () => undefined,
);

async function run(server: ServerSpec, port: number, load: LoadSpec): Promise<Done> {
  switch (load.kind) {
    case 'connect':
      return connects(server, port, load);
    case 'ask':
      return asks(server, port, load);
    case 'hold': {
      const started = begin();
      const connect = async (): Promise<void> => {
        const asker = await open(server, port, newIdentity());
        // So that there is a tab, with a stream.
        if (server.kind !== 'ws') await new Promise<void>((done) => asker.ask('echo', 'x', done));
        kept.push(asker);
      };
      await inFlight(load.count, IN_FLIGHT, connect);
      return done(load.count, started);
    }
    case 'drop': {
      const started = begin();
      const count = kept.length;
      for (const asker of kept.splice(0)) asker.cut();
      return done(count, started);
    }
    case 'put':
      throw new TypeError('the server does that to itself');
  }
}

function open(server: ServerSpec, port: number, identity: Identity): Promise<Asker> {
  switch (server.kind) {
    case 'ws':
      return connectWs(port);
    case 'socket.io':
      return connectSocketIO(port);
    case 'webgram':
      return connectWebgram(port, identity, server.frames);
    case 'put':
      throw new TypeError('there is nothing to connect to');
  }
}

async function connects(
  server: ServerSpec,
  port: number,
  { count, inFlight: window, resume }: LoadSpec & { kind: 'connect' },
): Promise<Done> {
  // Keys are made before the clock runs, and sessions to resume in a run before this one.
  const isFirst = identities.length === 0;
  const own = resume ? identities : Array.from({ length: count }, newIdentity);
  if (resume && isFirst && server.kind === 'webgram') {
    for (let n = 0; n < count; n += 1) identities.push(newIdentity());
    await inFlight(count, window, async (n) => (await open(server, port, identities[n]!)).cut());
  }
  const started = begin();
  await inFlight(count, window, async (n) => {
    const asker = await open(server, port, own[n] ?? newIdentity());
    asker.cut();
  });
  return done(count, started);
}

async function asks(
  server: ServerSpec,
  port: number,
  { count, type, bytes, connections, window }: LoadSpec & { kind: 'ask' },
): Promise<Done> {
  while (kept.length < connections) kept.push(await open(server, port, newIdentity()));
  const data = 'x'.repeat(bytes);
  const started = begin();
  let left = count;
  let answered = 0;
  await new Promise<void>((resolve) => {
    for (const asker of kept) {
      const next = (): void => {
        if (left === 0) return;
        left -= 1;
        asker.ask(type, data, () => {
          answered += 1;
          if (answered === count) resolve();
          else next();
        });
      };
      for (let n = 0; n < window; n += 1) next();
    }
  });
  return done(count, started);
}

/** Does something so many times, so many at a time. */
async function inFlight(count: number, window: number, one: (n: number) => Promise<void>): Promise<void> {
  let at = 0;
  const lane = async (): Promise<void> => {
    while (at < count) {
      const n = at;
      at += 1;
      await one(n);
    }
  };
  await Promise.all(Array.from({ length: Math.min(window, count) }, lane));
}

interface Started {
  ms: number;
  cpu: NodeJS.CpuUsage;
}

function begin(): Started {
  return { ms: performance.now(), cpu: process.cpuUsage() };
}

function done(operations: number, { ms, cpu }: Started): Done {
  const { user, system } = process.cpuUsage(cpu);
  return { operations, seconds: (performance.now() - ms) / 1_000, microseconds: user + system };
}

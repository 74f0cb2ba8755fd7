import type { IncomingMessage } from 'node:http';
import { STATUS_CODES } from 'node:http';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { CLOSE, codecs, offeredView, subprotocolsOf, WebgramError, type Views } from 'webgram';
import { WebSocket, WebSocketServer, type ServerOptions } from 'ws';
import type { Place } from './address-limits.ts';
import { deviceOf } from './device.ts';
import { Link, type LinkContext, type LinkSocket } from './link.ts';
import { decideOrigin, isLoopbackAuthority, type Approach, type OriginPolicy } from './origins.ts';
import type { Peer, TrustedProxies } from './proxies.ts';

/** Every subprotocol there is, whatever this server is configured for. */
const ALL_SUBPROTOCOLS = [...subprotocolsOf(codecs, false), ...subprotocolsOf(codecs, true)];

/** What WebSocket framing may add to all that a stranger sends before the proof, in bytes. */
const FRAMING_BYTES = 1_024;
/** Fragments that a message may come in: many small ones take more memory than what is in them. */
const MAX_FRAGMENTS = 4_096;
/** Pieces that TCP may bring a frame in, for the same reason. */
const MAX_CHUNKS = 16_384;
/** How long a peer may take to answer a close, in ms. */
const CLOSE_TIMEOUT_MS = 5_000;
/** Refused origins and hosts that are named in the log, so that a flood does not fill it. */
const MAX_NAMED = 100;

export interface UpgradesOptions {
  /** Where the socket is. */
  path: string;
  policy: OriginPolicy;
  proxies: TrustedProxies;
  /** Only subprotocols whose frames are encrypted are spoken; otherwise only the others. */
  sealed: boolean;
  context: LinkContext;
}

/** `open` → `draining` → `closed`: sockets are taken only while it is open. */
type State = { name: 'open' } | { name: 'draining' } | { name: 'closed' };

/** Takes WebSocket upgrades: every check that comes before the 101, then one `Link` for each socket. */
export class Upgrades {
  readonly #options: UpgradesOptions;
  /** Those that this server speaks, best first. */
  readonly #subprotocols: readonly string[];
  readonly #wss: WebSocketServer;
  readonly #links = new Map<Link, WebSocket>();
  /** Refuses upgrades that wait for a place. */
  readonly #waiting = new Set<() => void>();
  readonly #named = new Set<string>();
  readonly #sweeper: NodeJS.Timeout;
  #state: State = { name: 'open' };
  #whenEmpty: (() => void) | undefined;

  constructor(options: UpgradesOptions) {
    this.#options = options;
    this.#subprotocols = subprotocolsOf(codecs, options.sealed);
    const { limits } = options.context;
    // The types of ws do not know closeTimeout yet.
    const serverOptions: ServerOptions & { closeTimeout: number } = {
      noServer: true,
      clientTracking: false,
      perMessageDeflate: false,
      maxPayload: limits.maxFrameBytes,
      maxFragments: MAX_FRAGMENTS,
      maxBufferedChunks: MAX_CHUNKS,
      handleProtocols: (offered) => this.#subprotocols.find((name) => offered.has(name)) ?? false,
      closeTimeout: CLOSE_TIMEOUT_MS,
    };
    this.#wss = new WebSocketServer(serverOptions);
    this.#sweeper = setInterval(
      () => {
        for (const link of this.#links.keys()) link.checkIdle();
      },
      Math.max(10, Math.min(5_000, limits.idleTimeoutMs / 8)),
    );
    this.#sweeper.unref();
  }

  /** Sockets that are open, proved or not. */
  get size(): number {
    return this.#links.size;
  }

  /** Upgrades that wait for a place. */
  get waiting(): number {
    return this.#waiting.size;
  }

  /** Whether an upgrade request is meant for us: our path, and a subprotocol of ours, whichever we are set to speak. */
  owns(req: IncomingMessage): boolean {
    return this.#isOurPath(req) && offersOneOf(req, ALL_SUBPROTOCOLS);
  }

  #isOurPath(req: IncomingMessage): boolean {
    return (req.url ?? '').split('?', 1)[0] === this.#options.path;
  }

  /** Tells a page, by plain HTTP, where the socket is and whether it would be refused there. */
  describe(req: IncomingMessage): { wsAddress: string; refused?: string } {
    const { policy, path, proxies } = this.#options;
    const approach = proxies.peerOf(req);
    // A request to the page's own server names no origin.
    const here = decideOrigin({ ...approach, origin: undefined }, { ...policy, allowNoOrigin: true });
    if (here.name === 'refused') return { wsAddress: path, refused: here.reason };
    const wsAddress = `${this.#schemeOf(approach, here.authority)}//${here.authority}${path}`;
    const decision = approach.origin === undefined ? here : decideOrigin(approach, policy);
    return decision.name === 'refused' ? { wsAddress, refused: decision.reason } : { wsAddress };
  }

  /** "" when a proxy in front of us may have ended TLS. */
  #schemeOf({ isSecure, isLocal }: Approach, authority: string): string {
    const { publicOrigin } = this.#options.policy;
    if (isSecure || publicOrigin?.startsWith('https:') === true) return 'wss:';
    return publicOrigin !== undefined || (isLocal && isLoopbackAuthority(authority)) ? 'ws:' : '';
  }

  /** Takes or refuses one upgrade request. Never throws; errors of the socket end here. */
  handle(req: IncomingMessage, socket: Duplex, head: Buffer): void {
    socket.on('error', ignore);
    try {
      this.#handle(req, socket, head);
    } catch (error) {
      this.#options.context.log.error({ error }, 'an upgrade failed');
      socket.destroy();
    }
  }

  /** Refuses upgrades from now on, and ends sockets that have not proved themselves. */
  drain(): void {
    if (this.#state.name !== 'open') return;
    this.#state = { name: 'draining' };
    for (const turnAway of [...this.#waiting]) turnAway();
    for (const link of this.#links.keys()) if (link.isUnproved) link.end('draining', CLOSE.draining);
  }

  /** Waits for all sockets to close, and ends those that have not within `deadlineMs`. */
  async close(deadlineMs: number): Promise<void> {
    this.drain();
    this.#state = { name: 'closed' };
    clearInterval(this.#sweeper);
    for (const link of this.#links.keys()) link.end('draining', CLOSE.draining);
    if (this.#links.size === 0) return;
    await new Promise<void>((resolve) => {
      const deadline = setTimeout(() => {
        for (const ws of this.#links.values()) ws.terminate();
      }, deadlineMs);
      this.#whenEmpty = () => {
        clearTimeout(deadline);
        resolve();
      };
    });
  }

  #handle(req: IncomingMessage, socket: Duplex, head: Buffer): void {
    if (this.#state.name !== 'open')
      return refuse(socket, 503, 'the server is closing', { 'Retry-After': '1' });
    if (!this.#isOurPath(req)) return refuse(socket, 404);
    if (!offersOneOf(req, this.#subprotocols)) {
      const text = `a client must offer one of the subprotocols ${this.#subprotocols.join(', ')}`;
      return refuse(socket, 426, text, { Upgrade: 'websocket' });
    }
    const peer = this.#options.proxies.peerOf(req);
    const decision = decideOrigin(peer, this.#options.policy);
    if (decision.name === 'refused') {
      this.#name('refused', decision.reason, peer);
      return refuse(socket, 403, decision.reason);
    }
    if (decision.isOtherLoopback) this.#name('loopback', decision.origin, peer);
    this.#admit(peer, socket, (place) => {
      // The 101 and the hello.
      writeTogether(socket);
      this.#wss.handleUpgrade(req, socket, head, (ws) => {
        const { origin, authority } = decision;
        const views: Views = { origin, authority, offered: offeredOf(req), chosen: ws.protocol };
        this.#open(ws, req, peer, views, place);
      });
    });
  }

  /** Waits for a place among the sockets of that address that have not proved themselves. */
  #admit({ ip }: Peer, socket: Duplex, enter: (place: Place) => void): void {
    const { addresses, limits } = this.#options.context;
    const place = addresses.placeFor(ip);
    const leave = (): void => {
      clearTimeout(patience);
      this.#waiting.delete(turnAway);
      place.leave();
    };
    const turnAway = (status = 503): void => {
      leave();
      refuse(socket, status, 'too many sockets that have not proved themselves', { 'Retry-After': '1' });
    };
    const patience = setTimeout(turnAway, limits.handshakeTimeoutMs);
    this.#waiting.add(turnAway);
    // Also where ws refuses by itself.
    socket.once('close', leave);
    const mayWait = place.wait(() => {
      clearTimeout(patience);
      this.#waiting.delete(turnAway);
      // That listener stays as long as the socket, and would keep the whole request.
      socket.off('close', leave);
      socket.once('close', leaving(place));
      enter(place);
    });
    if (!mayWait) turnAway(429);
  }

  #open(ws: WebSocket, req: IncomingMessage, { ip, port }: Peer, views: Views, place: Place): void {
    const raw = req.socket;
    const address = [ip, port] as const;
    const device = deviceOf(req.headers['user-agent']);
    const { context } = this.#options;
    const { maxHandshakeBytes, maxEarlyBytes } = context.limits;
    let budget = maxHandshakeBytes + maxEarlyBytes + FRAMING_BYTES;
    const count = (chunk: Buffer): void => {
      budget -= chunk.length;
      if (budget >= 0) return;
      raw.removeListener('data', count);
      link.fail(
        new WebgramError('WEBGRAM_FRAME_TOO_LARGE', 'too much came before the proof', { received: true }),
      );
    };
    const wsSocket = new WsSocket(ws, raw);
    const link = new Link(context, {
      socket: wsSocket,
      address,
      device,
      proved: () => {
        wsSocket.isProved = true;
        raw.removeListener('data', count);
        place.leave();
      },
    });
    place.evict = () => link.evict();
    // Before ws has parsed it; what came behind the request is read again from here.
    raw.prependListener('data', count);
    this.#links.set(link, ws);
    ws.on('message', (data, isBinary) => {
      link.receive(data as Buffer, isBinary);
    });
    ws.on('error', (error) => {
      // ws closes by itself, with the code that RFC 6455 has for it.
      context.log.debug({ address: address[0], error }, 'a socket failed');
    });
    ws.on('close', () => {
      this.#links.delete(link);
      link.socketClosed();
      if (this.#links.size === 0) this.#whenEmpty?.();
    });
    link.start(views);
  }

  /** Says once what the operator should know. */
  #name(what: 'refused' | 'loopback', text: string, { ip }: Peer): void {
    const key = `${what} ${text}`;
    if (this.#named.has(key) || this.#named.size >= MAX_NAMED) return;
    this.#named.add(key);
    const { log } = this.#options.context;
    if (what === 'refused') log.warn({ address: ip }, `refused: ${text}`);
    else if (![...this.#named].some((other) => other !== key && other.startsWith('loopback '))) {
      const why = 'pages of this machine may use a server on this machine, at any port';
      log.warn({}, `taken: a page of ${text}, because ${why} (said once)`);
    }
  }
}

function offeredOf(req: IncomingMessage): string {
  return offeredView(req.headers['sec-websocket-protocol'] ?? '');
}

function offersOneOf(req: IncomingMessage, subprotocols: readonly string[]): boolean {
  return offeredOf(req)
    .split(',')
    .some((name) => subprotocols.includes(name));
}

function leaving(place: Place): () => void {
  return () => {
    place.leave();
  };
}

/** There is one for every session that is online, so its methods are not made anew for each. */
class WsSocket implements LinkSocket {
  readonly #ws: WebSocket;
  readonly #raw: Socket;
  isProved = false;

  constructor(ws: WebSocket, raw: Socket) {
    this.#ws = ws;
    this.#raw = raw;
  }

  send(data: string | Uint8Array): void {
    if (this.#ws.readyState !== WebSocket.OPEN) return;
    // The answer to a proof, and what the session says first.
    if (!this.isProved) writeTogether(this.#raw);
    this.#ws.send(data, ignore);
  }

  close(code: number, reason: string): void {
    this.#ws.close(code, reason);
  }

  terminate(): void {
    this.#ws.terminate();
  }

  pause(): void {
    this.#ws.pause();
  }

  resume(): void {
    this.#ws.resume();
  }
}

/** What is written until this turn of the event loop ends goes out with one call of the system. */
function writeTogether(socket: Duplex): void {
  socket.cork();
  setImmediate(() => {
    socket.uncork();
  });
}

/** Answers an upgrade with a status and one line, then closes. */
function refuse(
  socket: Duplex,
  status: number,
  text = STATUS_CODES[status] ?? '',
  headers: Record<string, string> = {},
): void {
  const body = `${text}\n`;
  const lines = Object.entries({
    Connection: 'close',
    'Content-Type': 'text/plain; charset=utf-8',
    'Content-Length': String(Buffer.byteLength(body)),
    'X-Content-Type-Options': 'nosniff',
    ...headers,
  }).map(([name, value]) => `${name}: ${value}\r\n`);
  socket.once('finish', () => socket.destroy());
  socket.end(`HTTP/1.1 ${status} ${STATUS_CODES[status] ?? ''}\r\n${lines.join('')}\r\n${body}`);
}

function ignore(): void {
  // The close that follows says it all.
}

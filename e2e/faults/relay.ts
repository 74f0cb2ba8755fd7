import { createServer, type IncomingMessage, type Server } from 'node:http';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import type { Duplex } from 'node:stream';
import { WebSocket, WebSocketServer } from 'ws';

/** One WebSocket message. */
export type Message = string | Uint8Array<ArrayBuffer>;

/**
 * What comes in the place of a message: itself, nothing, or several.
 *
 * @param n Messages of that direction before it on this socket; handshake frames count.
 */
export type Change = (message: Message, n: number, link: RelayedLink) => readonly Message[];

const pass: Change = (message) => [message];

/** One client's socket and the one to the server that stands for it. */
export interface RelayedLink {
  readonly client: WebSocket;
  readonly server: WebSocket;
  /** Ends both without a word. */
  cut(): void;
}

/**
 * Somebody in between who ends TLS: takes WebSockets, opens one to the server for each, and hands messages on, both
 * ways, changed at will.
 */
export class Relay {
  readonly links: RelayedLink[] = [];
  /** Messages to the server. */
  up: Change = pass;
  /** Messages to the client. */
  down: Change = pass;
  /** What the server is told that the client has offered. */
  offer: (protocols: string[]) => string[] = (protocols) => protocols;
  /** What the client is told that the server has chosen. */
  chosen: (protocol: string) => string = (protocol) => protocol;
  /** Headers of the request to the server, besides `Host` and `Origin` as they came. */
  headers: Record<string, string> = {};
  readonly #http: Server;
  readonly #target: string;

  private constructor(http: Server, target: string) {
    this.#http = http;
    this.#target = target;
    http.on('upgrade', (request, socket, head) => {
      this.#upgrade(request, socket, head).catch(() => socket.destroy());
    });
  }

  /** @param target WebSocket address of the server. */
  static async start(target: string): Promise<Relay> {
    const http = createServer();
    http.listen(0, '127.0.0.1');
    await once(http, 'listening');
    return new Relay(http, target);
  }

  get address(): string {
    return `ws://127.0.0.1:${(this.#http.address() as AddressInfo).port}/`;
  }

  async close(): Promise<void> {
    for (const link of this.links) link.cut();
    this.#http.close();
    await once(this.#http, 'close');
  }

  async #upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): Promise<void> {
    const { host, origin, 'sec-websocket-protocol': offered = '' } = request.headers;
    const protocols = this.offer(offered.split(',').map((name) => name.trim()));
    const headers = { Host: host!, ...(origin === undefined ? {} : { Origin: origin }), ...this.headers };
    const server = new WebSocket(this.#target, protocols, { headers, perMessageDeflate: false });
    const waiting: (() => void)[] = [];
    let forward = (step: () => void): void => void waiting.push(step);
    const fromServer = (listener: (data: Buffer, isBinary: boolean) => void): void => {
      server.on('message', (data: Buffer, isBinary: boolean) => {
        forward(() => {
          listener(data, isBinary);
        });
      });
    };
    let heard: (data: Buffer, isBinary: boolean) => void = () => undefined;
    fromServer((data, isBinary) => {
      heard(data, isBinary);
    });
    await once(server, 'open');
    const wss = new WebSocketServer({
      noServer: true,
      perMessageDeflate: false,
      handleProtocols: () => this.chosen(server.protocol),
    });
    wss.handleUpgrade(request, socket, head, (client) => {
      const link = { client, server, cut: () => [client, server].forEach((end) => end.terminate()) };
      this.links.push(link);
      let [ups, downs] = [0, 0];
      const hand = (change: Change, data: Buffer, isBinary: boolean, n: number, to: WebSocket): void => {
        const message = isBinary ? new Uint8Array(data) : data.toString();
        for (const changed of change(message, n, link)) to.send(changed);
      };
      heard = (data, isBinary) => {
        hand(this.down, data, isBinary, downs++, client);
      };
      client.on('message', (data: Buffer, isBinary: boolean) => {
        hand(this.up, data, isBinary, ups++, server);
      });
      joinEnds(client, server);
      joinEnds(server, client);
      forward = (step) => {
        step();
      };
      for (const step of waiting.splice(0)) step();
    });
  }
}

/** What ends one end ends the other, with the same code where there is one. */
function joinEnds(from: WebSocket, to: WebSocket): void {
  from.on('error', () => undefined);
  from.on('close', (code: number, reason: Buffer) => {
    if (code === 1005 || code === 1006) to.terminate();
    else to.close(code, reason);
  });
}

import { createServer, connect, type AddressInfo, type Socket } from 'node:net';
import { once } from 'node:events';
import { Recording } from './recording.ts';

/**
 * What a proxy does with bytes and connections.
 *
 * - `pass`: hands everything on.
 * - `refuse`: resets every new connection; open ones live on.
 * - `stall`: a black hole. Takes connections and bytes and hands nothing on, either way; nothing ever closes.
 * - `stall-websockets`: the same for WebSockets only, so that pages still load.
 */
export type ProxyMode = 'pass' | 'refuse' | 'stall' | 'stall-websockets';

export interface ProxyOptions {
  /** Port on 127.0.0.1. Default any free one. */
  port?: number;
  /** Where the server listens, on 127.0.0.1. Read for every connection. */
  target: () => number;
}

/**
 * A TCP proxy between browser and server that does harm on demand, and keeps what it has seen.
 *
 * Needed because `context.setOffline` does not touch the socket of a SharedWorker.
 */
export class FaultProxy {
  readonly port: number;
  /** Every connection that came, in order; those that became WebSockets have `isWebSocket`. */
  readonly recordings: Recording[] = [];
  /** Bytes that leave at once; larger chunks are cut into such slices. Default: as they came. */
  sliceBytes = Number.POSITIVE_INFINITY;
  /** How long each slice is held back, in ms. */
  delayMs = 0;
  #mode: ProxyMode = 'pass';
  readonly #open = new Set<Pipe>();
  readonly #server: ReturnType<typeof createServer>;

  private constructor(server: ReturnType<typeof createServer>, target: () => number) {
    this.#server = server;
    this.port = (server.address() as AddressInfo).port;
    server.on('connection', (client) => {
      if (this.#mode === 'refuse') {
        client.resetAndDestroy();
        return;
      }
      const recording = new Recording();
      this.recordings.push(recording);
      const pipe = new Pipe(client, target, recording, this);
      this.#open.add(pipe);
      client.once('close', () => this.#open.delete(pipe));
    });
  }

  static async start({ port = 0, target }: ProxyOptions): Promise<FaultProxy> {
    const server = createServer({ allowHalfOpen: true, noDelay: true });
    server.listen(port, '127.0.0.1');
    await once(server, 'listening');
    return new FaultProxy(server, target);
  }

  /** Address of pages behind it. */
  get url(): string {
    return `http://127.0.0.1:${this.port}/`;
  }

  get mode(): ProxyMode {
    return this.#mode;
  }

  set mode(mode: ProxyMode) {
    this.#mode = mode;
    for (const pipe of this.#open) pipe.flush();
  }

  stalls(recording: Recording): boolean {
    return this.#mode === 'stall' || (this.#mode === 'stall-websockets' && recording.isWebSocket);
  }

  /** Bytes that came so far, both ways. */
  get bytes(): number {
    return this.recordings.reduce((sum, { length }) => sum + length, 0);
  }

  /** WebSockets that are open now. */
  get openWebSockets(): number {
    return [...this.#open].filter(({ recording }) => recording.isWebSocket).length;
  }

  /** WebSockets that were ever opened. */
  get webSockets(): Recording[] {
    return this.recordings.filter(({ isWebSocket }) => isWebSocket);
  }

  /** Resets every open connection; browsers see 1006 at once. */
  cut(): void {
    for (const pipe of this.#open) pipe.destroy();
  }

  async close(): Promise<void> {
    this.cut();
    this.#server.close();
    await once(this.#server, 'close');
  }
}

/** One connection, both ways. */
class Pipe {
  readonly recording: Recording;
  readonly #proxy: FaultProxy;
  readonly #client: Socket;
  readonly #server: Socket;
  /** What is held back, in order. `null` is the end of that direction. */
  readonly #held: { to: Socket; data: Buffer | null }[] = [];
  #isSending = false;

  constructor(client: Socket, target: () => number, recording: Recording, proxy: FaultProxy) {
    this.recording = recording;
    this.#proxy = proxy;
    this.#client = client;
    this.#server = connect({ port: target(), host: '127.0.0.1', allowHalfOpen: true, noDelay: true });
    this.#forward(client, this.#server, (data) => recording.add('client', data));
    this.#forward(this.#server, client, (data) => recording.add('server', data));
    for (const socket of [client, this.#server]) {
      // A reset of one end is a reset of the other, unless nothing gets through.
      socket.on('error', () => this.#isStalled || this.destroy());
      socket.on('close', () => this.#isStalled || this.#endBoth());
    }
  }

  destroy(): void {
    this.#held.length = 0;
    this.#client.resetAndDestroy();
    this.#server.resetAndDestroy();
  }

  /** Sends what was held back. */
  flush(): void {
    if (!this.#isSending) void this.#send();
  }

  get #isStalled(): boolean {
    return this.#proxy.stalls(this.recording);
  }

  #forward(from: Socket, to: Socket, record: (data: Buffer) => void): void {
    from.on('data', (data: Buffer) => {
      record(data);
      this.#hold(to, data);
    });
    from.on('end', () => this.#hold(to, null));
  }

  #hold(to: Socket, data: Buffer | null): void {
    this.#held.push({ to, data });
    this.flush();
  }

  async #send(): Promise<void> {
    this.#isSending = true;
    while (!this.#isStalled) {
      const next = this.#held.shift();
      if (next === undefined) break;
      const { to, data } = next;
      if (data === null) {
        to.end();
        continue;
      }
      const { sliceBytes, delayMs } = this.#proxy;
      for (let at = 0; at < data.length; at += sliceBytes) {
        if (delayMs > 0) await new Promise((resolve) => setTimeout(resolve, delayMs));
        to.write(data.subarray(at, at + sliceBytes));
      }
    }
    this.#isSending = false;
  }

  #endBoth(): void {
    this.#client.end();
    this.#server.end();
  }
}

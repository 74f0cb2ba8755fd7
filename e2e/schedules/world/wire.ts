import type { Bytes } from 'webgram';
import type { LinkSocket } from '../../../server/link.ts';
import type { Socket } from '../../../worker/host/platform.ts';
import type { Actor, Step } from './actor.ts';

type Passing = { open: true } | { data: string } | { close: number; reason: string };

/** What a node does with a socket that was opened to it. */
export interface Accepted {
  receive(data: string): void;
  closed(): void;
}

/** One WebSocket between a host and a node: what passes in a direction stays in order, until it is cut. */
export class Wire {
  readonly n: number;
  readonly host: Actor;
  readonly #up: Passing[] = [];
  readonly #down: Passing[] = [];
  #node: Actor | undefined;
  #accepted: Accepted | undefined;
  /** Neither end hears of the other any more, and none is told. */
  #isHalfOpen = false;
  #clientHasClosed = false;
  #serverHasClosed = false;
  #isPaused = false;
  /** There are as many as frames, so they are made once. */
  #upStep: Step | undefined;
  #downStep: Step | undefined;
  /** The host's end. */
  readonly socket: Socket;
  /** The node's end. */
  readonly linkSocket: LinkSocket;

  /** @param sees What the node sends, before it is on its way. */
  constructor(n: number, host: Actor, sees: (wire: Wire, data: string) => void) {
    this.n = n;
    this.host = host;
    this.socket = {
      binaryType: '',
      protocol: 'webgram.2.json',
      onopen: null,
      onmessage: null,
      onclose: null,
      onerror: null,
      send: (data: string | Bytes) => {
        if (!this.#clientHasClosed) this.#post(this.#up, { data: asText(data) });
      },
      close: () => {
        if (this.#clientHasClosed) return;
        this.#clientHasClosed = true;
        this.#down.length = 0;
        this.#post(this.#up, { close: 1005, reason: '' });
      },
    };
    const closeFromServer = (close: number, reason: string): void => {
      if (this.#serverHasClosed) return;
      this.#serverHasClosed = true;
      this.#post(this.#down, { close, reason });
    };
    this.linkSocket = {
      send: (data) => {
        if (this.#serverHasClosed || this.#node?.isAlive !== true) return;
        sees(this, asText(data));
        this.#post(this.#down, { data: asText(data) });
      },
      close: closeFromServer,
      terminate: () => {
        closeFromServer(1006, '');
      },
      pause: () => {
        this.#isPaused = true;
      },
      resume: () => {
        this.#isPaused = false;
      },
    };
  }

  /** The node at its other end; `undefined` while it opens. */
  get node(): Actor | undefined {
    return this.#node;
  }

  /** It can still be cut. */
  get isUp(): boolean {
    return !this.#isHalfOpen && !this.#clientHasClosed && !this.#serverHasClosed;
  }

  /** Nothing passes any more. */
  get isOver(): boolean {
    const isClientDone = this.#clientHasClosed || !this.host.isAlive;
    const isServerDone = this.#serverHasClosed || this.#node?.isAlive === false;
    return isClientDone && isServerDone && (this.#up.length === 0 || this.#accepted === undefined);
  }

  accept(node: Actor, accepted: Accepted): void {
    this.#node = node;
    this.#accepted = accepted;
    this.#post(this.#down, { open: true });
  }

  /** There is nobody to answer. */
  refuse(): void {
    this.#serverHasClosed = true;
    this.#post(this.#down, { close: 1006, reason: '' });
  }

  /** Both ends are told; what was under way is lost from there on. */
  cut(upKept: number, downKept: number): void {
    this.#up.length = Math.min(this.#up.length, upKept);
    this.#down.length = Math.min(this.#down.length, downKept);
    if (!this.#clientHasClosed) this.#down.push({ close: 1006, reason: '' });
    if (!this.#serverHasClosed) this.#up.push({ close: 1006, reason: '' });
    this.#isHalfOpen = true;
  }

  /** No end is told, and nothing arrives any more. */
  halfOpen(): void {
    this.#up.length = this.#down.length = 0;
    this.#isHalfOpen = true;
  }

  /** The host has died: the node is told by its operating system. */
  hostDied(): void {
    if (this.#clientHasClosed) return;
    this.#clientHasClosed = true;
    this.#post(this.#up, { close: 1006, reason: '' });
  }

  /** The node has died: what it had sent still arrives, then the host is told. */
  nodeDied(): void {
    this.#up.length = 0;
    if (this.#serverHasClosed) return;
    this.#serverHasClosed = true;
    this.#post(this.#down, { close: 1006, reason: '' });
  }

  get passing(): [up: number, down: number] {
    return [this.#up.length, this.#down.length];
  }

  addSteps(steps: Step[]): void {
    const node = this.#node;
    const { host } = this;
    if (this.#up.length > 0 && node?.isAlive === true && !node.isFrozen && !this.#isPaused) {
      steps.push((this.#upStep ??= this.#stepOf(node, this.#up, this.#arrivesUp)));
    }
    if (this.#down.length > 0 && host.isAlive && !host.isFrozen && !this.#clientHasClosed) {
      steps.push((this.#downStep ??= this.#stepOf(host, this.#down, this.#arrivesDown)));
    }
  }

  #stepOf(actor: Actor, queue: Passing[], arrives: (passing: Passing) => void): Step {
    return {
      actor,
      what: `gets a frame of link ${this.n}`,
      content: () => JSON.stringify(queue[0]),
      run: () => {
        const passing = queue.shift();
        if (passing !== undefined) arrives(passing);
      },
    };
  }

  readonly #arrivesUp = (passing: Passing): void => {
    if ('data' in passing) this.#accepted?.receive(passing.data);
    else if ('close' in passing) {
      this.#serverHasClosed = true;
      this.#accepted?.closed();
    }
  };

  readonly #arrivesDown = (passing: Passing): void => {
    const { socket } = this;
    if ('open' in passing) socket.onopen?.();
    else if ('data' in passing) socket.onmessage?.({ data: passing.data });
    else {
      this.#clientHasClosed = true;
      socket.onclose?.({ code: passing.close, reason: passing.reason });
    }
  };

  #post(queue: Passing[], passing: Passing): void {
    if (!this.#isHalfOpen) queue.push(passing);
  }
}

function asText(data: string | Uint8Array): string {
  if (typeof data !== 'string') throw new TypeError('the schedules speak webgram.2.json');
  return data;
}

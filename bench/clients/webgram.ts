import { WebSocket } from 'ws';
import {
  ClientHandshake,
  FrameReader,
  FrameWriter,
  jsonCodec,
  parseDown,
  START,
  TickBatcher,
  toBase64url,
} from 'webgram';
import type { DownEnvelope, Intent, Position } from 'webgram';
import { nodeCrypto, NodeSigningKey } from '../../server/node-crypto.ts';
import type { Asker } from './asker.ts';

const PROTOCOL = jsonCodec.subprotocol;

/** A key, and its session once it has one. */
export interface Identity {
  key: NodeSigningKey;
  sessionID: number | undefined;
}

export function newIdentity(): Identity {
  return { key: NodeSigningKey.generate(), sessionID: undefined };
}

/** Connects, and creates or resumes the session of the identity. Resolves when the server has proved itself. */
export async function connectWebgram(
  port: number,
  identity: Identity,
  frames: 'tick' | 'each',
): Promise<Asker> {
  const authority = `127.0.0.1:${port}`;
  const socket = new WebSocket(`ws://${authority}/`, [PROTOCOL], { perMessageDeflate: false });
  const texts = new Texts(socket);
  const handshake = new ClientHandshake({
    crypto: nodeCrypto,
    views: { origin: '', authority, offered: PROTOCOL, chosen: PROTOCOL },
  });
  const { maxFrameBytes } = handshake.receiveHello(await texts.next());
  const { sessionID } = identity;
  const intent: Intent =
    sessionID === undefined ? { kind: 'create', fromClient: null } : { kind: 'resume', sessionID };
  const { proof, keys } = await handshake.prove(identity.key, intent);
  socket.send(proof);
  const answer = await handshake.receiveAnswer(await texts.next());
  if (answer.kind !== 'ok') throw new Error(`denied: ${answer.code}`);
  identity.sessionID = answer.sessionID;
  const failed = (error: unknown): void => {
    throw error;
  };
  const writer = new FrameWriter({
    key: keys.send,
    sender: 'client',
    codec: jsonCodec,
    maxFrameBytes,
    output: (frame) => {
      socket.send(frame);
    },
    failed,
  });
  const batcher = new TickBatcher({
    writer,
    schedule: (flush) => {
      process.nextTick(flush);
    },
    tickFrameBytes: frames === 'tick' ? 32_768 : 1,
  });
  const tab = new LeanTab(batcher);
  const reader = new FrameReader<DownEnvelope>({
    crypto: nodeCrypto,
    key: keys.receive,
    sender: 'server',
    codec: jsonCodec,
    maxFrameBytes,
    parse: parseDown,
    deliver: (envelopes) => {
      for (const envelope of envelopes) tab.receive(envelope);
    },
    failed,
  });
  texts.pipe((text) => {
    reader.receive(text);
  });
  return {
    ask(type, data, done) {
      tab.ask(type, data, done);
    },
    cut() {
      socket.terminate();
    },
  };
}

/** As little of a tab's stream as can ask; attached when it first does. */
class LeanTab {
  readonly #batcher: TickBatcher;
  readonly #waiting = new Map<number, () => void>();
  #seq = 0;
  #received: Position = START;

  constructor(batcher: TickBatcher) {
    this.#batcher = batcher;
  }

  ask(type: string, data: string, done: () => void): void {
    if (this.#seq === 0) this.#attach();
    this.#seq += 1;
    this.#waiting.set(this.#seq, done);
    this.#batcher.send({ kind: 'ask', tab: 1, seq: this.#seq, ack: this.#received, type, args: [data] });
  }

  receive(envelope: DownEnvelope): void {
    if (envelope.kind !== 'answer') return;
    if (envelope.error !== null) throw new Error(envelope.error.message);
    this.#received = envelope.seq;
    const done = this.#waiting.get(envelope.asked);
    this.#waiting.delete(envelope.asked);
    done?.();
  }

  #attach(): void {
    this.#batcher.send({
      kind: 'attach',
      tab: 1,
      tabID: toBase64url(nodeCrypto.randomBytes(16)),
      counter: 1,
      received: START,
      oldest: 1,
      seen: { timeMs: 0, life: 0, commit: 0 },
      info: {},
    });
  }
}

/** Messages of a socket, waited for one by one during the handshake. */
class Texts {
  readonly #texts: string[] = [];
  #wake: (() => void) | undefined;
  #sink: ((text: string) => void) | undefined;
  #error: Error | undefined;

  constructor(socket: WebSocket) {
    socket.on('message', (data: Buffer) => {
      const text = data.toString();
      if (this.#sink !== undefined) this.#sink(text);
      else this.#texts.push(text);
      this.#wake?.();
    });
    const fail = (error: Error): void => {
      this.#error ??= error;
      this.#wake?.();
    };
    socket.on('error', fail);
    socket.on('close', (code, reason) => {
      fail(new Error(`the socket closed with ${code} ${reason.toString()}`));
    });
  }

  async next(): Promise<string> {
    while (this.#texts.length === 0) {
      if (this.#error !== undefined) throw this.#error;
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
    return this.#texts.shift()!;
  }

  pipe(sink: (text: string) => void): void {
    this.#sink = sink;
    for (const text of this.#texts.splice(0)) sink(text);
  }
}

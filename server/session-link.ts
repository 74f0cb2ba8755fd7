import type { DownEnvelope, Position } from 'webgram';

/** What a `LiveSession` sees of the link that serves it. */
export interface SessionLink {
  /** Counts the links of the session; the newer supersedes the older. */
  readonly generation: number;
  /** The link was opened by `session-create`: the visitor is here for the first time. */
  readonly isFirst: boolean;
  /** Address and port of the other end of the socket. */
  readonly address: readonly [ip: string, port: number];
  /** Queues one envelope for the frame of this tick. Does nothing when the link is down. */
  send(envelope: DownEnvelope): void;
  /**
   * Queues a send, ask or answer whose body was encoded when it was sent.
   *
   * @param ack Highest up that is handled for good.
   * @param asked The ask that an answer answers.
   * @param body JSON of the list that follows in the envelope: type and arguments, or error and value.
   */
  sendMessage(
    kind: 'send' | 'ask' | 'answer',
    tab: number,
    seq: Position,
    ack: number,
    asked: number | undefined,
    body: string,
  ): void;
  /** Says `bye [reason, …]` and closes. Idempotent. */
  end(reason: string, code: number, ...args: unknown[]): void;
  /** Stops and starts reading, when the session has more to do than it can hold. */
  pause(): void;
  resume(): void;
}

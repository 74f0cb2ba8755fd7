import type { DownEnvelope, EncodedBody, BodyCodec, Position } from 'webgram';
import type { WriteKey } from './link-renewal.ts';

/** What a `LiveSession` sees of the link that serves it. */
export interface SessionLink {
  /** Counts the links of the session; the newer supersedes the older. */
  readonly generation: number;
  /** The link was opened by `session-create`: the visitor is here for the first time. */
  readonly isFirst: boolean;
  /** Address and port of the other end of the socket. */
  readonly address: readonly [ip: string, port: number];
  /** What the link speaks: messages are encoded for it when they are sent. */
  readonly codec: BodyCodec;
  /** Generation of the link that has superseded this client, which still owns its identity. */
  readonly supersededBy: number | undefined;
  /** Pings the client. */
  probe(): void;
  /** It has answered `probe`: somebody is there. */
  readonly hasAnswered: boolean;
  /** Queues one envelope for the frame of this tick. Does nothing when the link is down. */
  send(envelope: DownEnvelope): void;
  /**
   * Queues a send, ask or answer whose body was encoded when it was sent, for this link or another.
   *
   * @param ack Highest up that is handled for good.
   * @param asked The ask that an answer answers.
   * @param body The list that follows in the envelope: type and arguments, or error and value.
   * @returns False when no frame of this link can hold it, as may be when it was sent for another codec.
   */
  sendMessage(
    kind: 'send' | 'ask' | 'answer',
    tab: number,
    seq: Position,
    ack: number,
    asked: number | undefined,
    body: EncodedBody,
  ): boolean;
  /** A renewal is open: its answer must be read, whatever else waits. */
  readonly isRenewing: boolean;
  /**
   * Asks the client for another key, has it written, tells the client, and ends the link.
   *
   * @throws {WebgramError} `WEBGRAM_CLOSED` when the link is or goes down, `WEBGRAM_TIMEOUT`,
   * `WEBGRAM_LOGIN_PENDING` while another one is open, `WEBGRAM_BAD_FRAME` when the client brings something else,
   * and what `write` throws.
   */
  renew(write: WriteKey): Promise<void>;
  /** Says `bye [reason, …]` and closes. Idempotent. */
  end(reason: string, code: number, ...args: unknown[]): void;
  /** Stops and starts reading, when the session has more to do than it can hold. */
  pause(): void;
  resume(): void;
}

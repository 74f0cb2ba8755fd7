/** Limits of the protocol and of one server or client. Each has its unit in its name. */
export interface Limits {
  /** Longest handshake frame, in bytes of UTF-8. Default 4 KiB. */
  maxHandshakeBytes: number;
  /** Time from the upgrade to the proof, in ms. Default 10 s. */
  handshakeTimeoutMs: number;
  /** Longest frame after the proof, tag included, in bytes. Default 1 MiB. */
  maxFrameBytes: number;
  /** What a client may send before the server has answered its proof, in bytes together. Default 32 KiB. */
  maxEarlyBytes: number;
  /** Where a frame of several envelopes is cut, in bytes; a larger envelope travels alone. Default 32 KiB. */
  tickFrameBytes: number;
  /** Unacknowledged messages per tab and direction, in bytes of encoded envelopes. Default 1 MiB. */
  maxUnackedBytes: number;
  /** Unacknowledged messages per tab and direction. Default 1,000. */
  maxUnackedCount: number;
  /** Tabs that one link carries. Default 256. */
  maxTabs: number;
  /** Messages of one session that wait for its handlers, over all its tabs. Default 4,096. */
  maxQueued: number;
  /** Silence after which the client sends a ping, in ms. Default 25 s. */
  pingMs: number;
  /** How long the client waits for the pong, in ms. Default 10 s. */
  pongTimeoutMs: number;
  /** Silence after which the server gives a link up, in ms. Default 75 s. */
  idleTimeoutMs: number;
  /** Longest life of one link, in ms. Default 1 h. */
  maxLinkMs: number;
  /** How long a client may take to bring another key, in ms. Default 30 s. */
  renewTimeoutMs: number;
  /** The `fromClient` object of a new session, in bytes of encoded JSON. Default 2 KiB. */
  maxFromClientBytes: number;
}

export const DEFAULT_LIMITS: Readonly<Limits> = Object.freeze({
  maxHandshakeBytes: 4_096,
  handshakeTimeoutMs: 10_000,
  maxFrameBytes: 1_048_576,
  maxEarlyBytes: 32_768,
  tickFrameBytes: 32_768,
  maxUnackedBytes: 1_048_576,
  maxUnackedCount: 1_000,
  maxTabs: 256,
  maxQueued: 4_096,
  pingMs: 25_000,
  pongTimeoutMs: 10_000,
  idleTimeoutMs: 75_000,
  maxLinkMs: 3_600_000,
  renewTimeoutMs: 30_000,
  maxFromClientBytes: 2_048,
});

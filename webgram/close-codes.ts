/**
 * WebSocket close codes in use (RFC 6455 section 7.4.2 leaves 4000 to 4999 to applications).
 *
 * They are hints for people and logs: whoever stands between the peers can forge them, so no state of an
 * identity depends on one. See PROTOCOL.md, "Closing".
 */
export const CLOSE = {
  normal: 1000,
  goingAway: 1001,
  tryLater: 1013,
  badFrame: 4400,
  handshake: 4401,
  badTag: 4402,
  policy: 4403,
  deadline: 4408,
  superseded: 4409,
  revoked: 4410,
  tooLarge: 4413,
  rate: 4429,
  draining: 4503,
} as const;

export type CloseCode = (typeof CLOSE)[keyof typeof CLOSE];

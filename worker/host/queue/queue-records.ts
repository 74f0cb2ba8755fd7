/** Version of the rows of a queue. Rows of a later version are left alone, and so is everything beside them. */
export const QUEUE_VERSION = 1;

/** A message that was promised to arrive. */
export interface QueuedMessage {
  version: typeof QUEUE_VERSION;
  /** Counts the messages of all identities at the address: their order. */
  n: number;
  /** The identity in whose session it is to be handled; `null` while the browser has none there. */
  localID: string | null;
  /** Its number in the stream of that identity; 0 without one. */
  seq: number;
  type: string;
  /** As they were sent: the link encodes them, by the codec that it has then. */
  args: unknown[];
  /** What they take encoded, in bytes, or a little more. */
  bytes: number;
  storedMs: number;
}

/** Which calls of one client were kept: a host that dies before its answer is asked again by the next one's tab. */
export interface KeptCalls {
  last: number;
  /** Calls up to `last` that were not. */
  missing: number[];
}

/** What the messages at one address have in common. */
export interface QueueHead {
  version: typeof QUEUE_VERSION;
  /** Grows with every write, so that a host which has read before another one's write finds out. */
  revision: number;
  /** `n` of the next message. */
  next: number;
  /** The stream of each identity: its name, and the number of its next message. By `localID`. */
  streams: Record<string, { tabID: string; next: number }>;
  /** By the Web Lock of the client; the one that has called last stands last. */
  clients: Record<string, KeptCalls>;
}

export const EMPTY_HEAD: QueueHead = {
  version: QUEUE_VERSION,
  revision: 0,
  next: 1,
  streams: {},
  clients: {},
};

/** All rows of one server address begin with this: those of its identities begin with the address itself. */
export function queuePrefix(address: string): string {
  return `queue ${address} `;
}

export function headKey(address: string): string {
  return `${queuePrefix(address)}head`;
}

/** Keys are in the order of the messages. */
export function messageKey(address: string, n: number): string {
  return `${queuePrefix(address)}message ${String(n).padStart(16, '0')}`;
}

/** @returns `newer` for a row of a later version, `undefined` for none or one that cannot be understood. */
export function parseHead(value: unknown): QueueHead | 'newer' | undefined {
  const row = parseVersioned(value);
  if (row === undefined || row === 'newer') return row;
  const { revision, next, streams, clients } = row;
  const isHead = isCount(revision) && isCount(next) && isRecord(streams) && isRecord(clients);
  return isHead ? (row as unknown as QueueHead) : undefined;
}

/** @returns `newer` for a row of a later version, `undefined` for none or one that cannot be understood. */
export function parseMessage(value: unknown): QueuedMessage | 'newer' | undefined {
  const row = parseVersioned(value);
  if (row === undefined || row === 'newer') return row;
  const { n, localID, seq, type, args, bytes, storedMs } = row;
  const isMessage =
    isCount(n) &&
    (localID === null || typeof localID === 'string') &&
    isCount(seq) &&
    typeof type === 'string' &&
    Array.isArray(args) &&
    isCount(bytes) &&
    typeof storedMs === 'number';
  return isMessage ? (row as unknown as QueuedMessage) : undefined;
}

function parseVersioned(value: unknown): Record<string, unknown> | 'newer' | undefined {
  if (!isRecord(value)) return undefined;
  const { version } = value;
  if (typeof version === 'number' && version > QUEUE_VERSION) return 'newer';
  return version === QUEUE_VERSION ? value : undefined;
}

export function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}

export function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** What one address may do before it has proved anything. */
export interface AddressRates {
  /** Sockets that have not proved themselves, per address; more of them wait before the 101. Default 50. */
  maxUnproved: number;
  /** New sessions that one address may make at once. Default 100. */
  createBurst: number;
  /** New sessions per minute and address, after the burst. Default 60. */
  createsPerMinute: number;
  /** Proofs that fail, per minute and address. Default 20. */
  failedProofsPerMinute: number;
}

export const DEFAULT_ADDRESS_RATES: Readonly<AddressRates> = Object.freeze({
  maxUnproved: 50,
  createBurst: 100,
  createsPerMinute: 60,
  failedProofsPerMinute: 20,
});

/** Addresses that are remembered; beyond it the ones that came first are forgotten. */
const MAX_ENTRIES = 50_000;
/** Upgrades of one address that wait for a place. */
const MAX_WAITING = 10_000;

/** A bucket that fills steadily and is emptied by what happens. */
class TokenBuckets {
  readonly #capacity: number;
  readonly #perMs: number;
  readonly #buckets = new Map<string, { tokens: number; atMs: number }>();

  constructor(capacity: number, perMinute: number) {
    this.#capacity = capacity;
    this.#perMs = perMinute / 60_000;
  }

  /** @returns Whether there was a token. */
  take(key: string): boolean {
    const tokens = this.#tokens(key);
    const isThere = tokens >= 1;
    this.#buckets.delete(key);
    this.#buckets.set(key, { tokens: isThere ? tokens - 1 : tokens, atMs: performance.now() });
    for (const oldest of this.#buckets.keys()) {
      if (this.#buckets.size <= MAX_ENTRIES) break;
      this.#buckets.delete(oldest);
    }
    return isThere;
  }

  isEmpty(key: string): boolean {
    return this.#tokens(key) < 1;
  }

  #tokens(key: string): number {
    const bucket = this.#buckets.get(key);
    if (bucket === undefined) return this.#capacity;
    return Math.min(this.#capacity, bucket.tokens + (performance.now() - bucket.atMs) * this.#perMs);
  }
}

/**
 * Counts what addresses do before they have proved anything. What has been proved is never counted, so that a
 * flood from an address does not keep its honest clients out for longer than it lasts.
 */
export class AddressLimits {
  readonly #rates: AddressRates;
  readonly #creates: TokenBuckets;
  readonly #failures: TokenBuckets;
  readonly #rooms = new Map<string, Room>();

  constructor(rates: AddressRates) {
    this.#rates = rates;
    this.#creates = new TokenBuckets(rates.createBurst, rates.createsPerMinute);
    this.#failures = new TokenBuckets(rates.failedProofsPerMinute, rates.failedProofsPerMinute);
  }

  /** Counts a new session. @returns Whether it may be made. */
  takeCreate(address: string): boolean {
    return this.#creates.take(groupOf(address));
  }

  /** Counts a proof that failed. `keyID` is that of a key which the store knows. */
  countFailure(address: string, keyID = ''): void {
    this.#failures.take(`${groupOf(address)} ${keyID}`);
  }

  /**
   * Whether proofs from this address have failed too often.
   *
   * Failures with a known key count against that key at that address only, so that strangers who share an
   * address with a client cannot keep it out.
   */
  hasFailedTooOften(address: string, keyID = ''): boolean {
    return this.#failures.isEmpty(`${groupOf(address)} ${keyID}`);
  }

  /** Returns what one socket needs until it has proved itself. */
  placeFor(address: string): Place {
    const group = groupOf(address);
    const known = this.#rooms.get(group);
    if (known !== undefined) return new Place(known);
    const room = new Room(this.#rates.maxUnproved, () => {
      if (this.#rooms.get(group) === room) this.#rooms.delete(group);
    });
    this.#rooms.set(group, room);
    return new Place(room);
  }
}

/** A place among the sockets of one address that have not proved themselves. */
export class Place {
  readonly #room: Room;
  #state: 'new' | 'waiting' | 'inside' | 'left' = 'new';
  #enter: (() => void) | undefined;

  constructor(room: Room) {
    this.#room = room;
  }

  /**
   * Calls `enter` when there is room: at once, or when another socket has left.
   *
   * @returns False when too many are waiting; then it is never called.
   */
  wait(enter: () => void): boolean {
    if (this.#room.isFull) return false;
    this.#state = 'waiting';
    this.#enter = enter;
    this.#room.waiting.push(this);
    this.#room.admit();
    return true;
  }

  /** @internal */
  admit(): void {
    this.#state = 'inside';
    this.#room.inside += 1;
    this.#enter?.();
  }

  /** Gives the place back, or stops waiting. Idempotent. */
  leave(): void {
    if (this.#state === 'left') return;
    const { waiting } = this.#room;
    if (this.#state === 'inside') this.#room.inside -= 1;
    if (this.#state === 'waiting') waiting.splice(waiting.indexOf(this), 1);
    this.#state = 'left';
    this.#room.admit();
  }
}

class Room {
  readonly waiting: Place[] = [];
  inside = 0;
  readonly #places: number;
  readonly #empty: () => void;

  constructor(places: number, empty: () => void) {
    this.#places = places;
    this.#empty = empty;
  }

  get isFull(): boolean {
    return this.inside >= this.#places && this.waiting.length >= MAX_WAITING;
  }

  /** Lets in whoever came last: those who came before may have given up. */
  admit(): void {
    while (this.inside < this.#places && this.waiting.length > 0) this.waiting.pop()?.admit();
    if (this.inside === 0 && this.waiting.length === 0) this.#empty();
  }
}

/** One customer's addresses: an IPv4 address, the first 64 bits of an IPv6 address. */
function groupOf(address: string): string {
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(address)?.[1];
  if (mapped !== undefined) return mapped;
  if (!address.includes(':')) return address;
  const [head = '', tail] = address.split('%', 1)[0]!.split('::');
  const groups = head === '' ? [] : head.split(':');
  const rest = tail === undefined || tail === '' ? [] : tail.split(':');
  const missing = tail === undefined ? 0 : 8 - groups.length - rest.length;
  return [...groups, ...Array<string>(Math.max(0, missing)).fill('0'), ...rest].slice(0, 4).join(':');
}

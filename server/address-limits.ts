/** What one address may do before it has proved anything. */
export interface AddressRates {
  /**
   * Sockets that have not proved themselves, per address; more of them wait before the 101, and those that say
   * nothing lose their place to them after a while. Default 50.
   */
  maxUnproved: number;
  /** New sessions that one address may make at once. Default 100. */
  createBurst: number;
  /** New sessions per minute and address, after the burst. Default 60. */
  createsPerMinute: number;
  /**
   * Proofs that fail, per minute and address, before more of them are refused unseen. With keys that the store knows
   * they count by key, and more of them are looked at slowly: one of them may be good. Default 20.
   */
  failedProofsPerMinute: number;
}

export const DEFAULT_ADDRESS_RATES: Readonly<AddressRates> = Object.freeze({
  maxUnproved: 50,
  createBurst: 100,
  createsPerMinute: 60,
  failedProofsPerMinute: 20,
});

/** More came from an address than may. */
export class TooOften extends Error {}

/** Addresses that are remembered; beyond it the ones that came first are forgotten. */
const MAX_ENTRIES = 50_000;
/** Upgrades of one address that wait for a place. */
const MAX_WAITING = 10_000;
/** How long a socket that says nothing keeps its place while others wait for one, in ms: few, or many. */
const PATIENCE_MS = { few: 1_000, many: 150 } as const;
/** Between two proofs of one address that are looked at though too many have failed, in ms. */
const SLOW_LANE_MS = 10;

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
  readonly #slowLanes = new Map<string, SlowLane>();

  constructor(rates: AddressRates) {
    this.#rates = rates;
    this.#creates = new TokenBuckets(rates.createBurst, rates.createsPerMinute);
    this.#failures = new TokenBuckets(rates.failedProofsPerMinute, rates.failedProofsPerMinute);
  }

  /** Counts a new session. @returns Whether it may be made. */
  takeCreate(address: string): boolean {
    return this.#creates.take(groupOf(address));
  }

  /** Whether a new session may be made, without counting it. */
  mayCreate(address: string): boolean {
    return !this.#creates.isEmpty(groupOf(address));
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

  /**
   * Waits for the turn of a proof that would be one too many, but may be good: it is slowed down, not refused.
   *
   * @param isThere Whether its socket still waits; if not, its turn is another's.
   */
  turn(address: string, isThere: () => boolean): Promise<void> {
    const group = groupOf(address);
    const lane = this.#slowLanes.get(group) ?? new SlowLane(() => this.#slowLanes.delete(group));
    this.#slowLanes.set(group, lane);
    return lane.turn(isThere);
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
  #enteredMs = 0;
  /** Ends the socket, unless it has sent its proof. @returns Whether it did. */
  evict: (() => boolean) | undefined;

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
    this.#enteredMs = performance.now();
    this.#room.inside.add(this);
    const enter = this.#enter;
    this.#enter = undefined;
    enter?.();
  }

  /** @internal How long it has been inside, in ms. */
  get ageMs(): number {
    return performance.now() - this.#enteredMs;
  }

  /** Gives the place back, or stops waiting. Idempotent. */
  leave(): void {
    if (this.#state === 'left') return;
    const { waiting } = this.#room;
    if (this.#state === 'inside') this.#room.inside.delete(this);
    if (this.#state === 'waiting') waiting.splice(waiting.indexOf(this), 1);
    this.#state = 'left';
    this.#enter = this.evict = undefined;
    this.#room.admit();
  }
}

class Room {
  readonly waiting: Place[] = [];
  /** In the order in which they came in. */
  readonly inside = new Set<Place>();
  readonly #places: number;
  readonly #empty: () => void;
  #timer: NodeJS.Timeout | undefined;

  constructor(places: number, empty: () => void) {
    this.#places = places;
    this.#empty = empty;
  }

  get isFull(): boolean {
    return this.inside.size >= this.#places && this.waiting.length >= MAX_WAITING;
  }

  /** Lets in whoever came last: those who came before may have given up. */
  admit(): void {
    while (this.inside.size < this.#places && this.waiting.length > 0) this.waiting.pop()?.admit();
    clearTimeout(this.#timer);
    if (this.waiting.length > 0) this.#timer = setTimeout(() => this.#makeRoom(), this.#untilEvictionMs());
    else if (this.inside.size === 0) this.#empty();
  }

  get #patienceMs(): number {
    return this.waiting.length > this.#places ? PATIENCE_MS.many : PATIENCE_MS.few;
  }

  #untilEvictionMs(): number {
    const [oldest] = this.inside;
    // Not at once again, when the oldest could not be sent away.
    return Math.max(10, this.#patienceMs - (oldest?.ageMs ?? 0));
  }

  /** Sends those away who have had time enough to prove themselves, as far as others wait. */
  #makeRoom(): void {
    let wanted = this.waiting.length;
    for (const place of [...this.inside]) {
      if (wanted === 0 || place.ageMs < this.#patienceMs) break;
      if (place.evict?.() !== true) continue;
      wanted -= 1;
      // Its socket may take its time to close.
      place.leave();
    }
    this.admit();
  }
}

/** One proof at a time, with a pause behind each. */
class SlowLane {
  readonly #waiting: { isThere: () => boolean; resolve: () => void }[] = [];
  readonly #empty: () => void;

  constructor(empty: () => void) {
    this.#empty = empty;
    this.#next();
  }

  turn(isThere: () => boolean): Promise<void> {
    return new Promise((resolve) => this.#waiting.push({ isThere, resolve }));
  }

  #next(): void {
    setTimeout(() => {
      let next = this.#waiting.shift();
      while (next?.isThere() === false) next = this.#waiting.shift();
      if (next === undefined) {
        this.#empty();
        return;
      }
      next.resolve();
      this.#next();
    }, SLOW_LANE_MS).unref();
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

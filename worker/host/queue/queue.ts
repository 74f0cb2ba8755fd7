import { parseUp, START, toBase64url, toWire, WebgramError } from 'webgram';
import type { DownEnvelope, UpEnvelope, WireError } from 'webgram';
import type { Identity } from '../identity.ts';
import { addressPrefix, parseServerRecord, serverKey } from '../identity-records.ts';
import type { QueueInfo } from '../port-protocol.ts';
import type {
  CallingTab,
  DurableQueue,
  QueueCall,
  QueueLimits,
  QueueLink,
  QueueOptions,
} from './durable-queue.ts';
import {
  isCount,
  QUEUE_VERSION,
  type KeptCalls,
  type QueuedMessage,
  type QueueHead,
} from './queue-records.ts';
import { Inquiries } from './inquiries.ts';
import { QueueStore, type Books } from './queue-store.ts';

const DEFAULT_LIMITS: QueueLimits = { maxCount: 5_000, maxBytes: 5 * 1_048_576 };
/** How many messages are on their way at once. */
const WINDOW = 64;
/** Of how many clients it is known what was kept for them. */
const MAX_CLIENTS = 64;
/** Of how many of a client's calls it is known that they were not kept. */
const MAX_MISSING = 256;
/** Number of the queue among the tabs of a link. */
const TAB = 0;

/**
 * The durable queue of an identity: keeps what is to arrive although every tab is closed before, and sends it over
 * whatever link the identity has, in order, until the server has handled it. PROTOCOL.md, "The durable queue".
 *
 * It is loaded when it is needed, and holds nothing that is not in the storage as well.
 */
export class Queue implements DurableQueue {
  readonly #options: QueueOptions;
  readonly #limits: QueueLimits;
  readonly #books: QueueStore;
  readonly #calls: { tab: CallingTab; call: QueueCall }[] = [];
  readonly #inquiries: Inquiries;
  #isWorking = false;
  /** The identity of the last link. */
  #localID: string | undefined;
  /** That identity ends with this host. */
  #isInMemory = false;
  #link: QueueLink | undefined;
  /** Attaches on the present link. */
  #counter = 0;
  /** What has left over the present link. */
  #sent = 0;
  /** Everything through this number is handled. */
  #acknowledged = 0;
  #isFreeing = false;
  /** That of the link which has taken over. */
  #heir: DurableQueue | undefined;
  /** Waits until nothing is queued. */
  readonly #drains: (() => void)[] = [];

  constructor(options: QueueOptions) {
    this.#options = options;
    const { platform, address } = options;
    this.#limits = platform.queueLimits ?? DEFAULT_LIMITS;
    this.#inquiries = new Inquiries(options.isHere, platform.clock);
    this.#books = new QueueStore(platform.keyStore, address);
  }

  /** Tells a tab how much is queued. */
  greet(tab: CallingTab): void {
    tab.post({ kind: 'queue', info: this.#info });
  }

  /** Does what a tab wants, in its turn, and answers. */
  call(tab: CallingTab, call: QueueCall): void {
    if (call.what === 'left') {
      this.#inquiries.ask(tab, call);
      return;
    }
    this.#calls.push({ tab, call });
    if (!this.#isWorking) void this.#work();
  }

  /** A link of that identity is up. */
  async linked(
    link: QueueLink,
    { localID, isStored, sessionID }: Pick<Identity, 'localID' | 'isStored' | 'sessionID'>,
  ): Promise<void> {
    this.#inquiries.linked(link, sessionID);
    if (localID !== this.#localID) this.#acknowledged = 0;
    this.#link = link;
    this.#localID = localID;
    this.#isInMemory = !isStored;
    this.#counter = this.#sent = 0;
    await this.lookAgain();
  }

  /** Takes what is kept for the identity of the last link, also by another queue. */
  async lookAgain(): Promise<void> {
    const localID = this.#localID;
    // The first link finds it.
    if (localID === undefined) return;
    this.#books.forget();
    let lost = 0;
    try {
      const living = await this.#living(localID);
      await this.#books.change((books) => {
        const { messages, head } = books;
        const orphans = messages.filter((message) => message.localID !== null && !living(message.localID));
        lost = orphans.length;
        const isUnbound = ({ localID: of, seq }: QueuedMessage): boolean =>
          of === null ? this.#options.isActive() : of === localID && seq === 0;
        const unbound = messages.filter(isUnbound);
        if (orphans.length + unbound.length === 0) return undefined;
        const streams = Object.fromEntries(Object.entries(head.streams).filter(([id]) => living(id)));
        const stream = { ...(streams[localID] ?? this.#newStream()) };
        const put = unbound.map((message) => ({ ...message, localID, seq: stream.next++ }));
        return { head: { streams: { ...streams, [localID]: stream } }, put, drop: orphans };
      });
    } catch (error) {
      this.#failed(error);
    }
    if (lost > 0) this.#notice('WEBGRAM_GAP', `${lost} durable messages were for a session that has ended`);
    this.#pump();
    this.#tell();
  }

  unlinked(): void {
    this.#link = undefined;
    this.#inquiries.unlinked();
  }

  /** No link follows: what waits for one is answered, and what is kept here the other one sends. */
  async end(heir: Promise<DurableQueue | undefined>): Promise<void> {
    this.#inquiries.end();
    this.#heir = await heir;
    await this.#heir?.lookAgain();
  }

  /** Resolves when nothing is queued for the identity of the present link. */
  drained(): Promise<void> {
    return new Promise((resolve) => {
      this.#drains.push(resolve);
      this.#tellDrained();
    });
  }

  #tellDrained(): void {
    if (this.#due.length === 0) for (const drained of this.#drains.splice(0)) drained();
  }

  /** Takes what the server says to tab 0, and to those from `FIRST_INQUIRY` on. */
  receive(down: Extract<DownEnvelope, { tab: number }>): void {
    if (down.tab !== TAB) this.#inquiries.receive(down);
    else if (down.kind === 'attached') void this.#attached(down.received);
    else if (down.kind === 'ack') void this.#free(down.ack);
  }

  /** No frame of this link can hold that message: nothing behind it would ever arrive. */
  async dropped(envelope: UpEnvelope, { code, message }: WireError): Promise<void> {
    if (envelope.kind !== 'send') return;
    const { seq } = envelope;
    // What has left behind it was not taken.
    this.#sent = Math.min(this.#sent, seq - 1);
    this.#notice(code, message);
    await this.#drop(seq, seq);
  }

  // ---- calls

  async #work(): Promise<void> {
    this.#isWorking = true;
    for (let next = this.#calls.shift(); next !== undefined; next = this.#calls.shift()) {
      // What has come together is written together.
      const sends = [next];
      if (next.call.what === 'send') {
        const other = this.#calls.findIndex(({ call }) => call.what !== 'send');
        sends.push(...this.#calls.splice(0, other === -1 ? this.#calls.length : other));
        await this.#keep(sends);
      } else {
        await this.#do(next.tab, next.call);
      }
    }
    this.#isWorking = false;
  }

  async #do(tab: CallingTab, { call, what }: QueueCall): Promise<void> {
    try {
      // Also what another host of this browser has written.
      this.#books.forget();
      const owner = await this.#owner();
      let own: QueuedMessage[] = [];
      await this.#books.change(({ messages }) => {
        own = messages.filter((message) => message.localID === null || message.localID === owner);
        return what === 'clear' && own.length > 0 ? { drop: own } : undefined;
      });
      const list = own.map(({ type, bytes, storedMs }) => ({ type, bytes, storedMs }));
      tab.post({ kind: 'answer', call, value: what === 'clear' ? own.length : list });
      this.#tell();
    } catch (error) {
      tab.post({ kind: 'answer', call, error: wireErrorOf(error) });
    }
  }

  async #keep(sends: readonly { tab: CallingTab; call: QueueCall }[]): Promise<void> {
    let errors: (WireError | undefined)[] = [];
    try {
      const owner = await this.#owner();
      await this.#books.change((books) => {
        const kept = this.#kept(books, sends, owner ?? null);
        errors = kept.errors;
        return kept.put.length === 0 ? undefined : kept;
      });
    } catch (error) {
      errors = sends.map(() => wireErrorOf(error));
    }
    for (const [i, { tab, call }] of sends.entries()) {
      const error = errors[i];
      tab.post({ kind: 'answer', call: call.call, ...(error === undefined ? {} : { error }) });
    }
    void this.#heir?.lookAgain();
    this.#pump();
    this.#tell();
  }

  /** What is to be written for these calls, and what becomes of each. */
  #kept(
    { head, messages }: Books,
    sends: readonly { tab: CallingTab; call: QueueCall }[],
    localID: string | null,
  ): { put: QueuedMessage[]; head: Partial<QueueHead>; errors: (WireError | undefined)[] } {
    const { maxCount, maxBytes } = this.#limits;
    const put: QueuedMessage[] = [];
    const clients = { ...head.clients };
    const streams = { ...head.streams };
    let { next } = head;
    let count = messages.length;
    let bytes = messages.reduce((sum, message) => sum + message.bytes, 0);
    const errors = sends.map(({ tab: { lock = '' }, call }) => {
      const known = clients[lock];
      if (known !== undefined && call.call <= known.last && !known.missing.includes(call.call))
        return undefined;
      const error = faultOf(call);
      if (error !== undefined) return error;
      if (count >= maxCount || bytes + call.bytes > maxBytes) {
        const is = `${count} messages, ${bytes} bytes`;
        return {
          code: 'WEBGRAM_QUEUE_FULL',
          message: `the queue holds ${is}, of ${maxCount} and ${maxBytes}`,
        };
      }
      count += 1;
      bytes += call.bytes;
      let seq = 0;
      if (localID !== null) {
        const stream = streams[localID] ?? this.#newStream();
        seq = stream.next;
        streams[localID] = { ...stream, next: seq + 1 };
      }
      const { type, args } = call;
      const storedMs = this.#options.platform.clock.nowMs();
      put.push({ version: QUEUE_VERSION, n: next, localID, seq, type, args, bytes: call.bytes, storedMs });
      next += 1;
      delete clients[lock];
      clients[lock] = withCall(known, call.call);
      return undefined;
    });
    const latest = Object.fromEntries(Object.entries(clients).slice(-MAX_CLIENTS));
    return { put, head: { next, streams, clients: latest }, errors };
  }

  #newStream(): QueueHead['streams'][string] {
    return { tabID: toBase64url(this.#options.platform.crypto.randomBytes(16)), next: 1 };
  }

  /**
   * Finds the identity whose messages these are: that of the link; before it is known, the one that this browser uses at
   * the address, if it has but one store there.
   *
   * @throws {WebgramError} when nothing that is written would outlive this host.
   */
  async #owner(): Promise<string | undefined> {
    const { platform, address, owner, isActive } = this.#options;
    if (this.#isInMemory || platform.keyStore.storage === 'memory') {
      throw new WebgramError('WEBGRAM_STORAGE_FAILED', 'this browser keeps no identity');
    }
    const known = this.#localID ?? owner();
    if (known !== undefined) return known;
    if (!isActive()) throw new WebgramError('WEBGRAM_STORAGE_FAILED', 'no such identity');
    const server = parseServerRecord((await this.#identities()).get(serverKey(address)));
    if (server === undefined || server === 'newer') return undefined;
    const active = Object.values(server.active);
    return active.length === 1 && active[0] !== '' ? active[0] : undefined;
  }

  async #identities(): Promise<ReadonlyMap<string, unknown>> {
    const { platform, address } = this.#options;
    try {
      return await platform.keyStore.read(addressPrefix(address));
    } catch (cause) {
      throw new WebgramError('WEBGRAM_STORAGE_FAILED', 'the storage of this browser fails', {
        retryable: true,
        cause,
      });
    }
  }

  /** @returns Whether this browser still has an identity. */
  async #living(present: string): Promise<(localID: string) => boolean> {
    const keys = [...(await this.#identities()).keys()];
    return (localID) => localID === present || keys.some((key) => key.endsWith(` ${localID}`));
  }

  // ---- the stream

  /** Messages of the identity that the link is of and that the server may not have handled, in order. */
  get #due(): QueuedMessage[] {
    return this.#books.books.messages.filter(
      ({ localID, seq }) => localID === this.#localID && seq > this.#acknowledged,
    );
  }

  /** Sends what may be on its way. */
  #pump(): void {
    const link = this.#link;
    if (link === undefined) return;
    const due = this.#due;
    const ack = START;
    for (const [i, { seq, type, args }] of due.entries()) {
      if (seq <= this.#sent) continue;
      if (i >= WINDOW) return;
      if (this.#counter === 0 || seq !== this.#sent + 1) {
        // Numbers are missing: those before are to be handled first, and then it goes on from here.
        if (i > 0) return;
        this.#attach(link, seq);
      }
      this.#sent = seq;
      link.send({ kind: 'send', tab: TAB, seq, ack, type, args });
    }
  }

  #attach(link: QueueLink, oldest: number): void {
    const { tabID } = this.#books.books.head.streams[this.#localID!]!;
    this.#counter += 1;
    link.send({
      kind: 'attach',
      tab: TAB,
      tabID,
      counter: this.#counter,
      received: START,
      oldest,
      seen: { timeMs: 0, life: 0, commit: 0 },
      info: {},
    });
  }

  /** The server knows numbers that were never given here: the storage is older than what was sent. */
  async #attached(received: number): Promise<void> {
    const localID = this.#localID!;
    try {
      await this.#books.change(({ head: { streams } }) => {
        const stream = streams[localID];
        if (stream === undefined || received < stream.next) return undefined;
        return { head: { streams: { ...streams, [localID]: { ...stream, next: received + 1 } } } };
      });
    } catch (error) {
      this.#failed(error);
    }
  }

  /** Everything through `ack` is handled for good. What cannot be deleted now is sent and acknowledged again later. */
  async #free(ack: number): Promise<void> {
    if (ack <= this.#acknowledged) return;
    this.#acknowledged = ack;
    this.#pump();
    // One write for all that is acknowledged while the one before is on its way.
    if (this.#isFreeing) return;
    this.#isFreeing = true;
    let through: number;
    do {
      through = this.#acknowledged;
      await this.#drop(1, through);
    } while (through < this.#acknowledged);
    this.#isFreeing = false;
  }

  async #drop(from: number, through: number): Promise<void> {
    const localID = this.#localID;
    try {
      await this.#books.change(({ messages }) => {
        const drop = messages.filter(
          (message) => message.localID === localID && message.seq >= from && message.seq <= through,
        );
        return drop.length === 0 ? undefined : { drop };
      });
    } catch (error) {
      this.#failed(error);
    }
    this.#pump();
    this.#tell();
  }

  /** Nothing is lost: it stands in the storage, and the next link begins with reading it. */
  #failed(error: unknown): void {
    const { code, message } = wireErrorOf(error);
    this.#notice(code, message);
  }

  #notice(code: string, message: string): void {
    this.#options.tell({ kind: 'notice', code, message });
  }

  // ---- what tabs are told

  get #info(): QueueInfo {
    const known = this.#localID ?? this.#options.owner();
    const own = this.#books.books.messages.filter(
      ({ localID }) => localID === null || known === undefined || localID === known,
    );
    return {
      count: own.length,
      bytes: own.reduce((sum, { bytes }) => sum + bytes, 0),
      oldestMs: own[0]?.storedMs,
    };
  }

  #tell(): void {
    this.#options.tell({ kind: 'queue', info: this.#info });
    this.#tellDrained();
  }
}

function withCall(known: KeptCalls = { last: 0, missing: [] }, call: number): KeptCalls {
  const { last, missing } = known;
  if (call <= last) return { last, missing: missing.filter((one) => one !== call) };
  const between = Array.from({ length: Math.min(call - last - 1, MAX_MISSING) }, (_, i) => call - 1 - i);
  return { last: call, missing: [...missing, ...between].slice(-MAX_MISSING) };
}

/** Every script of the origin can post: what would make the server close the link of all tabs is not kept. */
function faultOf({ type, args, bytes }: QueueCall): WireError | undefined {
  try {
    parseUp(toWire({ kind: 'send', tab: TAB, seq: 1, ack: START, type, args }));
    if (Array.isArray(args) && isCount(bytes)) return undefined;
  } catch {
    // The same answer.
  }
  return { code: 'WEBGRAM_NOT_ENCODABLE', message: 'this is no message' };
}

function wireErrorOf(error: unknown): WireError {
  const { code, message } = error as WebgramError;
  return { code, message };
}

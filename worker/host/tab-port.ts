import type { TabUp } from 'webgram';
import type { HostToTab, TabToHost } from './port-protocol.ts';
import type { StreamCopy } from './stream-copy.ts';
import { parseTabMessage, type Call } from './tab-message.ts';

/** What a host uses of a `MessagePort`. */
export interface PortLike {
  // eslint-disable-next-line @typescript-eslint/no-explicit-any -- the event types of browsers and Node differ
  onmessage: ((event: any) => void) | null;
  postMessage(message: unknown): void;
  close(): void;
}

/** A port whose tab has gone is closed after so long, in ms. */
const CLOSE_MS = 30_000;

/** How long after its lock is free the last messages of a tab may come in, in ms: they travel another way. */
export const LAST_MESSAGES_MS = 250;

type Untagged<Message> = Message extends unknown ? Omit<Message, 'incarnation'> : never;

export interface TabPortOptions {
  port: PortLike;
  incarnation: string;
  watchLock: (lock: string, gone: () => void) => () => void;
  after: (delayMs: number, callback: () => void) => () => void;
  /** Again when the tab goes over to another identity. */
  hello: (hello: TabToHost & { kind: 'hello' }) => void;
  up: (link: number, up: TabUp) => void;
  wants: (what: 'wake' | 'accept-key') => void;
  call: (call: Call) => void;
  /** The tab has closed its client, or died. Messages that it posted before can still come in. */
  gone: () => void;
}

/** One tab, as its host sees it. */
export class TabPort {
  readonly #options: TabPortOptions;
  #lock: string | undefined;
  #stopWatching: () => void = () => undefined;
  /** Its lock is free: nothing is posted any more, lest it wakes a page in the back-forward cache. */
  #isLeaving = false;
  #isGone = false;
  /** It was told to switch: what the identity that it had still says is nothing to it. */
  #isSwitching = false;
  /** Copy of the tab's stream, from its first attach on. */
  copy: StreamCopy | undefined;
  /** The session that it spoke with is not the identity's any more, and it has not been taken up in another yet. */
  hasLostSession = false;
  /** What it keeps to, whatever identity is active. */
  pin: string | undefined;
  /** The identity that its stream is of, before there is a copy of that. */
  of: string | undefined;

  constructor(options: TabPortOptions) {
    this.#options = options;
    options.port.onmessage = ({ data }: { data: unknown }) => {
      const message = parseTabMessage(data);
      if (message !== undefined) this.#receive(message);
    };
  }

  /** The tab has died; its last messages may still come in. */
  get isLeaving(): boolean {
    return this.#isLeaving;
  }

  get port(): PortLike {
    return this.#options.port;
  }

  /** The Web Lock that the tab holds, once it has said hello. */
  get lock(): string | undefined {
    return this.#lock;
  }

  /** @param message Everything in it is cloned. */
  post(message: Untagged<HostToTab>): void {
    if (this.#isLeaving || (this.#isSwitching && message.kind !== 'answer' && message.kind !== 'pong'))
      return;
    this.#isSwitching ||= message.kind === 'switch';
    this.#options.port.postMessage({ incarnation: this.#options.incarnation, ...message });
  }

  /** Forgets the port: the tab speaks over another one, or is refused. */
  close(): void {
    this.#isGone = true;
    this.#stopWatching();
    this.#options.port.onmessage = null;
    this.#options.port.close();
  }

  #receive(message: TabToHost): void {
    if (this.#lock === undefined) {
      if (message.kind === 'hello') this.#hello(message);
      return;
    }
    switch (message.kind) {
      case 'hello':
        if (message.lock === this.#lock && !this.#isGone) this.#takeUp(message);
        break;
      case 'up':
        this.#options.up(message.link, message.envelope);
        break;
      case 'wake':
      case 'accept-key':
        if (!this.#isGone) this.#options.wants(message.kind);
        break;
      case 'queue':
      case 'wallet':
        if (!this.#isGone) this.#options.call(message);
        break;
      case 'pin':
        this.pin = message.identity;
        this.post({ kind: 'switch' });
        break;
      case 'close':
        this.#gone();
        break;
      case 'ping':
        this.post({ kind: 'pong' });
        break;
    }
  }

  #hello(hello: TabToHost & { kind: 'hello' }): void {
    const { after, watchLock } = this.#options;
    this.#lock = hello.lock;
    let cancelGrace: () => void = () => undefined;
    const stopLock = watchLock(hello.lock, () => {
      this.#isLeaving = true;
      cancelGrace = after(LAST_MESSAGES_MS, () => {
        this.#gone();
      });
    });
    this.#stopWatching = () => {
      cancelGrace();
      stopLock();
    };
    this.#takeUp(hello);
  }

  #takeUp(hello: TabToHost & { kind: 'hello' }): void {
    this.#isSwitching = false;
    this.pin = hello.identity;
    this.of = hello.of ?? undefined;
    this.#options.hello(hello);
  }

  #gone(): void {
    if (this.#isGone) return;
    this.#isLeaving = this.#isGone = true;
    this.#stopWatching();
    this.#options.gone();
    // An open channel would be kept for ever, whoever listens at the other end.
    this.#options.after(CLOSE_MS, () => {
      this.close();
    });
  }
}

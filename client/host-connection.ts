import { delayMs } from 'webgram';
import type { ErrorCode } from 'webgram';
import { PORT_PROTOCOL } from '../worker/host/port-protocol.ts';
import type { HostAddress, HostToTab, TabToHost } from '../worker/host/port-protocol.ts';
import type { FoundHost, TabEnvironment } from './environment.ts';
import type { ClientHost } from './state.ts';

/** A host that lived this long, in ms, is replaced at once when it dies. */
const STABLE_MS = 10_000;

/** What a host says to a tab that it serves. */
export type HostMessage = Exclude<HostToTab, { kind: 'moved' | 'refused' }>;

export interface HostConnectionOptions {
  /** Nothing is done before. */
  start: Promise<unknown> | undefined;
  environment: TabEnvironment;
  /** The Web Lock that the tab holds as long as it lives. */
  lock: string;
  /** A host waits for a hello, and takes envelopes behind it. @param isNew It knows nothing of this tab yet. */
  welcomed: (host: ClientHost, isNew: boolean) => void;
  receive: (message: HostMessage) => void;
  /** The page goes, or the client has ended. */
  leave: () => void;
  /** The page has come back from the back-forward cache, where it was gone for its host. */
  shown: () => void;
  /** The page can be seen now, or no longer. */
  seen: () => void;
  /** No host can be found; it is looked for again at `retryAtMs`. */
  lost: (reason: string, retryAtMs: number) => void;
  /** No host serves this tab. Final. */
  failed: (code: ErrorCode, reason: string) => void;
}

/**
 * The tab's way to its host: finds it, has the client say hello, and finds another when it has died or the page comes
 * back from the back-forward cache. What is posted while there is none is dropped; the stream offers it again at
 * `welcomed`.
 */
export class HostConnection {
  readonly #options: HostConnectionOptions;
  #host: FoundHost | undefined;
  /** Of the host that this tab has said hello to; `undefined` before there was any. */
  #incarnation: string | undefined;
  #failures = 0;
  #foundMs = 0;
  /** Counts searches, so that one that was overtaken gives up. */
  #search = 0;
  #releaseLock: (() => void) | undefined;
  #stopWatching: (() => void) | undefined;
  #retryTimer: ReturnType<typeof setTimeout> | undefined;
  readonly #stopListening: () => void;

  constructor(options: HostConnectionOptions) {
    this.#options = options;
    this.#stopListening = options.environment.listen({
      wake: () => {
        this.post({ kind: 'wake' });
      },
      hide: () => {
        this.#letGo();
      },
      show: () => {
        // The host may have finished for this tab already: what comes now is for one that knows it is back.
        this.#dropHost();
        options.shown();
        void this.#find();
      },
      seen: options.seen,
    });
    void this.#find();
  }

  /** Says something to the host, if there is one. */
  post(message: TabToHost): void {
    this.#host?.port.postMessage(message);
  }

  /** Has the client say hello once more: what was handed over before is finished for the identity that the tab had. */
  greet(): void {
    if (this.#host) this.#greet(this.#host, false);
  }

  /** The host finishes what it was handed. */
  close(): void {
    this.post({ kind: 'close' });
    this.#letGo();
    this.#dropHost();
    this.#stopListening();
  }

  /** There is no host, or no longer: look again, unless there never was one. */
  #missed({ message }: Error): void {
    if (this.#incarnation === undefined) {
      this.#options.failed('WEBGRAM_NO_HOST', message);
      return;
    }
    if (Date.now() - this.#foundMs >= STABLE_MS) this.#failures = 0;
    this.#foundMs = Infinity;
    const waitMs = delayMs(this.#failures++, Math.random());
    this.#retryTimer = setTimeout(() => {
      void this.#find();
    }, waitMs);
    this.#options.lost(message, Date.now() + waitMs);
  }

  async #find(moved?: HostAddress): Promise<void> {
    const search = this.#stop();
    const { environment, start, lock } = this.#options;
    try {
      await start;
      // Before hello, and also between two hosts: one that finds the lock free takes the tab for dead.
      if (!this.#releaseLock) {
        const release = await environment.holdLock(lock);
        if (search !== this.#search) {
          release();
          return;
        }
        this.#releaseLock = release;
      }
      const host = await environment.findHost(moved);
      if (search !== this.#search) {
        host.port.close();
        return;
      }
      this.#dropHost();
      this.#host = host;
      this.#incarnation = '';
      this.#foundMs = Date.now();
      host.port.onmessage = ({ data }: { data: HostToTab }) => {
        if (host === this.#host) this.#receive(host, data);
      };
      if (host.welcome.protocol <= PORT_PROTOCOL) this.#receive(host, host.welcome);
      else this.#options.failed('WEBGRAM_VERSION_SKEW', 'the host is newer');
    } catch (error) {
      if (search === this.#search) this.#missed(error as Error);
    }
  }

  #receive(host: FoundHost, message: HostToTab): void {
    if (message.incarnation !== this.#incarnation) {
      // WebKit runs a worker's script again with fresh memory on the same ports, without a sign (WebKit/WebKit#71486).
      this.#incarnation = message.incarnation;
      this.#stopWatching?.();
      this.#stopWatching = this.#options.environment.watchLock(message.incarnation, () => {
        this.#missed(new Error('the host died'));
      });
      this.#greet(host, true);
    }
    if (message.kind === 'moved') void this.#find(message);
    else if (message.kind === 'refused') this.#options.failed(message.code, message.message);
    else this.#options.receive(message);
  }

  #greet({ welcome, role = 'follower', why }: FoundHost, isNew: boolean): void {
    this.#options.welcomed({ ...welcome.host, role, why }, isNew);
  }

  /** Gives up whatever would keep the page out of the back-forward cache. */
  #letGo(): void {
    this.#options.leave();
    this.#stop();
    this.#releaseLock?.();
    this.#releaseLock = undefined;
  }

  /** No longer looks for a host, nor after the one that it has. @returns Number of the next search. */
  #stop(): number {
    clearTimeout(this.#retryTimer);
    this.#stopWatching?.();
    return ++this.#search;
  }

  #dropHost(): void {
    this.#host?.port.close();
    this.#host = undefined;
  }
}

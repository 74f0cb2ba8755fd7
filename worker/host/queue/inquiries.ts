import { parseUp, START, toWire } from 'webgram';
import type { DownEnvelope, UpEnvelope } from 'webgram';
import type { Leaving } from '../port-protocol.ts';
import { FIRST_INQUIRY } from './durable-queue.ts';
import type { CallingTab, QueueCall, QueueLink } from './durable-queue.ts';
import { isCount } from './queue-records.ts';

/** How many pages one call may ask about. */
const MAX_LEFT = 64;

interface Inquiry {
  tab: CallingTab;
  call: number;
  /** `undefined` for what is no note of a page. */
  left: readonly (Leaving | undefined)[];
  /** Of the first of them: how many messages are lost, or `null` when it is too early to tell. */
  answers: (number | null)[];
}

/**
 * Finds out what has become of the messages that pages had not seen acknowledged when they went: attaches in the name of
 * each, as for a tab that has gone, and the answer says how far the server has received its stream.
 *
 * One stream after the other, so that one number of the link more is in use than tabs have.
 */
export class Inquiries {
  readonly #isHere: (tabID: string) => boolean;
  readonly #open: Inquiry[] = [];
  #link: QueueLink | undefined;
  #sessionID: number | null = null;
  /** Number of the stream that was asked about last, among the tabs of the present link. */
  #tab = FIRST_INQUIRY;
  #isAsking = false;

  /** @param isHere Whether this host still speaks for that tab: then it is too early to tell. */
  constructor(isHere: (tabID: string) => boolean) {
    this.#isHere = isHere;
  }

  /** Answers in its turn, when there is a link. Who is no page has left nothing. */
  ask(tab: CallingTab, { call, args }: QueueCall): void {
    const list = Array.isArray(args) ? args.slice(0, MAX_LEFT) : [];
    this.#open.push({ tab, call, left: list.map(parseLeaving), answers: [] });
    this.#goOn();
  }

  linked(link: QueueLink, sessionID: number | null): void {
    this.#link = link;
    this.#sessionID = sessionID;
    this.#tab = FIRST_INQUIRY;
    this.#isAsking = false;
    this.#goOn();
  }

  unlinked(): void {
    this.#link = undefined;
  }

  /** No link follows: to all who wait it is too early to tell. */
  end(): void {
    for (const { tab, call, left } of this.#open.splice(0)) {
      tab.post({ kind: 'answer', call, value: left.map(() => null) });
    }
  }

  receive(down: DownEnvelope): void {
    const inquiry = this.#open[0];
    const left = inquiry?.left[inquiry.answers.length];
    if (!this.#isAsking || down.kind !== 'attached' || down.tab !== this.#tab || !inquiry || !left) return;
    this.#isAsking = false;
    const { tab, counter, outcome, received } = down;
    const [, , oldest, end] = left;
    // A later attach of the tab speaks for itself, and nobody knows what has become of a stream that is forgotten.
    const known = outcome === 'stale' ? end - 1 : outcome === 'forgotten' ? 0 : received;
    inquiry.answers.push(end - Math.min(Math.max(known + 1, oldest), end));
    if (typeof outcome === 'object') this.#link?.send({ kind: 'detach', tab, counter, why: 'gone' });
    this.#goOn();
  }

  #goOn(): void {
    for (;;) {
      const link = this.#link;
      const inquiry = this.#open[0];
      if (inquiry === undefined || link === undefined || this.#isAsking) return;
      const { tab, call, left, answers } = inquiry;
      const { length } = answers;
      const next = left[length];
      if (length === left.length) {
        this.#open.shift();
        tab.post({ kind: 'answer', call, value: answers });
      } else if (next === undefined) answers.push(0);
      else if (this.#isOfAnother(next) || this.#isHere(next[0])) answers.push(null);
      else {
        this.#isAsking = true;
        this.#tab += 1;
        link.send(attachOf(next, this.#tab));
      }
    }
  }

  #isOfAnother([, , , , sessionID = null]: Leaving): boolean {
    return sessionID !== null && sessionID !== this.#sessionID;
  }
}

function attachOf([tabID, counter, oldest]: Leaving, tab: number): UpEnvelope {
  // As old as can be: a server that does not know the stream any more says so, and begins no other.
  const seen = { timeMs: 1, life: 0, commit: 0 };
  return { kind: 'attach', tab, tabID, counter, received: START, oldest, seen, info: { departed: true } };
}

/** Every script of the origin can post, and can have written what a page has read. */
function parseLeaving(data: unknown): Leaving | undefined {
  try {
    const left = data as Leaving;
    parseUp(toWire(attachOf(left, 1)));
    return isCount(left[3]) ? left : undefined;
  } catch {
    return undefined;
  }
}

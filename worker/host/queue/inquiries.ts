import { parseUp, START, toWire } from 'webgram';
import type { DownEnvelope, UpEnvelope } from 'webgram';
import type { Clock } from '../platform.ts';
import type { Leaving } from '../port-protocol.ts';
import { FIRST_INQUIRY } from './durable-queue.ts';
import type { CallingTab, QueueCall, QueueLink } from './durable-queue.ts';
import { isCount } from './queue-records.ts';

/** How many pages one call may ask about. */
const MAX_LEFT = 64;

/** How long, in ms, who asks may wait while there is a link: a page begins no session before. */
export const INQUIRY_LIMIT_MS = 5_000;

interface Inquiry {
  tab: CallingTab;
  call: number;
  /** `undefined` for what is no note of a page. */
  left: readonly (Leaving | undefined)[];
  /** Of the first of them: how many messages are lost, or `null` when it is too early to tell. */
  answers: (number | null)[];
  cancelLimit: () => void;
}

/**
 * Finds out what has become of the messages that pages had not seen acknowledged when they went: attaches in the name of
 * each, as for a tab that has gone, and the answer says how far the server has received its stream.
 *
 * One stream after the other, so that one number of the link more is in use than tabs have. Of those that are not reached
 * in 5 s of a link it is too early to tell.
 */
export class Inquiries {
  readonly #isHere: (tabID: string) => boolean;
  readonly #clock: Pick<Clock, 'after'>;
  readonly #open = new Set<Inquiry>();
  #link: QueueLink | undefined;
  #sessionID: number | null = null;
  /** Number of the stream that was asked about last, among the tabs of the present link. */
  #tab = FIRST_INQUIRY;
  /** What the server has still to say something of. */
  #asked: { inquiry: Inquiry; left: Leaving } | undefined;

  /** @param isHere Whether this host still speaks for that tab: then it is too early to tell. */
  constructor(isHere: (tabID: string) => boolean, clock: Pick<Clock, 'after'>) {
    this.#isHere = isHere;
    this.#clock = clock;
  }

  /** Answers in its turn, when there is a link. Who is no page has left nothing. */
  ask(tab: CallingTab, { call, args }: QueueCall): void {
    const list = Array.isArray(args) ? args.slice(0, MAX_LEFT) : [];
    const left = list.map(parseLeaving);
    const inquiry: Inquiry = { tab, call, left, answers: [], cancelLimit: () => undefined };
    this.#open.add(inquiry);
    if (this.#link !== undefined) this.#limit(inquiry);
    this.#goOn();
  }

  linked(link: QueueLink, sessionID: number | null): void {
    this.#link = link;
    this.#sessionID = sessionID;
    this.#tab = FIRST_INQUIRY;
    this.#asked = undefined;
    for (const inquiry of this.#open) this.#limit(inquiry);
    this.#goOn();
  }

  unlinked(): void {
    this.#link = undefined;
    for (const { cancelLimit } of this.#open) cancelLimit();
  }

  /** No link follows. */
  end(): void {
    for (const inquiry of this.#open) this.#answer(inquiry);
  }

  receive(down: DownEnvelope): void {
    if (this.#asked === undefined || down.kind !== 'attached' || down.tab !== this.#tab) return;
    const { inquiry, left } = this.#asked;
    this.#asked = undefined;
    const { tab, counter, outcome, received } = down;
    const [, , oldest, end] = left;
    // A later attach of the tab speaks for itself, and nobody knows what has become of a stream that is forgotten.
    const known = outcome === 'stale' ? end - 1 : outcome === 'forgotten' ? 0 : received;
    inquiry.answers.push(end - Math.min(Math.max(known + 1, oldest), end));
    if (typeof outcome === 'object') this.#link?.send({ kind: 'detach', tab, counter, why: 'gone' });
    this.#goOn();
  }

  #limit(inquiry: Inquiry): void {
    inquiry.cancelLimit();
    inquiry.cancelLimit = this.#clock.after(INQUIRY_LIMIT_MS, () => {
      this.#answer(inquiry);
    });
  }

  /** Of what is not known yet it is too early to tell. */
  #answer(inquiry: Inquiry): void {
    const { tab, call, left, answers, cancelLimit } = inquiry;
    cancelLimit();
    this.#open.delete(inquiry);
    tab.post({ kind: 'answer', call, value: left.map((_, i) => answers[i] ?? null) });
  }

  #goOn(): void {
    for (const inquiry of this.#open) {
      const { left, answers } = inquiry;
      while (answers.length < left.length) {
        if (this.#link === undefined || this.#asked !== undefined) return;
        const next = left[answers.length];
        if (next === undefined) answers.push(0);
        else if (this.#isOfAnother(next) || this.#isHere(next[0])) answers.push(null);
        else {
          this.#asked = { inquiry, left: next };
          this.#tab += 1;
          this.#link.send(attachOf(next, this.#tab));
        }
      }
      this.#answer(inquiry);
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

import { isSaving } from './messages.ts';
import type { Ledger } from './ledger.ts';

const [ATTACH, , SEND, ASK, ANSWER, , , ACK] = [0, 1, 2, 3, 4, 5, 6, 7];
/** Characters of the tag before a payload. */
const TAG = 22;

interface SeenStream {
  /** Messages by number. */
  ids: Map<number, string>;
  acknowledged: number;
}

/**
 * Reads what passes between links and nodes, and checks the output gate at the moment at which something leaves: an
 * answer, note or acknowledgement of what is not durable yet must not.
 */
export class FrameWatch {
  readonly #ledger: Ledger;
  readonly #streams = new Map<string, SeenStream>();
  /** Streams by tab number, by link. */
  readonly #tabs = new Map<number, Map<number, SeenStream>>();

  constructor(ledger: Ledger) {
    this.#ledger = ledger;
  }

  /** A node gets a frame over that link. */
  up(link: number, frame: string): void {
    for (const [kind, tab, ...rest] of envelopesOf(frame)) {
      if (kind === ATTACH) {
        const tabID = rest[0] as string;
        const stream = this.#streams.get(tabID) ?? { ids: new Map<number, string>(), acknowledged: 0 };
        this.#streams.set(tabID, stream);
        const tabs = this.#tabs.get(link) ?? new Map<number, SeenStream>();
        this.#tabs.set(link, tabs.set(tab as number, stream));
      } else if (kind === SEND || kind === ASK) {
        const [seq, , , id] = rest as [number, unknown, string, string];
        const { ids } = this.#tabs.get(link)?.get(tab as number) ?? {};
        const known = ids?.get(seq);
        if (known !== undefined && known !== id) this.#ledger.failed(`${seq} is both ${known} and ${id}`);
        ids?.set(seq, id);
      }
    }
  }

  /** A node sends a frame over that link. */
  down(link: number, frame: string): void {
    for (const [kind, tab, ...rest] of envelopesOf(frame)) {
      const stream = this.#tabs.get(link)?.get(tab as number);
      if (kind === ACK) this.#acknowledged(stream, rest[0] as number);
      if (kind === SEND) {
        const [, , type, id, run] = rest as [unknown, unknown, string, string, number];
        if (type === 'note') this.#ledger.leaves(id, run);
      }
      if (kind === ANSWER) this.#answered(rest[4] as Record<string, unknown> | null);
      // What it answers or sends comes before the acknowledgement takes effect.
      if (kind === SEND || kind === ASK || kind === ANSWER) this.#acknowledged(stream, rest[1] as number);
    }
  }

  #answered(value: Record<string, unknown> | null): void {
    if (value === null) return;
    const { id, run, length, last } = value as { id: string; run?: number; length?: number; last?: string };
    if (run !== undefined) this.#ledger.leaves(id, run);
    if (length === undefined || length === 0) return;
    const entry = this.#ledger.durable.data.log[length - 1];
    if (entry?.id !== last)
      this.#ledger.failed(`phantom read: ${id} saw ${String(last)} before it was durable`);
  }

  #acknowledged(stream: SeenStream | undefined, ack: number): void {
    if (stream === undefined) return;
    const { durable } = this.#ledger;
    for (let seq = stream.acknowledged + 1; seq <= ack; seq++) {
      const id = stream.ids.get(seq);
      if (id === undefined || !isSaving(this.#ledger.kindOf(id)) || durable.runOf(id) !== undefined) continue;
      this.#ledger.failed(`${id} was acknowledged before its commit`);
    }
    stream.acknowledged = Math.max(stream.acknowledged, ack);
  }
}

/** @returns None for a handshake frame. */
function envelopesOf(frame: string): unknown[][] {
  return frame.startsWith('[') ? [] : (JSON.parse(frame.slice(TAG)) as unknown[][]);
}

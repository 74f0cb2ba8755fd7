import type { LineageEntry } from 'webgram';
import { toDataRow } from './data-version.ts';
import { changedKeys, type SessionData } from './session-data.ts';
import type { SessionStream } from './session-stream.ts';
import { randomTag } from './store/random-tag.ts';
import type { Commit, Lineage, Store, StoredSession } from './store/store.ts';

/** Lives that ended longer ago are left out of the lineage: no tab that old is taken up again. In ms. */
const LINEAGE_MS = 30 * 86_400_000;

export interface CommitterContext {
  store: Store;
  data: SessionData;
  /** Written beside the data. */
  dataVersion: number;
  streams: Map<string, SessionStream>;
  /** Server time in ms since 1970. */
  clock: () => number;
  /** Of the newest link that this node knows of. */
  generation: () => number;
  /** A commit is durable; what it changed in `sessionData`. */
  confirmed: (changed: string[]) => void;
  refused: (error: unknown) => void;
}

/**
 * Takes what a session has changed to the store: one commit at a time, each one atomic write under
 * compare-and-set, taken between handlers.
 *
 * Commits are numbered within the life. What depends on a commit waits behind its number.
 */
export class Committer {
  readonly #context: CommitterContext;
  readonly #sessionID: number;
  readonly #life: number;
  #tag: string;
  #lineage: Lineage;
  #newestCommit: LineageEntry | null;
  /** Number of the last commit taken. */
  #taken = 0;
  #confirmed = 0;
  #isWanted = false;
  #isWriting = false;
  #isForced = false;
  /** What ended it; nothing is written any more. */
  #ended: Error | undefined;
  /** Encoded data: as the store has it, as it is on its way, and as the next commit takes it. */
  #storedText: string | undefined;
  #nextText: string | undefined;
  readonly #forgotten = new Set<string>();
  /** Other writes of the session that wait for their turn. */
  readonly #turns: (() => void)[] = [];
  #waiting: { barrier: number; done: (error?: Error) => void }[] = [];

  /** @param text JSON of the data that the store has, in the present version. */
  constructor(stored: StoredSession, text: string | undefined, context: CommitterContext) {
    this.#context = context;
    this.#sessionID = stored.sessionID;
    this.#life = stored.life;
    this.#tag = stored.tag;
    this.#lineage = stored.lineage.filter(([life]) => life > stored.life - LINEAGE_MS);
    const before = this.#lineage.at(-1);
    this.#newestCommit = before === undefined ? null : [before[0], before[1]];
    this.#storedText = text;
  }

  /** Number of the last commit that is durable; 0 for none in this life. */
  get confirmed(): number {
    return this.#confirmed;
  }

  /** What depends on everything asked for so far leaves behind this commit. */
  get lastBarrier(): number {
    return this.#isWanted ? this.#taken + 1 : this.#taken;
  }

  /** The tag that the store must have now; `undefined` while a commit is on its way. */
  get tag(): string | undefined {
    return this.#isWriting ? undefined : this.#tag;
  }

  get isIdle(): boolean {
    return !this.#isWanted && !this.#isWriting;
  }

  /** Last commit of each life, the commits on their way included. */
  get lineage(): [life: number, commit: number][] {
    return this.#lineage.map(([life, commit]) => [life, commit]);
  }

  /** The newest commit known to be durable: the same object until there is another. */
  get newestCommit(): LineageEntry | null {
    return this.#newestCommit;
  }

  /**
   * Asks for a commit of the data as it is now, and of everything else.
   *
   * @throws {WebgramError} `WEBGRAM_NOT_ENCODABLE` when the data cannot be stored; nothing has changed then.
   */
  want(): void {
    this.#nextText = this.#context.data.encode();
    this.#isWanted = true;
  }

  /** Asks for a commit of streams and marks; unsaved data stays unsaved. */
  wantWithoutData(): void {
    this.#isWanted = true;
  }

  /** Deletes a stream's row with the next commit. */
  forget(tabID: string): void {
    this.#forgotten.add(tabID);
  }

  /** Calls `done` when that commit is durable, or with the error that ended the session. */
  whenConfirmed(barrier: number, done: (error?: Error) => void): void {
    if (barrier <= this.#confirmed) done();
    else if (this.#ended !== undefined) done(this.#ended);
    else this.#waiting.push({ barrier, done });
  }

  /** Takes a commit when one is asked for and none is on its way; never in the middle of a handler. */
  commitIfWanted(isHandling: boolean): void {
    if (!this.#isWanted || this.#isWriting || this.#ended !== undefined || (isHandling && !this.#isForced))
      return;
    this.#isWanted = false;
    this.#isForced = false;
    this.#isWriting = true;
    this.#taken += 1;
    this.#lineage = [...this.#lineage.filter(([life]) => life !== this.#life), [this.#life, this.#taken]];
    const text = this.#nextText;
    const isChanged = text !== undefined && text !== this.#storedText;
    const commit: Commit = {
      sessionID: this.#sessionID,
      expectedTag: this.#tag,
      tag: randomTag(),
      generation: this.#context.generation(),
      lineage: this.#lineage,
      streams: this.#takeStreams(),
      ...(isChanged ? { data: toDataRow(text, this.#context.dataVersion) } : {}),
    };
    this.#nextText = undefined;
    void this.#write(commit, this.#taken, isChanged ? text : undefined);
  }

  /** Takes a commit also in the middle of a handler, as soon as none is on its way. */
  commitNow(): void {
    this.#isForced = true;
    this.commitIfWanted(true);
  }

  /** Makes another write of the session while no commit is on its way. */
  async alone<T>(write: () => Promise<T>): Promise<T> {
    if (this.#isWriting) await new Promise<void>((resolve) => this.#turns.push(resolve));
    this.#isWriting = true;
    try {
      return await write();
    } finally {
      this.#endTurn();
      if (this.#ended === undefined) this.#context.confirmed([]);
    }
  }

  /** The store has no data of the session any more; to be called in the turn of the write that took it away. */
  dataCleared(): void {
    this.#storedText = undefined;
    // A handler asked for it before; it is not to come back.
    if (this.#nextText !== undefined) this.#nextText = this.#context.data.encode();
  }

  #endTurn(): void {
    const next = this.#turns.shift();
    if (next === undefined) this.#isWriting = false;
    else next();
  }

  /** Nothing is written any more. */
  end(error: Error): void {
    this.#ended ??= error;
    for (const { done } of this.#waiting.splice(0)) done(error);
  }

  #takeStreams(): Map<string, string | null> {
    const rows = new Map<string, string | null>();
    for (const tabID of this.#forgotten) rows.set(tabID, null);
    this.#forgotten.clear();
    for (const stream of this.#context.streams.values()) {
      if (!stream.isDirty) continue;
      stream.isDirty = false;
      stream.isStored = true;
      // It is kept for so long after this, not after its attach: that may have been long ago.
      if (stream.isAttached) stream.seenMs = this.#context.clock();
      stream.rowMs = stream.seenMs;
      rows.set(stream.tabID, stream.toRow());
    }
    return rows;
  }

  async #write(commit: Commit, number: number, text: string | undefined): Promise<void> {
    try {
      await this.#context.store.commit(commit);
    } catch (error) {
      this.#endTurn();
      if (this.#ended === undefined) this.#context.refused(error);
      return;
    }
    this.#endTurn();
    if (this.#ended !== undefined) return;
    this.#tag = commit.tag;
    this.#confirmed = number;
    this.#newestCommit = [this.#life, number];
    const changed = text === undefined ? [] : changedKeys(this.#storedText, text);
    this.#storedText = text ?? this.#storedText;
    this.#context.confirmed(changed);
    const ready = this.#waiting.filter(({ barrier }) => barrier <= number);
    this.#waiting = this.#waiting.filter(({ barrier }) => barrier > number);
    for (const { done } of ready) done();
  }
}

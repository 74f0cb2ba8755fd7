import type { Edit, Note, Refusal } from '../messages.ts';

/** A note as the page shows it. */
export interface Entry {
  id: string;
  title: string;
  text: string;
  /** As the server has told it last; `undefined` for one that it does not have yet. */
  note: Note | undefined;
  /** When it was changed, ms since 1970. */
  changedMs: number;
  /** Something of it is not at the server yet. */
  isWaiting: boolean;
  /** Why the server did not take it, or the browser could not keep it. */
  problem: string | undefined;
}

/** What was written here and is not known to be at the server. */
interface Draft {
  title: string;
  text: string;
  changedMs: number;
  /** The revision that the first edit not confirmed builds on. */
  base: string;
  /** Revisions on their way, oldest first. */
  sent: string[];
  /** There is more than was sent. */
  isDirty: boolean;
  problem: string | undefined;
}

/** The page's copy of a user's notes: what the server has told, and over it what was written here since. */
export class Notebook {
  readonly account: string;
  readonly #notes = new Map<string, Note>();
  /** Versions of notes that have gone, in case an older one comes late. */
  readonly #gone = new Map<string, number>();
  readonly #drafts = new Map<string, Draft>();

  constructor(account: string) {
    this.account = account;
  }

  /** All notes, the one changed last first. */
  list(): Entry[] {
    const ids = new Set([...this.#notes.keys(), ...this.#drafts.keys()]);
    return [...ids].map((id) => this.get(id)!).sort((a, b) => b.changedMs - a.changedMs);
  }

  get(id: string): Entry | undefined {
    const note = this.#notes.get(id);
    const draft = this.#drafts.get(id);
    const shown = draft ?? note;
    if (shown === undefined) return undefined;
    return {
      id,
      title: shown.title,
      text: shown.text,
      note,
      changedMs: draft?.changedMs ?? note!.editedMs,
      isWaiting: draft !== undefined,
      problem: draft?.problem,
    };
  }

  /** The other text of a note that two have edited at once. */
  otherTextOf(id: string): Note | undefined {
    const copyOf = this.#notes.get(id)?.copyOf;
    const original = copyOf === undefined ? undefined : this.#notes.get(copyOf);
    return original ?? [...this.#notes.values()].find((note) => note.copyOf === id);
  }

  /** Takes what the server has told, unless something newer is known. @returns The id that this one has followed. */
  take(note: Note): string | undefined {
    const known = Math.max(this.#notes.get(note.id)?.version ?? 0, this.#gone.get(note.id) ?? 0);
    if (note.version <= known) return undefined;
    this.#notes.set(note.id, note);
    this.#gone.delete(note.id);
    this.#confirm(note.id, note.revision);
    const source = this.#drafts.get(note.copyOf ?? '');
    if (note.copyOf === undefined || !source?.sent.includes(note.revision)) return undefined;
    // What was written here did not fit any more: it goes on beside the other text.
    this.#drafts.delete(note.copyOf);
    this.#drafts.set(note.id, source);
    this.#confirm(note.id, note.revision);
    return note.copyOf;
  }

  remove(id: string, version: number): void {
    if (version <= (this.#notes.get(id)?.version ?? 0)) return;
    this.#notes.delete(id);
    this.#gone.set(id, version);
  }

  /** Takes all notes that there are. @param isAllSent Nothing of this browser is on its way any more. */
  replace(notes: readonly Note[], isAllSent: boolean): void {
    const ids = new Set(notes.map(({ id }) => id));
    for (const id of this.#notes.keys()) if (!ids.has(id)) this.#notes.delete(id);
    for (const note of notes) this.take(note);
    if (!isAllSent) return;
    for (const [id, draft] of this.#drafts) {
      const last = draft.sent.at(-1);
      if (last !== undefined) this.#confirm(id, last);
    }
  }

  /** The user has written. */
  write(id: string, title: string, text: string, nowMs: number): void {
    const { base, sent } = this.#drafts.get(id) ?? { base: this.#notes.get(id)?.revision ?? '', sent: [] };
    this.#drafts.set(id, { title, text, changedMs: nowMs, base, sent, isDirty: true, problem: undefined });
  }

  /** Takes what is to be sent now; it counts as sent from then on. @param makeRevision Makes one never used before. */
  takeEdits(makeRevision: () => string): Edit[] {
    const edits: Edit[] = [];
    for (const [id, draft] of this.#drafts) {
      if (!draft.isDirty || draft.problem !== undefined) continue;
      const { title, text, sent } = draft;
      const edit = { account: this.account, id, base: sent.at(-1) ?? draft.base, title, text };
      const revision = makeRevision();
      sent.push(revision);
      draft.isDirty = false;
      edits.push({ ...edit, revision });
    }
    return edits;
  }

  /** An edit did not get there. It stays to be sent with what is written next. @returns Whether the text is here. */
  refuse({ id, revision, message }: Omit<Refusal, 'code'>): boolean {
    const draft = this.#drafts.get(id);
    if (draft === undefined || !draft.sent.includes(revision)) return false;
    draft.sent = draft.sent.filter((one) => one !== revision);
    draft.isDirty = true;
    draft.problem = message;
    return true;
  }

  /** Forgets what was written to a note here and not sent; for one that the server does not have. */
  discard(id: string): void {
    this.#drafts.delete(id);
  }

  /** The server has that revision, and all before it. */
  #confirm(id: string, revision: string): void {
    const draft = this.#drafts.get(id);
    const at = draft?.sent.indexOf(revision) ?? -1;
    if (draft === undefined || at < 0) return;
    draft.sent = draft.sent.slice(at + 1);
    draft.base = revision;
    if (draft.sent.length === 0 && !draft.isDirty) this.#drafts.delete(id);
  }
}

import { randomUUID } from 'node:crypto';
import { AskError } from 'webgram-sessions/server';
import { LIMITS, type Edit, type Note, type NotesPage } from '../messages.ts';
import type { Database, Row } from './database.ts';

/** How a note is kept. */
interface NoteRow extends Note {
  /** Revisions before this one, newest last, so that an edit which comes again is known. */
  earlier: string[];
}

/** What has happened to a note, and who is to know. */
export interface Change {
  note: Note;
  /** Those who may see it now. */
  seenBy: string[];
  /** Those who might see it before. */
  goneFor: string[];
}

const MAX_EARLIER = 50;
/** Notes are handed out so many characters at a time: a frame holds 1 MiB. */
const PAGE_LENGTH = 200_000;

/**
 * The notes of all users. Every call says for whom it is, and finds what that user may see and nothing else.
 *
 * No text is ever lost: an edit that builds on the present revision of a note replaces its text, and any other becomes a
 * note of its own beside it (`copyOf`). What the same device writes behind such an edit goes on there.
 */
export class Notes {
  readonly #database: Database;
  readonly #clock: () => number;

  constructor(database: Database, clock: () => number) {
    this.#database = database;
    this.#clock = clock;
  }

  /** Some notes behind an id, '' for the first ones. */
  async page(account: string, after: string): Promise<Omit<NotesPage, 'account'>> {
    const notes: Note[] = [];
    let length = 0;
    for (const id of await this.#idsOf(account)) {
      if (id <= after) continue;
      const row = await this.#find(account, id);
      if (row === undefined) continue; // It has gone since.
      notes.push(publish(row));
      length += row.title.length + row.text.length;
      if (length > PAGE_LENGTH) return { notes, next: id };
    }
    return { notes };
  }

  /** @throws {AskError} `notebook-full` */
  save(account: string, edit: Edit): Promise<Change> {
    return this.#database.inTurn(async () => {
      const found = await this.#find(account, edit.id);
      const row = found !== undefined && fits(found, edit) ? found : await this.#copyThatFits(account, edit);
      if (row !== undefined) {
        if (hasHad(row, edit.revision)) return asChange(row);
        return this.#write({ ...row, ...this.#contentOf(account, edit), earlier: earlierOf(row) });
      }
      await this.#mustHaveRoom(account);
      const others = found === undefined ? [] : peopleOf(found).filter((name) => name !== account);
      const isNew = edit.base === '' && (await this.#get(edit.id)) === undefined;
      return this.#write({
        ...(isNew ? { id: edit.id } : { id: randomUUID(), copyOf: edit.id }),
        owner: account,
        sharedWith: others,
        version: 0,
        earlier: [],
        ...this.#contentOf(account, edit),
      });
    });
  }

  /** @throws {AskError} `no-note`, `not-owner`, or `changed` when somebody has edited it since. */
  delete(account: string, id: string, base: string): Promise<Change> {
    return this.#database.inTurn(async () => {
      const row = await this.#own(account, id);
      if (row.revision !== base) throw new AskError('changed', 'It has just been edited. Look at it again.');
      const people = peopleOf(row);
      await this.#database.write([[noteKey(id), undefined], ...people.map(unseen(id))]);
      return { note: publish({ ...row, version: row.version + 1 }), seenBy: [], goneFor: people };
    });
  }

  /** @param name A user that exists. @throws {AskError} `no-note`, `not-owner`, `too-many-people`, `notebook-full` */
  share(account: string, id: string, name: string): Promise<Change> {
    return this.#database.inTurn(async () => {
      const row = await this.#own(account, id);
      if (peopleOf(row).includes(name)) return asChange(row);
      if (row.sharedWith.length >= LIMITS.people)
        throw new AskError('too-many-people', `A note is shared with ${LIMITS.people} people at most.`);
      await this.#mustHaveRoom(name);
      return this.#write({ ...row, sharedWith: [...row.sharedWith, name] });
    });
  }

  /** @throws {AskError} `no-note`; `not-owner` when somebody else is to lose it. */
  unshare(account: string, id: string, name: string): Promise<Change> {
    return this.#database.inTurn(async () => {
      const row = name === account ? await this.#visible(account, id) : await this.#own(account, id);
      if (!row.sharedWith.includes(name)) return asChange(row);
      const left = { ...row, sharedWith: row.sharedWith.filter((other) => other !== name) };
      return { ...(await this.#write(left, [unseen(id)(name)])), goneFor: [name] };
    });
  }

  /** A note of the same device that began with an edit which did not fit. */
  async #copyThatFits(account: string, edit: Edit): Promise<NoteRow | undefined> {
    for (const id of await this.#idsOf(account)) {
      const row = await this.#get(id);
      const isIts = row?.copyOf === edit.id && row.owner === account;
      if (isIts && (row.revision === edit.base || hasHad(row, edit.revision))) return row;
    }
    return undefined;
  }

  #contentOf(account: string, { title, text, revision }: Edit) {
    return { title, text, revision, editedBy: account, editedMs: this.#clock() };
  }

  async #write(changed: NoteRow, more: readonly Row[] = []): Promise<Change> {
    const row = { ...changed, version: changed.version + 1 };
    const seen = peopleOf(row).map((name): Row => [seenKey(name, row.id), 1]);
    await this.#database.write([[noteKey(row.id), row], ...seen, ...more]);
    return asChange(row);
  }

  async #mustHaveRoom(account: string): Promise<void> {
    if ((await this.#idsOf(account)).length >= LIMITS.notes)
      throw new AskError('notebook-full', `A notebook of ${LIMITS.notes} notes is full.`);
  }

  #get(id: string): Promise<NoteRow | undefined> {
    return this.#database.get<NoteRow>(noteKey(id));
  }

  #idsOf(account: string): Promise<string[]> {
    return this.#database.keys(seenKey(account, ''));
  }

  async #find(account: string, id: string): Promise<NoteRow | undefined> {
    const row = await this.#get(id);
    return row !== undefined && peopleOf(row).includes(account) ? row : undefined;
  }

  /** What one may not see is answered as what is not there. */
  async #visible(account: string, id: string): Promise<NoteRow> {
    const row = await this.#find(account, id);
    if (row === undefined) throw new AskError('no-note', 'There is no such note any more.');
    return row;
  }

  async #own(account: string, id: string): Promise<NoteRow> {
    const row = await this.#visible(account, id);
    if (row.owner !== account) throw new AskError('not-owner', `Only ${row.owner} can do that.`);
    return row;
  }
}

/** It builds on the present text, leaves it as it is, or has come before. */
function fits(row: NoteRow, { base, revision, title, text }: Edit): boolean {
  return row.revision === base || hasHad(row, revision) || (row.title === title && row.text === text);
}

function hasHad(row: NoteRow, revision: string): boolean {
  return row.revision === revision || row.earlier.includes(revision);
}

function earlierOf({ earlier, revision }: NoteRow): string[] {
  return [...earlier, revision].slice(-MAX_EARLIER);
}

function asChange(row: NoteRow): Change {
  return { note: publish(row), seenBy: peopleOf(row), goneFor: [] };
}

function publish({ earlier: _earlier, ...note }: NoteRow): Note {
  return note;
}

function peopleOf({ owner, sharedWith }: NoteRow): string[] {
  return [owner, ...sharedWith];
}

function noteKey(id: string): string {
  return `note!${id}`;
}

function seenKey(account: string, id: string): string {
  return `seen!${account}!${id}`;
}

function unseen(id: string) {
  return (name: string): Row => [seenKey(name, id), undefined];
}

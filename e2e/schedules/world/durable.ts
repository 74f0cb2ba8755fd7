import { decodeJson } from 'webgram';
import type { Commit, StoredSession } from '../../../server/store/store.ts';
import { EMPTY } from './messages.ts';
import type { Data } from './messages.ts';

/** What the store holds for certain: the application's data as of the last commit that was made. */
export class Durable {
  data: Data = EMPTY;
  /** Something was saved outside of handlers, leftovers included. */
  isSavedOutside = false;
  /** Entries by message. */
  #runs = new Map<string, number>();
  /** Data as each life has found it. */
  readonly #loaded = new Map<number, Data>();
  readonly #failed: (why: string) => void;
  readonly #isSaved: (id: string) => boolean;
  readonly #mayRepeat: (id: string) => boolean;
  #sessionID: number | undefined;

  /**
   * @param isSaved Whether the handler of that message saves.
   * @param mayRepeat Whether that message may have its effect twice.
   */
  constructor(
    failed: (why: string) => void,
    isSaved: (id: string) => boolean,
    mayRepeat: (id: string) => boolean,
  ) {
    this.#failed = failed;
    this.#isSaved = isSaved;
    this.#mayRepeat = mayRepeat;
  }

  /** The run that has left the message's entry; `undefined` when there is none. */
  runOf(id: string): number | undefined {
    return this.#runs.get(id);
  }

  /** The data that a life began with. */
  atBeginOf(life: number): Data {
    return this.#loaded.get(life) ?? EMPTY;
  }

  loaded(stored: StoredSession | undefined): void {
    if (stored === undefined) return;
    this.#sessionID ??= stored.sessionID;
    if (this.#sessionID !== stored.sessionID) this.#failed(`two sessions: ${stored.sessionID}`);
    this.#loaded.set(stored.life, parse(stored.data));
  }

  committed({ data: row }: Commit): void {
    if (row === undefined) return;
    const data = parse(row);
    const before = this.data;
    this.data = data;
    if (data.count !== data.log.length + data.leftovers.length) {
      this.#failed(`torn data: ${data.count} begun, ${data.log.length} + ${data.leftovers.length} written`);
    }
    const isOnlyMore =
      data.log.length === before.log.length && data.leftovers.length > before.leftovers.length;
    if (isOnlyMore && !this.isSavedOutside) this.#failed('what no handler has saved was saved');
    before.log.forEach(({ id, run }, at) => {
      const now = data.log[at];
      if (now?.id !== id || now.run !== run) this.#failed(`the commit of ${id} was undone by a later one`);
    });
    for (const { id, run } of data.log.slice(before.log.length)) {
      if (this.#runs.has(id) && !this.#mayRepeat(id)) this.#failed(`doubled in data: ${id}`);
      if (!this.#isSaved(id)) this.#failed(`saved although its handler did not save, or threw: ${id}`);
      this.#runs.set(id, run);
    }
    const twice = data.leftovers.find((id, at) => data.leftovers.indexOf(id) !== at);
    if (twice !== undefined && !this.#mayRepeat(twice)) this.#failed(`doubled in data: ${twice}`);
  }
}

function parse(row: string | undefined): Data {
  if (row === undefined) return EMPTY;
  return { ...EMPTY, ...(decodeJson(row.slice(row.indexOf(':') + 1)) as Partial<Data>) };
}

/**
 * What a tab can send, by what its handler does.
 *
 * | kind | asked | handler |
 * | --- | --- | --- |
 * | save | yes | changes the data, saves, sends notes |
 * | fire | no | the same |
 * | now | yes | the same, with `save({ now: true })` before it sends |
 * | pure | yes | reads the data |
 * | unsaved | yes | changes the data and does not save |
 * | send | yes | sends notes without saving |
 * | tell | no | the same |
 * | throw | yes | changes the data, saves, sends, and throws |
 * | concurrent | yes | sends notes, and lets others in while it waits |
 * | share | yes | lets others in while it waits, and changes the data in an update, once |
 */
export const KINDS = [
  'save',
  'fire',
  'now',
  'pure',
  'unsaved',
  'send',
  'tell',
  'throw',
  'concurrent',
  'share',
] as const;
export type Kind = (typeof KINDS)[number];

/** Kinds that nobody answers. */
const FIRED: ReadonlySet<Kind> = new Set(['fire', 'tell']);
/** Kinds that leave an entry in the saved data. */
const SAVING: ReadonlySet<Kind> = new Set(['save', 'fire', 'now', 'share']);

export const isAsked = (kind: Kind): boolean => !FIRED.has(kind);
export const isSaving = (kind: Kind): boolean => SAVING.has(kind);

/** One message of a tab: `a3` is the third of tab `a`. */
export interface Message {
  readonly id: string;
  readonly tab: string;
  /** Which one of its tab, from 1. */
  readonly n: number;
  readonly kind: Kind;
  /** How the ask ended; `undefined` while it waits and for what is not asked. */
  settled: { value: unknown } | { code: string } | undefined;
  /** Why it need not have had its effect: nobody was left who could bring it, or its tab was told of a gap. */
  excused: string | undefined;
}

/** One entry of the data: the message whose handler wrote it, and in which run. */
export interface Entry {
  id: string;
  run: number;
}

/** `sessionData` of the application under test. */
export interface Data {
  /** Entries and leftovers together: counted when a handler begins, so that a torn state shows. */
  count: number;
  log: Entry[];
  /** What handlers wrote that did not save. */
  leftovers: string[];
}

export const EMPTY: Data = { count: 0, log: [], leftovers: [] };

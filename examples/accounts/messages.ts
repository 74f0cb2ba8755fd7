/** What pages and server of this example say to each other. */
export interface App {
  /** From a page. */
  server: {
    /** Makes a user and logs him in. */
    'sign-up'(name: string, password: string): void;
    'log-in'(name: string, password: string): void;
    /** The notes that the user may see, some at a time: those behind an id. */
    notes(after: string): NotesPage;
    /** Sent durably: it arrives once, however long that takes. */
    'save-note'(edit: Edit): void;
    'delete-note'(id: string, base: string): void;
    'share-note'(id: string, name: string): void;
    /** The owner takes it from somebody, or somebody leaves it. */
    'unshare-note'(id: string, name: string): void;
  };
  /** From the server. */
  page: {
    /** Somebody has logged in, perhaps in another tab. */
    account(name: string): void;
    /** A note is new or has changed: told to all devices of everybody who may see it. */
    note(note: Note): void;
    /** It was deleted, or is no longer shared with this user. */
    'note-gone'(id: string, version: number): void;
    /** An edit was not taken. */
    'not-kept'(refusal: Refusal): void;
    /** The user has logged in somewhere else. */
    'new-device'(label: string): void;
  };
}

export interface Note {
  id: string;
  /** User name. */
  owner: string;
  /** Names of the others who may see and edit it. */
  sharedWith: string[];
  title: string;
  text: string;
  /** Names the edit that made the text: the next edit says that it builds on this one. */
  revision: string;
  /** Counts every change, sharing included, so that of two copies the newer one is known. */
  version: number;
  editedBy: string;
  /** By the server's clock, ms since 1970. */
  editedMs: number;
  /** The note whose text had changed meanwhile, when this one was made so that neither text is lost. */
  copyOf?: string;
}

export interface Edit {
  /** Who has written it. */
  account: string;
  id: string;
  /** The revision that was edited; '' for a new note. */
  base: string;
  /** Chosen by the page, never used again. */
  revision: string;
  title: string;
  text: string;
}

export interface NotesPage {
  /** `null`: nobody is logged in. */
  account: string | null;
  notes: Note[];
  /** There is more behind this id. */
  next?: string;
}

export interface Refusal {
  id: string;
  revision: string;
  code: string;
  message: string;
}

export const LIMITS = {
  /** In UTF-16 units. */
  title: 120,
  /** In UTF-16 units. */
  text: 10_000,
  /** Notes that one user may see. */
  notes: 500,
  /** People with whom a note is shared. */
  people: 20,
  passwordMin: 8,
  passwordMax: 128,
};

import { decodeJson, encodeJson } from 'webgram';
import type { Visits } from './store/store.ts';

/** What the system itself keeps of a session; read-only on `conn.sessionData`. */
export interface SystemFields {
  sessionID: number;
  fromClient: unknown;
  visits: Visits;
}

/**
 * `conn.sessionData`: the application's own properties, and the system's behind getters.
 *
 * All connections of a session share this one object; it is changed in place and never replaced.
 */
class SessionDataObject {
  readonly #system: SystemFields;

  constructor(system: SystemFields) {
    this.#system = system;
  }

  get id(): number {
    return this.#system.sessionID;
  }
  get _sessionID(): number {
    return this.#system.sessionID;
  }
  get _firstVisitTime(): Date {
    return new Date(this.#system.visits.firstMs);
  }
  /** As the README of the original package spells it. */
  get _firstVistTime(): Date {
    return this._firstVisitTime;
  }
  get _previousVisitTime(): Date | undefined {
    const { previousMs } = this.#system.visits;
    return previousMs === undefined ? undefined : new Date(previousMs);
  }
  get _latestVisitTime(): Date {
    return new Date(this.#system.visits.latestMs);
  }
  get _fromClient(): unknown {
    return this.#system.fromClient;
  }
}

/** The system fields of every `sessionData`. */
export type SystemData = Pick<SessionDataObject, Exclude<keyof SessionDataObject, never>>;

/** Holds the one `sessionData` object of a session, and takes it to text and back. */
export class SessionData {
  readonly #object: SessionDataObject & Record<string, unknown>;
  readonly #loadedText: string;
  #wasRead = false;
  /** How often it was cleared: nothing of before comes back. */
  #clears = 0;

  /** @param text As written by `encode`; `undefined` for a session that has saved nothing yet. */
  constructor(system: SystemFields, text: string | undefined) {
    this.#object = new SessionDataObject(system) as SessionDataObject & Record<string, unknown>;
    this.#loadedText = text ?? '{}';
    this.#fill(this.#loadedText);
  }

  /** The object. From the first read on, anybody may change it at any time. */
  get object(): Record<string, unknown> {
    this.#wasRead = true;
    return this.#object;
  }

  /** The same, for those who must not change it: they get a `TypeError`. */
  get readOnly(): Record<string, unknown> {
    this.#wasRead = true;
    return readOnly(this.#object);
  }

  /** @throws {WebgramError} `WEBGRAM_NOT_ENCODABLE`, naming the place. */
  encode(): string {
    return encodeJson({ ...this.#object });
  }

  /** Takes everything of the application away, in place and for good. */
  clear(): void {
    this.#clears += 1;
    this.#wasRead = true;
    this.#restore('{}');
  }

  /** Remembers the object as it is now. @returns Brings it back to that, in place; to nothing after a `clear`. */
  checkpoint(): () => void {
    const clears = this.#clears;
    const restore = this.#checkpoint();
    return () => {
      if (this.#clears === clears) restore();
      else this.#restore('{}');
    };
  }

  #checkpoint(): () => void {
    if (!this.#wasRead) {
      // Nobody has ever had it in hands, so it is as it was loaded.
      return () => {
        if (this.#wasRead) this.#restore(this.#loadedText);
      };
    }
    try {
      const text = this.encode();
      return () => {
        this.#restore(text);
      };
    } catch {
      // Something unsaved in it cannot be encoded, so it cannot be brought back either; `save` says what it is.
      return () => undefined;
    }
  }

  #restore(text: string): void {
    for (const key of Object.keys(this.#object)) delete this.#object[key];
    this.#fill(text);
  }

  /** Defines rather than assigns: a key called `__proto__` is data like any other. */
  #fill(text: string): void {
    for (const [key, value] of Object.entries(decodeJson(text) as Record<string, unknown>)) {
      Object.defineProperty(this.#object, key, {
        value,
        writable: true,
        enumerable: true,
        configurable: true,
      });
    }
  }
}

/** A view of an object, and of the plain objects and arrays in it, through which nothing can be changed. */
function readOnly<T extends object>(target: T): T {
  const refuse = (): never => {
    throw new TypeError('a concurrent handler changes sessionData in conn.update(fn)');
  };
  return new Proxy(target, {
    get: (object, key) => {
      // Getters of the system's fields want the object itself.
      const value: unknown = Reflect.get(object, key, object);
      return isContainer(value) ? readOnly(value) : value;
    },
    set: refuse,
    defineProperty: refuse,
    deleteProperty: refuse,
    setPrototypeOf: refuse,
    preventExtensions: refuse,
  });
}

/** What changes in place by assignment; the methods of others want the object itself. */
function isContainer(value: unknown): value is object {
  if (typeof value !== 'object' || value === null) return false;
  const prototype: unknown = Object.getPrototypeOf(value);
  return Array.isArray(value) || prototype === Object.prototype || prototype === null;
}

/** The top-level keys in which two encoded objects differ. */
export function changedKeys(before: string | undefined, after: string): string[] {
  const old = (before === undefined ? {} : decodeJson(before)) as Record<string, unknown>;
  const now = decodeJson(after) as Record<string, unknown>;
  const keys = new Set([...Object.keys(old), ...Object.keys(now)]);
  return [...keys].filter(
    (key) =>
      Object.hasOwn(old, key) !== Object.hasOwn(now, key) || encodeJson(old[key]) !== encodeJson(now[key]),
  );
}

import { WebgramError } from 'webgram';
import type { IdentitiesOf, IdentityEntry } from '../../identities.ts';
import { Gate } from './gate.ts';

/** What a test says of an identity; the rest is as usual. */
export type Given = Partial<IdentityEntry> & { id: string };

/** A wallet in memory, for one tab. Calls wait while `gate` is closed. */
export class TestIdentities implements IdentitiesOf {
  /** What was called, with its arguments, but for the lists. */
  readonly calls: unknown[][] = [];
  /** What the next call rejects with. */
  fault: Error | undefined;
  readonly gate = new Gate();
  pinned: string | undefined;
  readonly #listeners = new Set<(entries: IdentityEntry[]) => void>();
  #entries: IdentityEntry[];

  /** @param given The first is the active one. */
  constructor(given: Given[]) {
    this.#entries = given.map((entry, index) => ({
      sessionID: index + 1,
      isActive: index === 0,
      isCurrent: index === 0,
      storage: 'persistent',
      createdAtMs: index,
      ...entry,
    }));
  }

  /** How many listen. */
  get listeners(): number {
    return this.#listeners.size;
  }

  async list(): Promise<IdentityEntry[]> {
    await this.#call('list');
    return this.#seen();
  }

  async add(): Promise<IdentityEntry> {
    await this.#call('add');
    return this.#addUnused();
  }

  async switchTo(id: string): Promise<void> {
    await this.#call('switchTo', id);
    this.#find(id);
    this.pinned = undefined;
    this.#change((entry) => ({ ...entry, isActive: entry.id === id, isCurrent: entry.id === id }));
  }

  async pin(id: string | undefined): Promise<void> {
    await this.#call('pin', id);
    this.pinned = id;
    this.#change((entry) => ({
      ...entry,
      isCurrent: id === undefined ? entry.isActive : entry.id === id,
    }));
  }

  async rename(id: string, name: string): Promise<void> {
    await this.#call('rename', id, name);
    this.#find(id);
    this.#change((entry) => {
      const { name: _, ...rest } = entry;
      return entry.id !== id ? entry : name === '' ? rest : { ...rest, name };
    });
  }

  async signOut(id: string): Promise<void> {
    await this.#call('signOut', id);
    this.#end([this.#find(id)]);
  }

  async signOutAll(): Promise<void> {
    await this.#call('signOutAll');
    this.#end(this.#entries);
  }

  async forget(id: string): Promise<void> {
    await this.#call('forget', id);
    this.#end([this.#find(id)]);
  }

  onChange(listener: (entries: IdentityEntry[]) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** As if another tab had logged in, or the server had told something new. */
  change(id: string, change: Partial<IdentityEntry>): void {
    this.#change((entry) => (entry.id === id ? { ...entry, ...change } : entry));
  }

  async #call(...call: unknown[]): Promise<void> {
    if (call[0] !== 'list') this.calls.push(call);
    await this.gate.opened;
    const { fault } = this;
    this.fault = undefined;
    if (fault !== undefined) throw fault;
  }

  #find(id: string): IdentityEntry {
    const found = this.#entries.find((entry) => entry.id === id);
    if (found === undefined) throw new WebgramError('WEBGRAM_STORAGE_FAILED', `no identity ${id}`);
    return found;
  }

  #addUnused(): IdentityEntry {
    const unused = this.#entries.find(({ account }) => account === undefined) ?? {
      id: crypto.randomUUID(),
      isActive: false,
      isCurrent: false,
      storage: 'persistent' as const,
      createdAtMs: this.#entries.length,
    };
    this.#entries = [...this.#entries.filter(({ id }) => id !== unused.id), unused];
    this.#change((entry) => ({
      ...entry,
      isActive: entry.id === unused.id,
      isCurrent: entry.id === unused.id,
    }));
    return { ...unused, isActive: true, isCurrent: true };
  }

  #end(ended: IdentityEntry[]): void {
    this.#entries = this.#entries.filter((entry) => !ended.includes(entry));
    if (ended.some(({ isCurrent }) => isCurrent)) this.#addUnused();
    else this.#change((entry) => entry);
  }

  #change(how: (entry: IdentityEntry) => IdentityEntry): void {
    this.#entries = this.#entries.map(how);
    for (const listener of this.#listeners) listener(this.#seen());
  }

  #seen(): IdentityEntry[] {
    return this.#entries.map((entry) => ({ ...entry }));
  }
}

import { closeSync, constants, fsyncSync, openSync, readFileSync, writeSync } from 'node:fs';
import path from 'node:path';
import { seal, unseal } from './level-seal.ts';

/** What has been acknowledged, as the witness remembers it. */
export interface Testimony {
  /** Synced batches. */
  synced: number;
  rows: number;
  keys: number;
  /** The lowest sessionID that was never dispensed. */
  next: number;
  /** Unpadded base64url of the storeID. */
  storeID: string;
}

export const WITNESS_FILE = 'ACKNOWLEDGED';

const SLOT_BYTES = 128;

/**
 * Remembers beside the database what was acknowledged, so that a database that has lost its end is known by it.
 *
 * It is written after the synced batch it speaks of, without a sync of its own: it may lag behind the database and
 * is never ahead of an undamaged one. Two slots take turns, so that half a write leaves the other one.
 */
export class Witness {
  readonly #file: number;
  #slot = 0;

  private constructor(file: number) {
    this.#file = file;
  }

  /** Opens the witness of a folder for writing, making it when there is none. */
  static open(folder: string): Witness {
    const name = path.join(folder, WITNESS_FILE);
    return new Witness(openSync(name, constants.O_RDWR | constants.O_CREAT, 0o600));
  }

  /** @returns The newer testimony that can be understood; `undefined` when there is none. */
  static read(folder: string): Testimony | undefined {
    let bytes: Buffer;
    try {
      bytes = readFileSync(path.join(folder, WITNESS_FILE));
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
      throw error;
    }
    const found = [0, 1]
      .map((slot) => parse(bytes.toString('latin1', slot * SLOT_BYTES, (slot + 1) * SLOT_BYTES)))
      .filter((testimony) => testimony !== undefined);
    return found.sort((a, b) => b.synced - a.synced)[0];
  }

  /** Replaces the older testimony. */
  write({ synced, rows, keys, next, storeID }: Testimony): void {
    const text = seal(WITNESS_FILE, JSON.stringify([1, synced, rows, keys, next, storeID]));
    this.#slot = 1 - this.#slot;
    writeSync(this.#file, `${text.padEnd(SLOT_BYTES - 1)}\n`, this.#slot * SLOT_BYTES, 'latin1');
  }

  sync(): void {
    fsyncSync(this.#file);
  }

  close(): void {
    closeSync(this.#file);
  }
}

function parse(slot: string): Testimony | undefined {
  const text = unseal(WITNESS_FILE, slot.trimEnd());
  if (text === undefined || text === '') return undefined;
  const [version, synced, rows, keys, next, storeID] = JSON.parse(text) as [
    number,
    number,
    number,
    number,
    number,
    string,
  ];
  return version === 1 ? { synced, rows, keys, next, storeID } : undefined;
}

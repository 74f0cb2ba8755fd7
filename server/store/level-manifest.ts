import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { maskedCrc32c, Reader } from './level-bytes.ts';
import { unlessMissing } from './level-files.ts';

const BLOCK_BYTES = 32_768;
/** Checksum, length and type before every piece of a record. */
const HEADER_BYTES = 7;

const FULL = 1;
const FIRST = 2;
const LAST = 4;

/**
 * Tells which tables belong to a database, by its manifest.
 *
 * @returns Their numbers; `undefined` when there is no manifest that can be read: LevelDB will refuse it too.
 * @see https://github.com/google/leveldb/blob/main/doc/impl.md
 */
export async function liveTables(folder: string): Promise<ReadonlySet<number> | undefined> {
  const current = await readFile(path.join(folder, 'CURRENT'), 'latin1').catch(unlessMissing);
  if (current === undefined || !/^MANIFEST-\d+\n$/.test(current)) return undefined;
  const manifest = await readFile(path.join(folder, current.trimEnd())).catch(unlessMissing);
  if (manifest === undefined) return undefined;
  try {
    const live = new Set<number>();
    for (const edit of recordsIn(manifest)) apply(edit, live);
    return live;
  } catch (error) {
    if (error instanceof RangeError) return undefined;
    throw error;
  }
}

/** @see https://github.com/google/leveldb/blob/main/doc/log_format.md */
function* recordsIn(log: Buffer): Generator<Buffer> {
  let pieces: Buffer[] = [];
  let at = 0;
  while (at + HEADER_BYTES <= log.length) {
    const leftInBlock = BLOCK_BYTES - (at % BLOCK_BYTES);
    if (leftInBlock < HEADER_BYTES) {
      at += leftInBlock;
      continue;
    }
    const length = log.readUInt16LE(at + 4);
    const type = log.readUInt8(at + 6);
    const end = at + HEADER_BYTES + length;
    // The writer died in the middle of it: it does not count.
    if (end > log.length) return;
    if (maskedCrc32c(log, at + 6, end) !== log.readUInt32LE(at)) throw new RangeError('a checksum is wrong');
    if (type === FULL || type === FIRST) pieces = [];
    pieces.push(log.subarray(at + HEADER_BYTES, end));
    if (type === FULL || type === LAST) yield Buffer.concat(pieces);
    at = end;
  }
}

/** Applies one change of the set of tables. */
function apply(edit: Buffer, live: Set<number>): void {
  const reader = new Reader(edit);
  while (!reader.isAtEnd) {
    const tag = reader.varint();
    switch (tag) {
      case 1: // The name of the order of keys.
        reader.skipPrefixed();
        break;
      case 2: // The log,
      case 3: // the next number of a file,
      case 4: // the last sequence number,
      case 9: // the log before.
        reader.varint();
        break;
      case 5: // Where the last compaction of a level ended.
        reader.varint();
        reader.skipPrefixed();
        break;
      case 6: // A table less, at a level.
        reader.varint();
        live.delete(reader.varint());
        break;
      case 7: // A table more, at a level, with its size and its keys.
        reader.varint();
        live.add(reader.varint());
        reader.varint();
        reader.skipPrefixed();
        reader.skipPrefixed();
        break;
      default:
        throw new RangeError(`tag ${tag} is not known`);
    }
  }
}

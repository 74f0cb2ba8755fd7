import { readFile, rm } from 'node:fs/promises';
import path from 'node:path';
import { maskedCrc32c, Reader } from './level-bytes.ts';
import { databaseFiles, unlessMissing } from './level-files.ts';
import { liveTables } from './level-manifest.ts';

const FOOTER_BYTES = 48;
const MAGIC = 0xdb4775248b80fb57n;
/** Compression byte and checksum behind every block. */
const TRAILER_BYTES = 5;
const SNAPPY = 1;

/**
 * Finds the tables of a closed database that have a block with a wrong checksum. Tables that do not belong to it are
 * passed over: a process that died while it wrote one leaves it unfinished, and LevelDB deletes it.
 *
 * LevelDB reads tables unchecked, and ends the whole process when it stumbles over what it finds in one.
 *
 * @returns Names of files.
 * @see https://github.com/google/leveldb/blob/main/doc/table_format.md
 */
export async function damagedTables(folder: string): Promise<string[]> {
  const files = await databaseFiles(folder);
  const live = await liveTables(folder);
  const damaged: string[] = [];
  for (const name of files) {
    const number = /^(\d+)\.(?:ldb|sst)$/.exec(name)?.[1];
    if (number === undefined || live?.has(Number(number)) === false) continue;
    const table = await readFile(path.join(folder, name)).catch(unlessMissing);
    if (table !== undefined && !isWhole(table)) damaged.push(name);
  }
  return damaged;
}

/** Takes files out of a folder; they have another name elsewhere. */
export async function removeTables(folder: string, names: readonly string[]): Promise<void> {
  for (const name of names) await rm(path.join(folder, name));
}

interface Handle {
  offset: number;
  size: number;
}

function isWhole(table: Buffer): boolean {
  try {
    if (table.length < FOOTER_BYTES || table.readBigUInt64LE(table.length - 8) !== MAGIC) return false;
    const footer = new Reader(table.subarray(-FOOTER_BYTES));
    return [handleAt(footer), handleAt(footer)].every((indexHandle) =>
      handlesIn(readBlock(table, indexHandle)).every((handle) => isBlockWhole(table, handle)),
    );
  } catch (error) {
    // Anything that is read behind an end, or makes no sense.
    if (error instanceof RangeError) return false;
    throw error;
  }
}

function handleAt(reader: Reader): Handle {
  return { offset: reader.varint(), size: reader.varint() };
}

function isBlockWhole(table: Buffer, { offset, size }: Handle): boolean {
  const checksum = table.readUInt32LE(offset + size + 1);
  return maskedCrc32c(table, offset, offset + size + 1) === checksum;
}

function readBlock(table: Buffer, handle: Handle): Buffer {
  if (!isBlockWhole(table, handle)) throw new RangeError('the checksum of an index is wrong');
  const { offset, size } = handle;
  if (offset + size + TRAILER_BYTES > table.length) throw new RangeError('a block ends behind the file');
  const content = table.subarray(offset, offset + size);
  return table[offset + size] === SNAPPY ? unsnappy(content) : content;
}

/** The values of an index block: where the other blocks are. */
function handlesIn(block: Buffer): Handle[] {
  const restarts = block.readUInt32LE(block.length - 4);
  const reader = new Reader(block.subarray(0, block.length - 4 * (restarts + 1)));
  const handles: Handle[] = [];
  while (!reader.isAtEnd) {
    reader.varint();
    const keyBytes = reader.varint();
    const valueBytes = reader.varint();
    reader.skip(keyBytes);
    const end = reader.at + valueBytes;
    handles.push(handleAt(reader));
    reader.at = end;
  }
  return handles;
}

/** @see https://github.com/google/snappy/blob/main/format_description.txt */
function unsnappy(input: Buffer): Buffer {
  const reader = new Reader(input);
  const output = Buffer.alloc(Math.min(reader.varint(), 2 ** 28));
  let at = 0;
  let from = reader.at;
  while (from < input.length) {
    const tag = input.readUInt8(from++);
    const kind = tag & 3;
    let length = (tag >> 2) + 1;
    if (kind === 0) {
      if (length > 60) {
        const bytes = length - 60;
        length = input.readUIntLE(from, bytes) + 1;
        from += bytes;
      }
      at += input.copy(output, at, from, from + length);
      from += length;
      continue;
    }
    let distance: number;
    if (kind === 1) {
      length = ((tag >> 2) & 7) + 4;
      distance = ((tag >> 5) << 8) | input.readUInt8(from++);
    } else {
      const bytes = kind === 2 ? 2 : 4;
      distance = input.readUIntLE(from, bytes);
      from += bytes;
    }
    if (distance === 0 || distance > at || at + length > output.length) throw new RangeError('a bad copy');
    // Byte by byte: a copy may run into what it writes.
    for (const end = at + length; at < end; at += 1) output[at] = output[at - distance]!;
  }
  return output;
}

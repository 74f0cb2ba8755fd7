/**
 * PROTOCOL.md is checked against the code: its examples are decoded, and a hash of everything that it lays down
 * stands in layout.json. `WEBGRAM_PRINT_LAYOUT=1` prints the hash that belongs there.
 */
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import {
  CLOSE,
  cborCodec,
  codecs,
  decodeJson,
  DEFAULT_LIMITS,
  DENIAL_CODES,
  KIND,
  MAX_BIGINT_DIGITS,
  MAX_CAP_LENGTH,
  MAX_CAPS,
  MAX_JSON_DEPTH,
  MAX_TYPE_LENGTH,
  MAX_VIEW_BYTES,
  OUTCOME_REASONS,
  parseDown,
  parseUp,
  PROTOCOL_VERSION,
  sealedName,
  SUITE,
  toWire,
} from 'webgram';
import type { Vector } from '../../webgram/vectors.make.ts';

const read = (name: string) => readFileSync(new URL(`../../${name}`, import.meta.url), 'utf8');
const text = read('webgram/PROTOCOL.md');
const vectors = JSON.parse(read('webgram/vectors.json')) as Vector[];

/** Rows of the tables whose last cell is code: cells without their quotes. */
const rows = text
  .split('\n')
  .filter((line) => line.startsWith('| ') && line.endsWith('` |'))
  .map((line) => line.slice(2, -2).split(' | '));
const unquote = (cell: string) => cell.trim().replace(/^`|`$/g, '');
const examples = rows.filter(
  (cells) => cells.length === 4 && /^\d+ \w+$/.test(cells[0]!) && ['up', 'down'].includes(cells[1]!),
);
const frames = rows.filter((cells) => cells.length === 2 && cells[0]!.includes(', client, n = '));

describe('the examples of envelopes', () => {
  test.each(examples)('%s %s %s', (kind, direction, jsonCell, cborCell) => {
    const json = unquote(jsonCell);
    const wire = decodeJson(json) as unknown[];
    expect(Buffer.from(cborCodec.encode(wire).data as Uint8Array).toString('hex')).toBe(unquote(cborCell));
    const envelope = direction === 'up' ? parseUp(wire) : parseDown(wire);
    expect(toWire(envelope)).toEqual(wire);
    expect(kind).toBe(`${KIND[envelope.kind]} ${envelope.kind}`);
  });

  test('show every kind', () => {
    const shown = new Set(examples.map(([kind]) => kind));
    expect([...shown].sort()).toEqual(
      Object.entries(KIND)
        .map(([name, kind]) => `${kind} ${name}`)
        .sort(),
    );
  });
});

describe('the examples of frames', () => {
  test.each(frames)('%s', (name, cell) => {
    const [, subprotocol, vectorName, n] = /^`([^`]+)`, `([^`]+)`, client, n = (\d+)/.exec(name)!;
    const { given, wanted } = vectors.find((vector) => vector.name === vectorName)!;
    expect(given.views.chosen).toBe(subprotocol);
    const frame = wanted.clientFrames[Number(n)]!;
    const encoding = subprotocol === 'webgram.2.json' ? 'utf8' : 'base64url';
    expect(unquote(cell)).toBe(Buffer.from(frame, encoding).toString('hex'));
  });

  test('show every subprotocol', () => {
    expect(frames).toHaveLength(codecs.length * 2);
  });
});

test.each([
  ['close code', Object.values(CLOSE)],
  ['denial', DENIAL_CODES],
  ['outcome', OUTCOME_REASONS],
  ['subprotocol', codecs.flatMap((codec) => [codec.subprotocol, sealedName(codec)])],
])('every %s is in the text', (_what, names) => {
  for (const name of names) expect(text).toMatch(new RegExp(`(\`|\\| |\`")${name}(\`|"| \\|)`));
});

/** Of a row its first cell and what stands in backticks: words around them may get better. */
function essence(line: string): string {
  const kept = line.startsWith('|') ? [line.split('|')[1]!, ...(line.match(/`[^`]+`/g) ?? [])] : [line];
  return kept.join(' ').replace(/\s+/g, ' ').trim();
}

/** Everything that two ends must agree on, as far as a machine can read it. */
function layout(vectorCount: number): string {
  const code = {
    PROTOCOL_VERSION,
    SUITE,
    KIND,
    CLOSE,
    DENIAL_CODES,
    OUTCOME_REASONS,
    numbers: [
      DEFAULT_LIMITS.maxHandshakeBytes,
      DEFAULT_LIMITS.maxFromClientBytes,
      MAX_BIGINT_DIGITS,
      MAX_CAPS,
      MAX_CAP_LENGTH,
      MAX_JSON_DEPTH,
      MAX_TYPE_LENGTH,
      MAX_VIEW_BYTES,
    ],
    subprotocols: codecs.map(({ subprotocol, binary }) => [subprotocol, binary]),
  };
  const laidDown = /\n## 3\. [^]*?\n## 8\. /.exec(text)![0];
  let isCode = false;
  const lines = laidDown.split('\n').filter((line) => {
    if (line.startsWith('```')) isCode = !isCode;
    return isCode || line.startsWith('|');
  });
  const wanted = vectors
    .slice(0, vectorCount)
    .map(({ name, given, wanted: answers }) => ({ name, given, answers }));
  return JSON.stringify({ code, lines: lines.map(essence), wanted });
}

interface Revision {
  revision: string;
  /** How many of vectors.json it covers: more of them are no change. */
  vectors: number;
  sha256: string;
}

test('the layout changes only with a revision of its own, which the changelog names', () => {
  const revisions = JSON.parse(read('webgram/layout.json')) as Revision[];
  const last = revisions.at(-1)!;
  const sha256 = createHash('sha256').update(layout(last.vectors)).digest('hex');
  if (process.env['WEBGRAM_PRINT_LAYOUT'] !== undefined) console.log(sha256);
  const numbers = revisions.map(({ revision }) => revision);
  expect(numbers).toEqual(numbers.map((_, i) => `${PROTOCOL_VERSION}.${i}`));
  expect(new Set(revisions.map((one) => one.sha256)).size).toBe(revisions.length);
  expect(
    last.sha256,
    'the layout has changed: add a revision with this hash to webgram/layout.json, and name it in CHANGELOG.md',
  ).toBe(sha256);
  expect(read('CHANGELOG.md')).toContain(`protocol ${last.revision}`);
});

test('the error codes of the text exist', async () => {
  const { ERROR_CODES } = await import('webgram');
  const named = new Set(text.match(/WEBGRAM_[A-Z_]+/g));
  expect(named.size).toBeGreaterThan(4);
  for (const code of named) expect(ERROR_CODES).toContain(code);
});

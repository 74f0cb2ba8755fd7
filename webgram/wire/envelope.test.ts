import { describe, expect, test } from 'vitest';
import fc from 'fast-check';
import {
  KIND,
  OUTCOME_REASONS,
  parseDown,
  parseUp,
  toWire,
  type DownEnvelope,
  type Envelope,
  type UpEnvelope,
} from './envelope.ts';
import { jsonCodec } from './body.ts';
import { decodeEnvelopes, encodeEnvelopes } from './payload.ts';

const refused = expect.objectContaining({ code: 'WEBGRAM_BAD_FRAME' });
const TAB_ID = 'AAAAAAAAAAAAAAAAAAAAAA';

const ups: [UpEnvelope, unknown[]][] = [
  [
    {
      kind: 'attach',
      tab: 1,
      tabID: TAB_ID,
      counter: 1,
      received: { life: 0, n: 0 },
      oldest: 1,
      seen: { timeMs: 5, life: 0, commit: 0 },
      info: { departed: true },
    },
    [0, 1, TAB_ID, 1, [0, 0], 1, [5, 0, 0], { departed: true }],
  ],
  [
    { kind: 'send', tab: 1, seq: 2, ack: { life: 7, n: 3 }, type: 'add-one', args: [999] },
    [2, 1, 2, [7, 3], 'add-one', 999],
  ],
  [
    { kind: 'ask', tab: 1, seq: 3, ack: { life: 0, n: 0 }, type: 'incr', args: [] },
    [3, 1, 3, [0, 0], 'incr'],
  ],
  [
    {
      kind: 'answer',
      tab: 1,
      seq: 4,
      ack: { life: 7, n: 4 },
      asked: { life: 7, n: 4 },
      error: { code: 'no', message: '', data: [1] },
      value: null,
    },
    [4, 1, 4, [7, 4], [7, 4], { code: 'no', message: '', data: [1] }, null],
  ],
  [{ kind: 'cancel', tab: 1, asked: 3 }, [5, 1, 3]],
  [{ kind: 'ack', tab: 1, ack: { life: 7, n: 5 } }, [7, 1, [7, 5]]],
];

const downs: [DownEnvelope, unknown[]][] = [
  [
    {
      kind: 'attached',
      tab: 1,
      counter: 1,
      received: 0,
      outcome: { resumed: false, reason: 'new', gap: { sent: 0, received: 0 } },
      life: 7,
      timeMs: 9,
      lineage: [
        [3, 4],
        [7, 1],
      ],
    },
    [
      1,
      1,
      1,
      0,
      [false, 'new', 0, 0],
      7,
      9,
      [
        [3, 4],
        [7, 1],
      ],
    ],
  ],
  [
    { kind: 'attached', tab: 1, counter: 2, received: 0, outcome: 'stale', life: 7, timeMs: 9, lineage: [] },
    [1, 1, 2, 0, 'stale', 7, 9, []],
  ],
  [
    { kind: 'send', tab: 1, seq: { life: 7, n: 1 }, ack: 0, type: 'added-one', args: [1000] },
    [2, 1, [7, 1], 0, 'added-one', 1000],
  ],
  [{ kind: 'ask', tab: 1, seq: { life: 7, n: 2 }, ack: 1, type: 'x', args: [] }, [3, 1, [7, 2], 1, 'x']],
  [
    { kind: 'answer', tab: 1, seq: { life: 7, n: 3 }, ack: 3, asked: 3, error: null, value: 42 },
    [4, 1, [7, 3], 3, 3, null, 42],
  ],
  [{ kind: 'cancel', tab: 1, asked: { life: 7, n: 2 } }, [5, 1, [7, 2]]],
  [{ kind: 'ack', tab: 1, ack: 3, com: [7, 1], timeMs: 9 }, [7, 1, 3, [7, 1], 9]],
  [{ kind: 'ack', tab: 1, ack: 0, com: null, timeMs: 9 }, [7, 1, 0, null, 9]],
];

const both: [Envelope & (UpEnvelope | DownEnvelope), unknown[]][] = [
  [{ kind: 'volatile', tab: 1, type: 'cursor', args: [1, 2] }, [6, 1, 'cursor', 1, 2]],
  [{ kind: 'detach', tab: 1, counter: 1, why: 'closed' }, [8, 1, 1, 'closed']],
  [{ kind: 'ping', n: 0 }, [9, 0]],
  [{ kind: 'pong', n: 0 }, [10, 0]],
  [{ kind: 'identity', what: 'renew', args: ['x'] }, [11, 'renew', 'x']],
  [{ kind: 'bye', reason: 'superseded', args: [5] }, [12, 'superseded', 5]],
];

describe('every kind has its list', () => {
  test.each([...ups, ...both])('up $0.kind', (envelope, wire) => {
    expect(toWire(envelope)).toEqual(wire);
    expect(parseUp(wire)).toEqual(envelope);
  });
  test.each([...downs, ...both])('down $0.kind', (envelope, wire) => {
    expect(toWire(envelope)).toEqual(wire);
    expect(parseDown(wire)).toEqual(envelope);
  });
});

test('no kind goes the wrong way', () => {
  for (const [, wire] of ups) expect(() => parseDown(wire)).toThrow(refused);
  for (const [, wire] of downs) expect(() => parseUp(wire)).toThrow(refused);
});

test('an answer without a value carries undefined', () => {
  const answer: DownEnvelope = {
    kind: 'answer',
    tab: 1,
    seq: { life: 1, n: 1 },
    ack: 1,
    asked: 1,
    error: null,
    value: undefined,
  };
  const payload = encodeEnvelopes(jsonCodec, [answer]);
  expect(payload).toBe('[[4,1,[1,1],1,1,null,{"$undefined":true}]]');
  expect(decodeEnvelopes(jsonCodec, payload, parseDown)).toEqual([answer]);
});

test('every reason of an outcome is taken, and no other', () => {
  const attached = (reason: string) => [1, 1, 1, 0, [true, reason, 0, 0], 1, 0, []];
  for (const reason of OUTCOME_REASONS)
    expect(parseDown(attached(reason))).toMatchObject({ outcome: { reason } });
  expect(() => parseDown(attached('other'))).toThrow(refused);
});

test('names in info that are not known are ignored', () => {
  const wire = [0, 1, TAB_ID, 1, [0, 0], 1, [0, 0, 0], { later: 1, __proto__: null }];
  expect(parseUp(wire)).toMatchObject({ info: {} });
});

describe('any element of another type, one too few and one too many are refused', () => {
  const wrong = [
    null,
    true,
    -1,
    1.5,
    2 ** 53,
    'x'.repeat(257),
    '',
    '$x',
    [],
    [1],
    [1, 2, 3],
    [0, 1],
    [1, -1],
    {},
    NaN,
  ];
  const openEnded = new Set<unknown>([KIND.send, KIND.ask, KIND.volatile, KIND.identity, KIND.bye]);

  const check = (parse: (wire: unknown) => Envelope, wire: unknown[]) => {
    for (let i = 0; i < wire.length; i++) {
      for (const value of wrong) {
        const changed = wire.with(i, value);
        let parsed: Envelope;
        try {
          parsed = parse(changed);
        } catch (error) {
          expect(error).toEqual(refused);
          continue;
        }
        // What is taken says exactly what was sent.
        expect(toWire(parsed)).toEqual(changed);
      }
    }
    const fixed = openEnded.has(wire[0]) ? wire.slice(0, -1).filter((_, i) => i < 2) : wire.slice(0, -1);
    expect(() => parse(fixed.slice(0, Math.max(1, fixed.length - 1)))).toThrow(refused);
    if (!openEnded.has(wire[0])) expect(() => parse([...wire, 1])).toThrow(refused);
  };
  test.each([...ups, ...both])('up $0.kind', (_envelope, wire) => check(parseUp, wire));
  test.each([...downs, ...both])('down $0.kind', (_envelope, wire) => check(parseDown, wire));
});

describe('hostile envelopes are refused', () => {
  test.each([
    null,
    [],
    [null],
    [[]],
    { 0: 'x' },
    'x',
    ['ask', 1, '__proto__'],
    [13],
    [-1],
    ['2', 1, 1, [0, 0], 'x'],
    [2, 1, 1, [0, 0]],
    [2, 1, 1, [0, 0], '$save'],
    [2, 1, 1, [0, 0], ''],
    [2, 1, 1, [0, 0], 5],
    [2, 1, 0, [0, 0], 'x'],
    [2, 1, 1, [1, 0], 'x'],
    [2, -1, 1, [0, 0], 'x'],
    [0, 1, 'AAAAAAAAAAAAAAAAAAAAAB', 1, [0, 0], 1, [0, 0, 0], {}],
    [0, 1, TAB_ID, 1, [0, 0], 1, [0, 0, 0], { departed: 1 }],
    [0, 1, TAB_ID, 1, [0, 0], 1, [0, 0, 0], []],
  ])('%j', (wire) => {
    expect(() => parseUp(wire)).toThrow(refused);
    expect(() => parseDown(wire)).toThrow(refused);
  });

  test.each([
    'null',
    '[]',
    '[null]',
    '[[]]',
    '{"0":"x"}',
    '["ask",1,"__proto__"]',
    '5',
    '"x"',
    '{"$set":[]}',
  ])('the payload %s', (payload) => {
    expect(() => decodeEnvelopes(jsonCodec, payload, parseUp)).toThrow(refused);
  });

  test('any JSON is a known envelope or refused', () => {
    fc.assert(
      fc.property(fc.tuple(fc.integer({ min: -1, max: 13 }), fc.array(fc.jsonValue())), ([kind, rest]) => {
        for (const parse of [parseUp, parseDown]) {
          try {
            expect(toWire(parse([kind, ...rest]))[0]).toBe(kind);
          } catch (error) {
            expect(error).toEqual(refused);
          }
        }
      }),
    );
  });
});

test('types that are names of object members are types like any other', () => {
  for (const type of ['hasOwnProperty', '__proto__', '5']) {
    expect(parseUp([2, 1, 1, [0, 0], type])).toMatchObject({ type });
  }
});

test('what cannot be encoded is named as the sender knows it', () => {
  const message = (envelope: Envelope) => {
    try {
      encodeEnvelopes(jsonCodec, [envelope]);
    } catch (error) {
      return error instanceof Error ? error.message : undefined;
    }
    return undefined;
  };
  const f = () => 1;
  const ack = { life: 0, n: 0 };
  expect(message({ kind: 'send', tab: 1, seq: 1, ack, type: 'x', args: [0, { a: [f] }] })).toMatch(
    /^args\[1\]\.a\[0\] /,
  );
  expect(message({ kind: 'volatile', tab: 1, type: 'x', args: [f] })).toMatch(/^args\[0\] /);
  expect(message({ kind: 'answer', tab: 1, seq: 1, ack, asked: ack, error: null, value: { f } })).toMatch(
    /^value\.f /,
  );
});

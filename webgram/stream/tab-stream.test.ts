import { describe, expect, it, vi } from 'vitest';
import { DEFAULT_LIMITS } from '../limits.ts';
import type { Outcome, OutcomeReason } from '../wire/envelope.ts';
import { TabStream, type TabDown, type TabStreamListener, type TabUp } from './tab-stream.ts';

type Posted = TabUp & { link: number };

function setUp(limits = DEFAULT_LIMITS) {
  const posted: Posted[] = [];
  const events: unknown[][] = [];
  let made = 0;
  const tell =
    (name: string) =>
    (...args: unknown[]) => {
      events.push([name, ...args]);
    };
  const listener: TabStreamListener = {
    post: (link, envelope) => posted.push({ link, ...envelope }),
    message: tell('message'),
    ask: tell('ask'),
    answered: tell('answered'),
    attached: tell('attached'),
    hasRoom: tell('hasRoom'),
    forgotten: tell('forgotten'),
    closed: tell('closed'),
  };
  const stream = new TabStream(listener, limits, () => `tab${(made += 1)}`);
  return {
    stream,
    events,
    /** What was posted since the last look. */
    look: () => posted.splice(0),
    /** Whether the server has taken the stream up on the latest link: best effort goes nowhere else. */
    isAttached: () => {
      stream.volatile('probe', []);
      return posted.at(-1)?.kind === 'volatile' && posted.pop() !== undefined;
    },
  };
}

function outcome(reason: OutcomeReason, sent: number): Outcome {
  return { resumed: true, reason, gap: { sent, received: 0 } };
}

function attached(counter: number, more: Partial<TabDown & { kind: 'attached' }> = {}): TabDown {
  return {
    kind: 'attached',
    counter,
    received: 0,
    outcome: outcome('resumed', 0),
    life: 7,
    timeMs: 1_000,
    lineage: [],
    ...more,
  };
}

function down(life: number, n: number, ack = 0): TabDown {
  return { kind: 'send', seq: { life, n }, ack, type: 'note', args: [n] };
}

describe('TabStream', () => {
  it('hands over at once, and offers again on every attach what is not acknowledged', () => {
    const { stream, look } = setUp();
    stream.attach(0);
    stream.send('a', [1], 10);
    expect(look()).toMatchObject([
      { kind: 'attach', link: 0, counter: 1, oldest: 1, received: { life: 0, n: 0 } },
      { kind: 'send', link: 0, seq: 1, type: 'a' },
    ]);
    stream.attach(3);
    expect(look()).toMatchObject([
      { kind: 'attach', link: 3, counter: 2, oldest: 1 },
      { kind: 'send', link: 3, seq: 1, type: 'a', args: [1] },
    ]);
  });

  it('frees on an acknowledgement, never on attached', () => {
    const { stream, look } = setUp();
    stream.attach(1);
    stream.send('a', [], 10);
    stream.receive(1, attached(1, { received: 1 }));
    stream.receive(1, { kind: 'ack', ack: 0, com: null, timeMs: 1_001 });
    look();
    stream.attach(1);
    expect(look()).toMatchObject([
      { kind: 'attach', oldest: 1 },
      { kind: 'send', seq: 1 },
    ]);
    stream.receive(1, attached(2, { received: 1 }));
    stream.receive(1, { kind: 'ack', ack: 1, com: [7, 1], timeMs: 1_001 });
    stream.attach(2);
    expect(look()).toMatchObject([
      { kind: 'attach', oldest: 2, seen: { timeMs: 1_001, life: 7, commit: 1 } },
    ]);
  });

  it('takes downs once and in order, also over several links and lives', () => {
    const { stream, events } = setUp();
    stream.attach(1);
    stream.receive(1, down(7, 1)); // before attached: meant for another attachment
    stream.receive(1, attached(1));
    stream.receive(1, down(7, 1));
    stream.receive(1, down(7, 1));
    stream.receive(1, down(7, 2));
    stream.attach(2);
    stream.receive(1, down(7, 3)); // an old link
    stream.receive(2, attached(2, { life: 8 }));
    stream.receive(2, down(7, 2));
    stream.receive(2, down(7, 3));
    stream.receive(2, down(8, 1));
    expect(events.filter(([name]) => name === 'message')).toEqual([
      ['message', 'note', [1]],
      ['message', 'note', [2]],
      ['message', 'note', [3]],
      ['message', 'note', [1]],
    ]);
  });

  it('attaches again at a hole, and begins anew when it does not fill', () => {
    const { stream, events, look } = setUp();
    stream.attach(1);
    stream.receive(1, attached(1));
    stream.receive(1, down(7, 1));
    stream.receive(1, down(7, 3));
    expect(look().at(-1)).toMatchObject({ kind: 'attach', counter: 2, tabID: 'tab1' });
    stream.receive(1, attached(2));
    stream.receive(1, down(7, 3));
    expect(events.at(-1)).toEqual(['forgotten']);
    expect(look().at(-1)).toMatchObject({ kind: 'attach', counter: 1, tabID: 'tab2' });
    stream.receive(1, attached(1));
    expect(events.at(-1)).toEqual(['attached', outcome('overflow', 0)]);
  });

  it('carries on what was added since it rested, when the server has ended it meanwhile', () => {
    const { stream, events, look } = setUp();
    stream.attach(1);
    stream.receive(1, attached(1));
    stream.send('a', [], 1);
    stream.receive(1, { kind: 'ack', ack: 1, com: null, timeMs: 1 });
    stream.rest(true);
    stream.send('b', [], 1);
    stream.attach(0);
    stream.attach(2);
    stream.send('c', [], 1);
    stream.receive(2, attached(3, { outcome: 'forgotten' }));
    expect(events.some(([name]) => name === 'forgotten')).toBe(false);
    expect(look().slice(-3)).toMatchObject([
      { kind: 'attach', tabID: 'tab2', counter: 1, oldest: 2 },
      { kind: 'send', type: 'b', seq: 2 },
      { kind: 'send', type: 'c', seq: 3 },
    ]);
    stream.receive(2, attached(1));
    expect(events.at(-1)).toEqual(['attached', outcome('retention', 0)]);
  });

  it.each([
    ['something was unacknowledged when it rested', ['send', 'rest', 'attach']],
    ['a link before this one may have carried it', ['rest', 'send', 'attach', 'attach']],
    ['it has not rested', ['send', 'attach']],
    ['it rested a second time with an answer outstanding', ['rest', 'send', 'rest unanswered', 'attach']],
    ['something was outstanding when it rested a second time', ['rest', 'send', 'rest', 'attach']],
  ])('carries on nothing when %s', (_why, steps) => {
    const { stream, events } = setUp();
    stream.attach(1);
    stream.receive(1, attached(1));
    let attaches = 1;
    for (const step of steps) {
      if (step === 'send') stream.send('a', [], 1);
      else if (step.startsWith('rest')) stream.rest(step === 'rest');
      else stream.attach(++attaches);
    }
    stream.receive(attaches, attached(attaches, { outcome: 'forgotten' }));
    expect(events.at(-1)).toEqual(['forgotten']);
    stream.receive(attaches, attached(1));
    expect(events.at(-1)).toEqual(['attached', outcome('retention', 1)]);
  });

  it('begins anew when the server has forgotten it, and says how many messages that leaves open', () => {
    const { stream, events, look, isAttached } = setUp();
    stream.attach(1);
    stream.send('a', [], 1);
    stream.send('b', [], 1);
    stream.receive(1, attached(1, { outcome: 'forgotten' }));
    expect(events).toEqual([['forgotten']]);
    stream.receive(1, attached(1));
    expect(events.at(-1)).toEqual(['attached', outcome('retention', 2)]);
    expect(isAttached()).toBe(true);
    stream.send('c', [], 1);
    expect(look().slice(-2)).toMatchObject([
      { kind: 'attach', tabID: 'tab2', oldest: 1 },
      { kind: 'send', seq: 1 },
    ]);
  });

  it('begins anew as of now, not as old as it was when it was forgotten', () => {
    const { stream, look } = setUp();
    stream.attach(1);
    stream.receive(1, attached(1, { timeMs: 1_000 }));
    stream.attach(2);
    stream.receive(2, attached(2, { outcome: 'forgotten', life: 8, timeMs: 90_000_000 }));
    expect(look().at(-1)).toMatchObject({
      kind: 'attach',
      tabID: 'tab2',
      seen: { timeMs: 90_000_000, life: 0, commit: 0 },
    });
  });

  it('ignores the answer to an attach that a later one has overtaken', () => {
    const { stream, isAttached } = setUp();
    stream.attach(1);
    stream.attach(1);
    stream.receive(1, attached(1));
    expect(isAttached()).toBe(false);
    stream.receive(1, attached(2, { outcome: 'stale' }));
    expect(isAttached()).toBe(false);
    stream.receive(1, attached(2));
    expect(isAttached()).toBe(true);
  });

  it('reports a store that has lost commits it was told of', () => {
    const { stream, events } = setUp();
    stream.attach(1);
    stream.receive(1, attached(1));
    stream.receive(1, { kind: 'ack', ack: 0, com: [7, 5], timeMs: 1 });
    stream.attach(2);
    stream.receive(2, attached(2, { life: 8, lineage: [[7, 5]] }));
    expect(events.at(-1)).toEqual(['attached', outcome('resumed', 0)]);
    stream.attach(3);
    stream.receive(3, attached(3, { life: 9, lineage: [[7, 4]] }));
    expect(events.at(-1)).toEqual(['attached', outcome('store-lost', 0)]);
    stream.attach(4);
    stream.receive(4, attached(4, { life: 9, lineage: [[7, 4]] }));
    expect(events.at(-1)).toEqual(['attached', outcome('resumed', 0)]);
  });

  it('says when it is over the mark and when it has drained', () => {
    const { stream, events } = setUp({ ...DEFAULT_LIMITS, maxUnackedCount: 2 });
    stream.attach(1);
    stream.receive(1, attached(1));
    expect(stream.send('a', [], 1)).toBe(true);
    expect(stream.send('b', [], 1)).toBe(false);
    stream.receive(1, { kind: 'ack', ack: 1, com: null, timeMs: 1 });
    expect(events.at(-1)).toEqual(['hasRoom']);
    expect(stream.isFull).toBe(false);
  });

  it('acknowledges many downs with one envelope, or with the next message', () => {
    vi.useFakeTimers();
    try {
      const { stream, look } = setUp();
      stream.attach(1);
      stream.receive(1, attached(1));
      look();
      stream.receive(1, down(7, 1));
      stream.receive(1, down(7, 2));
      expect(look()).toEqual([]);
      vi.runAllTimers();
      expect(look()).toEqual([{ link: 1, kind: 'ack', ack: { life: 7, n: 2 } }]);
      stream.receive(1, down(7, 3));
      stream.send('a', [], 1);
      vi.runAllTimers();
      expect(look()).toMatchObject([{ kind: 'send', ack: { life: 7, n: 3 } }]);
    } finally {
      vi.useRealTimers();
    }
  });
});

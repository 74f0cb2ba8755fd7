import { describe, expect, it, vi } from 'vitest';
import { WebgramError } from 'webgram';
import { LAZY_WRITE_MS, MAX_BATCH_LENGTH, MAX_BATCH_OPERATIONS, WriteQueue } from './write-queue.ts';
import type { Medium, Plan, Read, Write } from './write-queue.ts';

/** A medium whose writes end when the test says so. */
class SlowMedium implements Medium {
  readonly rows = new Map<string, string>();
  /** What was written so far: the keys of each batch, with `!` behind those of a synced one. */
  readonly batches: string[] = [];
  #underWay: { settle: (error?: Error) => void } | undefined;

  read = (key: string) => this.rows.get(key);

  write(writes: Write[], synced: boolean): Promise<void> {
    expect(this.#underWay).toBeUndefined();
    this.batches.push(writes.map(([key]) => key).join(' ') + (synced ? '!' : ''));
    return new Promise((resolve, reject) => {
      this.#underWay = {
        settle: (error) => {
          this.#underWay = undefined;
          if (error) return reject(error);
          for (const [key, value] of writes) {
            if (value === undefined) this.rows.delete(key);
            else this.rows.set(key, value);
          }
          resolve();
        },
      };
    });
  }

  /** Ends the write under way, waiting for one to begin. */
  async settle(error?: Error): Promise<void> {
    await vi.waitFor(() => expect(this.#underWay).toBeDefined(), { interval: 1 });
    this.#underWay?.settle(error);
    await new Promise((resolve) => setImmediate(resolve));
  }
}

const put =
  (key: string, value = '') =>
  (): Plan<string> => ({ result: key, writes: [[key, value]] });

const count = (read: Read): Plan<number> => {
  const next = Number(read('count') ?? 0) + 1;
  return { result: next, writes: [['count', String(next)]] };
};

function make() {
  const medium = new SlowMedium();
  const failed = vi.fn((cause: unknown) =>
    Promise.resolve(new WebgramError('WEBGRAM_STORE_FAILED', 'it failed', { cause })),
  );
  return { medium, failed, queue: new WriteQueue(medium, failed) };
}

describe('WriteQueue', () => {
  it('writes what is ready together as one batch, and what comes meanwhile as the next', async () => {
    const { medium, queue } = make();
    const first = [queue.add('synced', put('a')), queue.add('synced', put('b'))];
    await vi.waitFor(() => expect(medium.batches).toEqual(['a b!']), { interval: 1 });
    const second = [
      queue.add('synced', put('c')),
      queue.add('written', put('d')),
      queue.add('lazy', put('e')),
    ];
    await medium.settle();
    expect(await Promise.all(first)).toEqual(['a', 'b']);
    await medium.settle();
    expect(await Promise.all(second)).toEqual(['c', 'd', 'e']);
    expect(medium.batches).toEqual(['a b!', 'c d e!']);
  });

  it('syncs a batch when one of its writes wants it, and writes nothing for nothing', async () => {
    const { medium, queue } = make();
    const written = queue.add('written', put('a'));
    await medium.settle();
    await written;
    await queue.add('synced', () => ({ result: undefined, writes: [] }));
    const mixed = [
      queue.add('synced', () => ({ result: undefined, writes: [] })),
      queue.add('written', put('b')),
    ];
    await medium.settle();
    await Promise.all(mixed);
    expect(medium.batches).toEqual(['a', 'b']);
  });

  it('plans each operation on what those before it will write', async () => {
    const { medium, queue } = make();
    const counted = [1, 2, 3].map(() => queue.add('synced', count));
    await medium.settle();
    expect(await Promise.all(counted)).toEqual([1, 2, 3]);
    const deleted = queue.add('written', () => ({ result: undefined, writes: [['count', undefined]] }));
    const afterwards = queue.add('written', count);
    await medium.settle();
    await deleted;
    expect(await afterwards).toBe(1);
    expect(medium.batches).toEqual(['count!', 'count']);
  });

  it('rejects an operation that cannot be planned, with its batch, and writes the others', async () => {
    const { medium, queue } = make();
    let told = false;
    const refused = queue.add('synced', () => {
      throw new Error('refused');
    });
    refused.catch(() => (told = true));
    const written = queue.add('synced', put('a'));
    await vi.waitFor(() => expect(medium.batches).toEqual(['a!']), { interval: 1 });
    expect(told).toBe(false);
    await medium.settle();
    await expect(refused).rejects.toThrow('refused');
    expect(await written).toBe('a');
  });

  it('rejects all of a batch that fails, plans nothing on its rows, and holds what comes after it', async () => {
    const { medium, queue, failed: failing } = make();
    const before = queue.add('synced', count);
    await medium.settle();
    expect(await before).toBe(1);
    const cause = new Error('disk full');
    const failed = [queue.add('synced', count), queue.add('lazy', count), queue.add('written', count)];
    const outcomes = Promise.allSettled(failed);
    await vi.waitFor(() => expect(medium.batches).toHaveLength(2), { interval: 1 });
    const plannedLater = vi.fn(count);
    const waiting = queue.add('synced', plannedLater);
    const waitingOutcome = waiting.catch((error: unknown) => error);
    await medium.settle(cause);
    for (const outcome of await outcomes) {
      expect(outcome).toMatchObject({ status: 'rejected', reason: { code: 'WEBGRAM_STORE_FAILED', cause } });
    }
    expect(failing).toHaveBeenCalledTimes(1);
    expect(plannedLater).not.toHaveBeenCalled();
    const refusal = new WebgramError('WEBGRAM_STORE_FULL', 'no space');
    queue.refuse(refusal);
    expect(await waitingOutcome).toBe(refusal);
    await expect(queue.add('lazy', plannedLater)).rejects.toBe(refusal);
    expect(plannedLater).not.toHaveBeenCalled();
    queue.resume(medium);
    const resumed = queue.add('synced', count);
    await medium.settle();
    expect(await resumed).toBe(2);
    medium.rows.set('count', '1');
    expect(medium.rows.get('count')).toBe('1');
    await queue.drain();
  });

  it('lets lazy operations wait for a batch to go with, or a short while', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    try {
      const { medium, queue } = make();
      const lazy = [queue.add('lazy', put('a')), queue.add('lazy', put('b'))];
      await vi.advanceTimersByTimeAsync(LAZY_WRITE_MS - 1);
      expect(medium.batches).toEqual([]);
      await vi.advanceTimersByTimeAsync(1);
      expect(medium.batches).toEqual(['a b']);
      lazy.push(queue.add('lazy', put('c')));
      vi.useRealTimers();
      await medium.settle();
      expect(medium.batches).toEqual(['a b']);
      lazy.push(queue.add('written', put('d')));
      await medium.settle();
      expect(await Promise.all(lazy)).toEqual(['a', 'b', 'c', 'd']);
      expect(medium.batches).toEqual(['a b', 'c d']);
    } finally {
      vi.useRealTimers();
    }
  });

  it('drains what was added before, lazy operations too', async () => {
    const { medium, queue } = make();
    const lazy = queue.add('lazy', put('a'));
    let drained = false;
    const drain = queue.drain().then(() => (drained = true));
    await vi.waitFor(() => expect(medium.batches).toEqual(['a']), { interval: 1 });
    expect(drained).toBe(false);
    await medium.settle();
    await Promise.all([lazy, drain]);
    await queue.drain();
  });

  it('ends a batch at MAX_BATCH_OPERATIONS and at MAX_BATCH_LENGTH, keeping the order', async () => {
    const { medium, queue } = make();
    const many = Array.from({ length: MAX_BATCH_OPERATIONS + 1 }, () => queue.add('synced', count));
    await medium.settle();
    await medium.settle();
    expect((await Promise.all(many)).at(-1)).toBe(MAX_BATCH_OPERATIONS + 1);
    const half = 'x'.repeat(MAX_BATCH_LENGTH / 2);
    const long = ['a', 'b', 'c'].map((key) => queue.add('synced', put(key, half)));
    await medium.settle();
    await medium.settle();
    await Promise.all(long);
    expect(medium.batches).toEqual(['count!', 'count!', 'a b!', 'c!']);
  });
});

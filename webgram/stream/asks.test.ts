import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { WebgramError } from '../errors.ts';
import { Asks } from './asks.ts';

describe('Asks', () => {
  beforeEach(() => {
    vi.useFakeTimers();
  });
  afterEach(() => {
    vi.useRealTimers();
  });

  it('resolves with the value and rejects with an AskError of the code', async () => {
    const asks = new Asks<number>(() => undefined);
    const one = asks.add(1);
    const two = asks.add(2);
    expect(asks.settle(1, null, 42)).toBe(true);
    expect(asks.settle(2, { code: 'sold-out', message: 'No seats left', data: { seats: 0 } }, null)).toBe(
      true,
    );
    expect(asks.settle(2, null, 1)).toBe(false);
    expect(await one).toBe(42);
    await expect(two).rejects.toMatchObject({ code: 'sold-out', data: { seats: 0 }, received: true });
  });

  it('counts time only while active', async () => {
    const abandoned = vi.fn();
    const asks = new Asks<number>(abandoned);
    const ask = asks.add(1, { timeoutMs: 1_000 });
    const caught = expect(ask).rejects.toMatchObject({ code: 'WEBGRAM_TIMEOUT' });
    vi.advanceTimersByTime(5_000);
    asks.setActive(true);
    vi.advanceTimersByTime(600);
    asks.setActive(false);
    vi.advanceTimersByTime(5_000);
    asks.setActive(true);
    vi.advanceTimersByTime(399);
    expect(abandoned).not.toHaveBeenCalled();
    vi.advanceTimersByTime(1);
    expect(abandoned).toHaveBeenCalledExactlyOnceWith(1);
    await caught;
  });

  it('tells the other side of an aborted ask', async () => {
    const abandoned = vi.fn();
    const asks = new Asks<number>(abandoned);
    const controller = new AbortController();
    const ask = asks.add(1, { signal: controller.signal });
    controller.abort('no more');
    await expect(ask).rejects.toMatchObject({ code: 'WEBGRAM_ABORTED', cause: 'no more' });
    expect(abandoned).toHaveBeenCalledExactlyOnceWith(1);
  });

  it('gives up at once what was aborted before', async () => {
    const abandoned = vi.fn();
    const asks = new Asks<number>(abandoned);
    asks.setActive(true);
    const ask = asks.add(1, { signal: AbortSignal.abort('before') });
    await expect(ask).rejects.toMatchObject({ code: 'WEBGRAM_ABORTED', cause: 'before' });
    expect(vi.getTimerCount()).toBe(0);
  });

  it('settles every promise when all are rejected', async () => {
    const asks = new Asks<number>(() => undefined);
    const both = Promise.allSettled([asks.add(1), asks.add(2)]);
    asks.rejectAll(new WebgramError('WEBGRAM_CLOSED', 'closed'));
    expect((await both).map(({ status }) => status)).toEqual(['rejected', 'rejected']);
    expect(asks.settle(1, null, 'late')).toBe(false);
  });
});

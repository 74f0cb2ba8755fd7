import { describe, expect, it } from 'vitest';
import { Inbox } from './inbox.ts';

describe('Inbox', () => {
  it('takes each number once and in order', () => {
    const inbox = new Inbox();
    expect(inbox.take(1)).toBe('take');
    expect(inbox.take(1)).toBe('duplicate');
    expect(inbox.take(3)).toBe('hole');
    expect(inbox.take(2)).toBe('take');
    expect(inbox.take(3)).toBe('take');
    expect(inbox.received).toBe(3);
  });

  it('keeps a watermark and a set when handlers finish out of order', () => {
    const inbox = new Inbox();
    for (const seq of [1, 2, 3, 4]) inbox.take(seq);
    inbox.mark(3);
    inbox.mark(1);
    expect(inbox.marks).toEqual({ handled: 1, ahead: [3] });
    inbox.mark(2);
    expect(inbox.marks).toEqual({ handled: 3, ahead: [] });
  });

  it('does not handle again what an earlier life has handled ahead of the watermark', () => {
    const inbox = new Inbox({ handled: 1, ahead: [3] });
    expect(inbox.take(2)).toBe('take');
    expect(inbox.take(3)).toBe('handled');
    expect(inbox.take(4)).toBe('take');
    inbox.mark(2);
    expect(inbox.marks).toEqual({ handled: 3, ahead: [] });
  });

  it('skips what the tab holds no more', () => {
    const inbox = new Inbox({ handled: 2, ahead: [6] });
    expect(inbox.skip(2)).toBe(false);
    expect(inbox.skip(5)).toBe(true);
    inbox.markThrough(5);
    expect(inbox.marks).toEqual({ handled: 6, ahead: [] });
    expect(inbox.take(6)).toBe('duplicate');
    expect(inbox.take(7)).toBe('take');
  });
});

import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { FollowerPort } from './follower-port.ts';

/** The follower's end of the channel. The leader's is the test. */
class FakeChannel {
  static last: FakeChannel;
  onmessage: ((event: { data: unknown }) => void) | null = null;
  readonly posted: unknown[] = [];
  isClosed = false;

  constructor() {
    FakeChannel.last = this;
  }

  postMessage(message: unknown): void {
    this.posted.push(message);
  }

  close(): void {
    this.isClosed = true;
  }
}

let port: FollowerPort;
let silences: number;
const pong = { data: { kind: 'pong', incarnation: 'host' } };

beforeEach(() => {
  vi.useFakeTimers();
  vi.stubGlobal('BroadcastChannel', FakeChannel);
  silences = 0;
  port = new FollowerPort('a port', () => {
    silences += 1;
  });
});

afterEach(() => {
  port.close();
  vi.useRealTimers();
});

test('asks a silent leader for a sign of life, and tells when it gives none, again and again', () => {
  vi.advanceTimersByTime(3_999);
  expect(FakeChannel.last.posted).toEqual([]);
  vi.advanceTimersByTime(1);
  expect(FakeChannel.last.posted).toEqual([{ kind: 'ping' }]);
  vi.advanceTimersByTime(2_999);
  expect(silences).toBe(0);
  vi.advanceTimersByTime(1);
  expect(silences).toBe(1);
  vi.advanceTimersByTime(3_000);
  expect(silences).toBe(2);
});

test('a leader that answers is left in peace', () => {
  const heard: unknown[] = [];
  port.onmessage = ({ data }: { data: unknown }) => heard.push(data);
  for (let n = 0; n < 10; n++) {
    vi.advanceTimersByTime(4_000);
    FakeChannel.last.onmessage?.(pong);
  }
  expect(FakeChannel.last.posted).toHaveLength(10);
  expect(heard).toHaveLength(10);
  expect(silences).toBe(0);
});

test('what is posted after a silence asks as well, also when timers are throttled', () => {
  vi.spyOn(performance, 'now').mockReturnValue(performance.now() + 4_000);
  port.postMessage({ kind: 'wake' });
  port.postMessage({ kind: 'wake' });
  expect(FakeChannel.last.posted).toEqual([{ kind: 'wake' }, { kind: 'ping' }, { kind: 'wake' }]);
  vi.restoreAllMocks();
});

test('a tab that was asleep itself does not blame its leader', () => {
  vi.advanceTimersByTime(4_000);
  const wokeMs = performance.now() + 60_000;
  vi.spyOn(performance, 'now').mockReturnValue(wokeMs);
  vi.advanceTimersByTime(3_000);
  expect(silences).toBe(0);
  vi.restoreAllMocks();
});

test('closed, it is silent', () => {
  port.close();
  vi.advanceTimersByTime(60_000);
  expect(FakeChannel.last.isClosed).toBe(true);
  expect(FakeChannel.last.posted).toEqual([]);
  expect(silences).toBe(0);
});

import { expect, test } from 'vitest';
import { HandlerRun } from './handler-run.ts';

function begin(): HandlerRun {
  return new HandlerRun({ sessionID: 1 }, undefined, true, () => undefined);
}

test('the signal of a run is aborted when the run is', () => {
  const run = begin();
  const { signal } = run;
  expect(signal.aborted).toBe(false);
  const reason = new Error('gone');
  run.abort(reason);
  expect(signal.aborted).toBe(true);
  expect(signal.reason).toBe(reason);
  expect(run.signal).toBe(signal);
});

test('a signal that is asked for later knows the first reason', () => {
  const run = begin();
  const first = new Error('first');
  run.abort(first);
  run.abort(new Error('second'));
  expect(run.signal.aborted).toBe(true);
  expect(run.signal.reason).toBe(first);
});

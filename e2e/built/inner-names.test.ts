import { expect, test } from 'vitest';
import { INNER_NAMES } from '../../inner-names.config.ts';
import { findPropertyNames } from './outer-names.ts';

const { declared, outer } = findPropertyNames();

test('no name that is made shorter is known outside of the scripts', () => {
  const known = INNER_NAMES.filter((name) => outer.has(name));
  expect(known.map((name) => `${name}: ${outer.get(name)}`)).toEqual([]);
});

test('every name that is made shorter is one of ours', () => {
  expect(INNER_NAMES.filter((name) => !declared.has(name))).toEqual([]);
});

test.each([
  ['addEventListener', 'the platform'],
  ['drained', 'client/index.ts'],
  ['findLeader', 'client/leader-tab/leader-tab.ts'],
  ['incarnation', 'worker/host/port-protocol.ts'],
  ['departed', 'worker/host/port-protocol.ts'],
  ['triedAtMs', 'worker/host/identity-records.ts'],
  ['storedMs', 'worker/host/queue/queue-records.ts'],
  ['Queue', 'worker/host/later.ts'],
  ['extendedLifetime', 'client/find-host.ts'],
  ['hello', 'webgram/handshake/client-handshake.ts'],
  ['pong', 'webgram/wire/envelope.ts'],
  ['$bigint', 'webgram/wire/json.ts'],
])('%s is known outside, by %s', (name, how) => {
  expect(outer.get(name)).toContain(how);
});

/** What hosts load behind their first link, while links merge and end. */
import { beforeEach, expect, test } from 'vitest';
import type { UpEnvelope } from 'webgram';
import * as later from './later.ts';
import type { LaterModule } from './later.ts';
import type { Leaving } from './port-protocol.ts';
import { LINGER_MS } from './identity-link.ts';
import { MemoryKeyStore, type KeyStore } from './key-store.ts';
import { FakeServer } from './testing/fake-server.ts';
import { TestHost, type TestTab } from './testing/test-host.ts';
import { rest, until } from './testing/until.ts';

const OUTCOME = { resumed: true, reason: 'resumed', gap: { sent: 0, received: 0 } } as const;

let server: FakeServer;
let host: TestHost;
let loadLater: () => Promise<LaterModule>;

beforeEach(async () => {
  server = await FakeServer.start();
  // Of each stream it knows the first two messages.
  server.onUp = (up, connection) => {
    if (up.kind !== 'attach') return;
    const { tab, counter } = up;
    const rest = { outcome: OUTCOME, life: 1, timeMs: 1, lineage: [] };
    connection.send({ kind: 'attached', tab, counter, received: 2, ...rest });
  };
  loadLater = () => Promise.resolve(later);
  host = testHost(new MemoryKeyStore('persistent'));
});

function testHost(keyStore: KeyStore): TestHost {
  return new TestHost(server, { keyStore, loadLater: () => loadLater() });
}

function left(name: string): Leaving {
  return [`${name.repeat(21)}A`, 2, 1, 6, 1];
}

function ask(tab: TestTab, call: number, ...args: Leaving[]): void {
  tab.post({ kind: 'queue', call, what: 'left', type: 'left', args, bytes: 0 });
}

function answers(tab: TestTab): unknown[] {
  return tab.of('answer').map(({ call, value }) => [call, value]);
}

/**
 * A tab that keeps to an identity, and one that follows the active one: which is the same, as another host has said, and
 * its link has not found out yet.
 */
async function twoLinks(): Promise<{ tab: TestTab; other: TestTab }> {
  const first = host.tab('first');
  await until(() => first.sessionID === 1);
  const { id } = first.of('state').at(-1)!.identity!;
  const tab = host.tab('tab', { identity: id });
  const second = host.tab('second', { fresh: true });
  await until(() => second.sessionID === 2);
  for (const leaving of [first, second]) leaving.post({ kind: 'close' });
  host.clock.advance(LINGER_MS);

  const elsewhere = testHost(host.keyStore);
  const there = elsewhere.tab('there');
  there.post({ kind: 'wallet', call: 1, what: 'switch', args: [id] });
  await until(() => there.of('answer').length === 1);
  elsewhere.hub.close();

  const other = host.tab('other');
  expect(other.state).toBe('connecting');
  return { tab, other };
}

test('who asks what pages have left is answered once, although its link merges with another meanwhile', async () => {
  const { tab, other } = await twoLinks();
  ask(other, 1, left('x'), left('y'));
  ask(tab, 1, left('x'));
  await other.isActive();
  ask(other, 2, left('x'));
  await until(() => answers(other).length === 2 && answers(tab).length === 1);
  await rest();
  // Its link has ended: the next page asks again.
  expect(answers(other)).toEqual([
    [1, [null, null]],
    [2, [3]],
  ]);
  expect(answers(tab)).toEqual([[1, [3]]]);
});

test('who asks while the code for it is loaded is answered by the link that has taken over', async () => {
  const { other } = await twoLinks();
  let give!: () => void;
  loadLater = () =>
    new Promise((resolve) => {
      give = () => {
        resolve(later);
      };
    });
  ask(other, 1, left('x'));
  await other.isActive();
  await rest();
  give();
  await until(() => answers(other).length === 1);
  expect(answers(other)).toEqual([[1, [3]]]);
});

test('a durable message that was kept just before its link merges with another is sent by that one', async () => {
  const { other } = await twoLinks();
  other.post({ kind: 'queue', call: 1, what: 'send', type: 'note', args: [7], bytes: 3 });
  await until(() => answers(other).length === 1);
  await other.isActive();
  const sends = (): UpEnvelope[] =>
    server.connections.flatMap(({ ups }) => ups.filter(({ kind }) => kind === 'send'));
  await until(() => sends().length === 1, 'the message');
  expect(sends()).toMatchObject([{ tab: 0, seq: 1, type: 'note', args: [7] }]);
});

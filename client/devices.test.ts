import { expect, test } from 'vitest';
import { Devices } from './devices.ts';

/** Answers as a server with that many sessions does, and notes what it was asked. */
function asking(count: number) {
  const asked: unknown[] = [];
  const ask = async (...args: unknown[]): Promise<unknown> => {
    asked.push(args);
    const [, what, after] = args as [string, string, number];
    if (what !== 'list') return true;
    return Array.from({ length: Math.min(100, count - after) }, (_, i) => ({ sessionID: after + i + 1 }));
  };
  return { asked, client: { ask } };
}

test.each([
  [0, 1],
  [99, 1],
  [100, 2],
  [250, 3],
])('lists %i sessions in %i pages', async (count, pages) => {
  const { client, asked } = asking(count);
  const list = await new Devices(client).list();
  expect(list.map(({ sessionID }) => sessionID)).toEqual(Array.from({ length: count }, (_, i) => i + 1));
  expect(asked).toHaveLength(pages);
});

test('asks what PROTOCOL.md says', async () => {
  const { client, asked } = asking(0);
  const devices = new Devices(client);
  await devices.revoke(3);
  await devices.revoke(3, 'secret');
  await devices.revokeOthers({ code: 1 });
  await devices.rename(3, 'Till');
  expect(asked).toEqual([
    ['$devices', 'revoke', 3, null],
    ['$devices', 'revoke', 3, 'secret'],
    ['$devices', 'revoke-others', { code: 1 }],
    ['$devices', 'rename', 3, 'Till'],
  ]);
});

import { expect, test } from 'vitest';
import type { IdentityLink } from '../identity-link.ts';
import { until } from '../testing/until.ts';
import type { CallingTab, WalletHost } from './identity-wallet.ts';
import { Wallet } from './wallet.ts';

test.each(['list', 'add'])('a storage that fails is told by name: %s', async (what) => {
  let reads = 0;
  const link = { address: 'wss://server.example/', identity: { localID: 'a', storeID: 's', sessionID: 1 } };
  const served = Object.assign(link, { heir: link }) as unknown as IdentityLink;
  // The first look of `add` succeeds, so that it fails where nobody waits for the call any more.
  const records = () =>
    ++reads === 1 && what === 'add'
      ? Promise.resolve(new Map())
      : Promise.reject(new DOMException('gone', 'InvalidStateError'));
  const host = {
    activeAt: () => served,
    setActive: () => undefined,
    linksAt: () => [],
    keyring: () => ({ records, inMemory: new Map(), activeInMemory: new Map() }),
    open: () => served,
  } as unknown as WalletHost;
  const answers: unknown[] = [];
  const tab: CallingTab = { post: (answer) => answers.push(answer) };
  new Wallet(host).call(tab, { kind: 'wallet', call: 7, what, args: [] }, served);
  await until(() => answers.length > 0, 'the answer');
  const error = { code: 'WEBGRAM_STORAGE_FAILED', message: 'gone' };
  expect(answers).toEqual([{ kind: 'answer', call: 7, error }]);
});

import type { BrowserContext, Page } from '@playwright/test';
import type { Switched } from 'webgram-sessions';
import type { IdentitiesOf, IdentityEntry } from 'webgram-sessions/identities';
import { killWorker } from '../kit/chromium.ts';
import { askEach, dataOf, sessionIDOf, stateOf, statsOf, waitForSession, waitForState } from '../kit/page.ts';
import { randomFor } from '../kit/random.ts';
import { expect, openTab, test } from '../kit/test.ts';
import type { TestServer } from '../kit/test-server.ts';

const RANDOM_STEPS = 60;
/** What a call says that another tab was faster than; nobody logs in over another account. */
const MEANWHILE = /switched|no such identity|signed[ -]out|denied|the handler failed/;
type Call = Exclude<keyof IdentitiesOf, 'pinned' | 'onChange'>;

/** Calls `Identities` as a page without a bundler does. */
function identities<T = void>(page: Page, call: Call, ...args: unknown[]) {
  return page.evaluate(
    async ({ call, args }) => {
      const address: string = '/.well-known/webgram/identities.js';
      const { Identities } = (await import(address)) as typeof import('webgram-sessions/identities');
      const wallet = new Identities(webgram.client!);
      // What is undefined arrives as null.
      const given = args.map((arg) => arg ?? undefined);
      return (wallet[call] as (...args: unknown[]) => Promise<unknown>)(...given);
    },
    { call, args },
  ) as Promise<T>;
}

async function list(page: Page): Promise<IdentityEntry[]> {
  return identities<IdentityEntry[]>(page, 'list');
}

function account(page: Page): Promise<string | null> {
  return page.evaluate(() => webgram.client!.ask('account')) as Promise<string | null>;
}

/** Signs in with another account beside those that there are. @returns The identity's id. */
async function signIn(page: Page, name: string): Promise<string> {
  const { id } = await identities<IdentityEntry>(page, 'add');
  await page.evaluate((name) => webgram.client!.ask('login', name), name);
  return id;
}

/** Alice and bob have signed in, in the first tab; bob is active. */
async function aliceAndBob(context: BrowserContext, url: string, tabs: number) {
  const pages: Page[] = [];
  for (let i = 0; i < tabs; i++) pages.push(await openTab(context, url));
  const alice = await signIn(pages[0]!, 'alice');
  const bob = await signIn(pages[0]!, 'bob');
  await expectAccounts(pages, 'bob');
  return { pages, alice, bob };
}

/** Every one of them comes to speak for that account. */
async function expectAccounts(pages: Page[], name: string | null): Promise<void> {
  for (const page of pages) await expect.poll(() => askAgain(page)).toBe(name);
}

/** Asks whose the tab is; one that goes over meanwhile is asked again. */
function askAgain(page: Page): Promise<unknown> {
  return page.evaluate(() =>
    webgram.client!.ask('account').catch((error: { code: string }) => error.code),
  ) as Promise<unknown>;
}

interface Heard {
  switches: Switched[];
  /** Lists that a change has brought. */
  lists: IdentityEntry[][];
  /** Sessions of messages that came while the page was in another. */
  strange: unknown[];
}

/** Notes what a page hears from now on. */
async function watch(page: Page): Promise<void> {
  await page.evaluate(async () => {
    const address: string = '/.well-known/webgram/identities.js';
    const { Identities } = (await import(address)) as typeof import('webgram-sessions/identities');
    const client = webgram.client!;
    const heard: Heard = { switches: [], lists: [], strange: [] };
    client.on('$switched', (switched) => heard.switches.push(switched));
    client.on('seen', (sessionID: unknown) => {
      if (client.identity?.sessionID !== sessionID) heard.strange.push(sessionID, client.identity);
    });
    new Identities(client).onChange((entries) => heard.lists.push(entries));
    Object.assign(globalThis, { heard });
  });
}

function heardBy(page: Page): Promise<Heard> {
  return page.evaluate(() => Reflect.get(globalThis, 'heard') as Heard);
}

/** Sends messages, tagged with the session that the page believes in. @returns It; without one nothing is sent. */
function sendTagged(page: Page, ids: readonly string[]): Promise<number | undefined> {
  return page.evaluate((ids) => {
    const client = webgram.client!;
    const sessionID = client.identity?.sessionID;
    if (sessionID !== undefined) for (const id of ids) client.send('tagged', id, sessionID);
    return sessionID;
  }, ids);
}

/** Asks as often, tagged so. @returns The sessions that have answered, or the codes of what went wrong. */
function askTagged(page: Page, ids: readonly string[]): Promise<unknown[]> {
  return page.evaluate((ids) => {
    const client = webgram.client!;
    const sessionID = client.identity?.sessionID;
    const asks = ids.map((id) =>
      client.ask('tagged', id, sessionID).catch(({ code }: { code: string }) => code),
    );
    return Promise.all(asks);
  }, ids);
}

/** What was handled of that which is tagged. */
function handled(server: TestServer): { id: string; believed: number; sessionID: number }[] {
  return [...server.output.matchAll(/^tagged (\S+) of (\S+) in (\d+)$/gm)].map(([, id, believed, is]) => ({
    id: id!,
    believed: Number(believed),
    sessionID: Number(is),
  }));
}

/** All of these are handled, and nothing was handled twice or in another session than its page believed in. */
async function expectHandled(server: TestServer, sent: readonly string[]): Promise<void> {
  const missing = () => {
    const arrived = new Set(handled(server).map(({ id }) => id));
    return sent.filter((id) => !arrived.has(id));
  };
  await expect.poll(missing, { timeout: 30_000 }).toEqual([]);
  const all = handled(server);
  expect(all.filter(({ believed, sessionID }) => believed !== sessionID)).toEqual([]);
  expect(new Set(all.map(({ id }) => id)).size).toBe(all.length);
}

const ids = (prefix: string, count = 5): string[] =>
  Array.from({ length: count }, (_, i) => `${prefix}-${i}`);

test('three tabs follow a switch: each hears of it once, and nothing of the one before is done in the other', async ({
  context,
  server,
  wire,
}) => {
  const { pages, alice, bob } = await aliceAndBob(context, wire.url, 3);
  const ofBob = await sessionIDOf(pages[0]!);
  for (const page of pages) await watch(page);
  const slow = pages.map((page) => askEach(page, 'countSlowly', 2).catch((error: Error) => error.message));
  const asked = pages.map((page, n) => askTagged(page, ids(`ask-${n}`)));
  const sent = pages.flatMap((_, n) => ids(`send-${n}`));
  expect(await Promise.all(pages.map((page, n) => sendTagged(page, ids(`send-${n}`))))).toEqual([
    ...[ofBob, ofBob, ofBob],
  ]);
  await identities(pages[0]!, 'switchTo', alice);
  for (const outcome of (await Promise.all(asked)).flat())
    expect([ofBob, 'WEBGRAM_SWITCHED']).toContain(outcome);
  // On a busy machine the first of them are answered before the switch.
  for (const outcome of await Promise.all(slow)) {
    if (typeof outcome === 'string') expect(outcome).toContain('switched');
    else expect(outcome).toEqual([expect.any(Number), expect.any(Number)]);
  }
  await expectAccounts(pages, 'alice');
  for (const page of pages) {
    const { switches, strange } = await heardBy(page);
    expect(switches).toMatchObject([
      { from: { id: bob, account: 'bob' }, to: { id: alice, account: 'alice', label: 'Dear alice' } },
    ]);
    expect(strange).toEqual([]);
  }
  expect(await sessionIDOf(pages[0]!)).not.toBe(ofBob);
  expect(await dataOf(pages[0]!)).toEqual({});
  await expectHandled(server, sent);
  // What was under way is done where it was asked.
  await identities(pages[1]!, 'pin', bob);
  await expect.poll(() => dataOf(pages[1]!)).toEqual({ count: 6 });
});

test('all tabs have the same list, and a change reaches them', async ({ context, wire }) => {
  const { pages, alice } = await aliceAndBob(context, wire.url, 3);
  for (const page of pages) {
    expect(await list(page)).toMatchObject([
      { account: 'alice', label: 'Dear alice', isActive: false, isCurrent: false, storage: 'persistent' },
      { account: 'bob', label: 'Dear bob', isActive: true, isCurrent: true, storage: 'persistent' },
    ]);
    await watch(page);
  }
  await identities(pages[1]!, 'rename', alice, 'Work');
  for (const page of pages) {
    await expect
      .poll(async () => (await heardBy(page)).lists.at(-1)?.map(({ name }) => name ?? null))
      .toEqual(['Work', null]);
  }
  await identities(pages[2]!, 'switchTo', alice);
  for (const page of pages) {
    await expect
      .poll(async () => (await heardBy(page)).lists.at(-1)?.map((entry) => [entry.isActive, entry.isCurrent]))
      .toEqual([
        [true, true],
        [false, false],
      ]);
  }
});

test('two tabs keep two accounts at a time, also across a reload, over one socket each', async ({
  context,
  wire,
}) => {
  const { pages, alice, bob } = await aliceAndBob(context, wire.url, 2);
  const [first, second] = pages as [Page, Page];
  await identities(first, 'pin', alice);
  expect(await Promise.all(pages.map(account))).toEqual(['alice', 'bob']);
  await expect.poll(() => statsOf(second)).toEqual({ sockets: 2, sessions: 2, conns: 2 });
  for (const page of pages) {
    await page.reload();
    await waitForSession(page);
    expect(await Promise.all(pages.map(account))).toEqual(['alice', 'bob']);
  }
  const third = await openTab(context, wire.url);
  expect(await account(third)).toBe('bob');
  await expect.poll(() => statsOf(third)).toEqual({ sockets: 2, sessions: 2, conns: 3 });

  // A switch leaves the tab alone that is pinned.
  await watch(first);
  await identities(third, 'switchTo', alice);
  await identities(third, 'switchTo', bob);
  expect((await heardBy(first)).switches).toEqual([]);
  expect(await account(first)).toBe('alice');
  await identities(first, 'pin', undefined);
  expect(await account(first)).toBe('bob');
  await first.reload();
  expect(await account(first)).toBe('bob');
});

test.describe('data-identity', () => {
  test.use({ serverOptions: { ownPage: true } });

  const tag = (identity: string): string =>
    `<!doctype html><script src="/.well-known/webgram/webgram.js" data-identity="${identity}" defer></script>`;

  test('keeps a tab to an identity by its id, user id or name, and denies it what there is not', async ({
    context,
    server,
    wire,
  }) => {
    const { pages, alice, bob } = await aliceAndBob(context, wire.url, 1);
    await identities(pages[0]!, 'rename', alice, 'Work');
    for (const [name, who] of [
      [alice, 'alice'],
      ['alice', 'alice'],
      ['Work', 'alice'],
      [bob, 'bob'],
    ]) {
      await server.write('kept.html', tag(name!));
      const page = await openTab(context, `${wire.url}kept.html`);
      expect(await account(page)).toBe(who);
      await page.close();
    }
    await server.write('kept.html', tag('carol'));
    const page = await context.newPage();
    await page.goto(`${wire.url}kept.html`);
    expect(await waitForState(page, 'denied')).toEqual({ name: 'denied', reason: 'no such identity' });
    expect(await askAgain(page)).toBe('WEBGRAM_DENIED');
    expect(await account(pages[0]!)).toBe('bob');
  });

  test('may be a rule for addresses', async ({ context, server, wire }) => {
    for (const folder of ['u/alice', 'u/bob', 'u/carol', 'u']) {
      await server.write(`${folder}/page.html`, tag('/u/*/'));
    }
    const { pages } = await aliceAndBob(context, wire.url, 1);
    const addressed: Page[] = [];
    for (const path of ['u/alice', 'u/%61lice', 'u/bob', 'u']) {
      addressed.push(await openTab(context, `${wire.url}${path}/page.html`));
    }
    // An address that the rule does not fit says nothing.
    const named = ['alice', 'alice', 'bob', 'bob'];
    expect(await Promise.all(addressed.map(account))).toEqual(named);
    await expect.poll(() => statsOf(pages[0]!)).toEqual({ sockets: 2, sessions: 2, conns: 5 });
    const page = await context.newPage();
    await page.goto(`${wire.url}u/carol/page.html`);
    expect(await waitForState(page, 'denied')).toEqual({ name: 'denied', reason: 'no such identity' });
    expect(await Promise.all(addressed.map(account))).toEqual(named);
  });
});

test.describe('sign out', () => {
  const sessionsOf = (page: Page, name: string) =>
    page.evaluate((name) => webgram.client!.ask('sessionsOf', name), name);

  test('ends the session; one without an account follows, and others stay signed in', async ({
    context,
    wire,
  }) => {
    const { pages, alice, bob } = await aliceAndBob(context, wire.url, 4);
    const [leaving, following, ofAlice, ofBob] = pages as [Page, Page, Page, Page];
    await identities(ofAlice, 'pin', alice);
    await identities(ofBob, 'pin', bob);
    expect(await sessionsOf(ofAlice, 'bob')).toHaveLength(1);
    const denied = waitForState(ofBob, 'denied');
    await identities(leaving, 'signOut', bob);
    await expectAccounts([leaving, following], null);
    expect((await denied).name).toBe('denied');
    await expect.poll(() => sessionsOf(ofAlice, 'bob')).toEqual([]);
    expect(await account(ofAlice)).toBe('alice');
    expect((await list(leaving)).map((entry) => [entry.account ?? null, entry.isActive])).toEqual([
      ['alice', false],
      [null, true],
    ]);
    await identities(leaving, 'switchTo', alice);
    await expectAccounts([leaving, following, ofAlice], 'alice');
    // It can be signed in again, in a session of its own.
    expect(await signIn(leaving, 'bob')).not.toBe(bob);
    expect(await sessionsOf(leaving, 'bob')).toHaveLength(1);
  });

  test('without a server is told when that is back', async ({ context, server, wire }) => {
    const { pages, alice, bob } = await aliceAndBob(context, wire.url, 2);
    const [leaving, ofAlice] = pages as [Page, Page];
    await identities(ofAlice, 'pin', alice);
    expect(await account(ofAlice)).toBe('alice');
    await server.stop();
    await waitForState(leaving, 'waiting');
    await identities(leaving, 'signOut', bob);
    // It is out of use at once.
    expect((await list(leaving)).map(({ account }) => account ?? null)).not.toContain('bob');
    expect(await leaving.evaluate(() => webgram.client!.identity?.id)).not.toBe(bob);
    await server.start();
    await expect.poll(() => sessionsOf(ofAlice, 'bob'), { timeout: 30_000 }).toEqual([]);
    expect(await account(ofAlice)).toBe('alice');
    expect(await account(leaving)).toBeNull();
    expect(await stateOf(leaving)).toEqual({ name: 'active' });
  });
});

test.describe('the host dies', () => {
  /**
   * The page runs nothing, and then sends what it has not been told not to.
   *
   * @returns When it hangs: what lets it go on, and says which session it then believed in.
   */
  async function hangAndSend(page: Page, ids: readonly string[]): Promise<() => Promise<number>> {
    let release!: () => void;
    const released = new Promise<void>((resolve) => (release = resolve));
    await page.route('**/hang', async (route) => {
      await released;
      await route.fulfill();
    });
    const hanging = page.waitForRequest('**/hang');
    const believed = page.evaluate((ids) => {
      const request = new XMLHttpRequest();
      // Nothing else runs until the answer is there.
      request.open('GET', 'hang', false);
      request.send();
      const client = webgram.client!;
      const { sessionID } = client.identity!;
      for (const id of ids) client.send('tagged', id, sessionID);
      return sessionID;
    }, ids);
    await hanging;
    return () => {
      release();
      return believed;
    };
  }

  /** A switch, behind which `die` is called; everything that the pages say is handled where they said it. */
  async function dieBehindSwitch(
    server: TestServer,
    pages: Page[],
    to: string,
    name: string,
    die: () => Promise<unknown>,
  ): Promise<void> {
    const sent: string[] = [];
    const say = async (what: string): Promise<void> => {
      for (const [n, page] of pages.entries()) {
        const some = ids(`${what}-${to}-${n}`);
        if ((await sendTagged(page, some)) !== undefined) sent.push(...some);
      }
    };
    await say('before');
    const dead = die();
    await say('while');
    await dead;
    await say('behind');
    await expectAccounts(pages, name);
    await say('after');
    await expectHandled(server, sent);
    for (const page of pages) expect((await heardBy(page)).strange).toEqual([]);
  }

  test('right behind a switch: nobody speaks in the name of the other @shared-worker @chromium', async ({
    context,
    browser,
    server,
    wire,
  }) => {
    const { pages, alice, bob } = await aliceAndBob(context, wire.url, 3);
    for (const page of pages) await watch(page);
    for (const [to, name] of [
      [alice, 'alice'],
      [bob, 'bob'],
    ] as const) {
      await dieBehindSwitch(server, pages, to, name, async () => {
        await identities(pages[0]!, 'switchTo', to);
        await killWorker(browser);
      });
    }
  });

  test('before a tab has heard of the switch: that one does not either @shared-worker @chromium', async ({
    context,
    browser,
    server,
    wire,
  }) => {
    const { pages, alice } = await aliceAndBob(context, wire.url, 2);
    for (const page of pages) await watch(page);
    const ofBob = await sessionIDOf(pages[1]!);
    const goOn = await hangAndSend(pages[1]!, ids('hung'));
    await identities(pages[0]!, 'switchTo', alice);
    await killWorker(browser);
    expect(await goOn()).toBe(ofBob);
    await expectAccounts(pages, 'alice');
    await expectHandled(server, ids('hung'));
    for (const page of pages) expect((await heardBy(page)).strange).toEqual([]);
  });

  for (const when of ['right behind a switch', 'in the middle of a switch'] as const) {
    test(`the leader closes ${when}: nobody speaks in the name of the other @leader-tab`, async ({
      browserName,
      context,
      server,
      wire,
    }) => {
      const { pages, alice, bob } = await aliceAndBob(context, wire.url, 4);
      for (const page of pages) await watch(page);
      const [leader, first, second, hung] = pages as [Page, Page, Page, Page];
      const others = [first, second];
      const ofBob = await sessionIDOf(hung);
      expect(await leader.evaluate(() => webgram.client!.host?.role)).toBe('leader');
      const goOn = await hangAndSend(hung, ids('hung'));
      if (when === 'right behind a switch') {
        await identities(first, 'switchTo', alice);
        await dieBehindSwitch(server, others, alice, 'alice', () => leader.close({ runBeforeUnload: true }));
      } else {
        const left = leader.waitForURL('about:blank');
        const switched = leader.evaluate(async (alice) => {
          const address: string = '/.well-known/webgram/identities.js';
          const { Identities } = (await import(address)) as typeof import('webgram-sessions/identities');
          void new Identities(webgram.client!).switchTo(alice).catch(() => undefined);
          location.href = 'about:blank';
        }, alice);
        // The page may go before it can say that it is done.
        await switched.catch(() => undefined);
        await left;
        // Whether it has come that far nobody knows; all are of one mind.
        const active = (await list(first)).find(({ isActive }) => isActive)!;
        expect([alice, bob]).toContain(active.id);
        await dieBehindSwitch(server, others, active.id, active.account!, () => Promise.resolve());
      }
      const believed = await goOn();
      // Firefox lets a page hear of it during a synchronous request.
      if (browserName === 'chromium') expect(believed).toBe(ofBob);
      await expectHandled(server, ids('hung'));
      await expectAccounts([hung], await account(first));
      expect((await heardBy(hung)).strange).toEqual([]);
    });
  }
});

test('what was sent durably without a server arrives for who sent it, behind a switch', async ({
  context,
  server,
  wire,
}) => {
  const { pages, alice, bob } = await aliceAndBob(context, wire.url, 2);
  const [page, other] = pages as [Page, Page];
  const note = (what: string) => page.evaluate((what) => webgram.client!.durable.send('note', what), what);
  await server.kill();
  await waitForState(page, 'waiting');
  await note('of bob');
  await identities(page, 'switchTo', alice);
  await note('of alice');
  await identities(page, 'switchTo', bob);
  await note('more of bob');
  await identities(page, 'switchTo', alice);
  await server.start();
  await identities(other, 'pin', bob);
  const notes = async (of: Page) => (await dataOf(of))['notes'];
  await expect.poll(() => notes(page), { timeout: 30_000 }).toEqual(['of alice']);
  await expect.poll(() => notes(other), { timeout: 30_000 }).toEqual(['of bob', 'more of bob']);
  expect(await Promise.all(pages.map(account))).toEqual(['alice', 'bob']);
});

test(`${RANDOM_STEPS} random steps over 3 accounts and 4 tabs mix nothing`, async ({
  context,
  server,
  wire,
}, testInfo) => {
  test.setTimeout(180_000);
  const random = randomFor(testInfo);
  const pick = <T>(list: readonly T[]): T => list[Math.floor(random() * list.length)]!;
  const pages: Page[] = [];
  for (let i = 0; i < 4; i++) pages.push(await openTab(context, wire.url));
  for (const page of pages) await watch(page);
  const names = ['alice', 'bob', 'carol'];
  for (const name of names) await signIn(pages[0]!, name);

  const sent: string[] = [];
  /** Sessions that were signed out: a page that has not heard of it cannot know. */
  const ended = new Set<number | undefined>();
  const under: Promise<unknown>[] = [];
  /** Others may switch and sign out meanwhile. */
  const settles = (promise: Promise<unknown>): void => {
    under.push(
      promise.catch((error: Error) => {
        if (!MEANWHILE.test(error.message)) failed.push(`${error.message}\n${server.output.slice(-2_000)}`);
      }),
    );
  };
  const failed: string[] = [];
  for (let step = 0; step < RANDOM_STEPS; step++) {
    const at = Math.floor(random() * pages.length);
    if ((await stateOf(pages[at]!)).name === 'denied') {
      // Signed out under a pin: the user opens another tab.
      expect((await heardBy(pages[at]!)).strange).toEqual([]);
      await pages[at]!.close();
      pages[at] = await openTab(context, wire.url);
      await watch(pages[at]);
    }
    const page = pages[at]!;
    const what = random();
    if (what < 0.5) {
      const tagged = ids(`step-${step}`, 3);
      const sessionID = await sendTagged(page, tagged);
      if (sessionID !== undefined && !ended.has(sessionID)) sent.push(...tagged);
      continue;
    }
    const entries = await list(page).catch(() => []);
    if (entries.length === 0) continue;
    const { id } = pick(entries);
    const accounts = entries.filter(({ account }) => account !== undefined);
    if (what < 0.75) settles(identities(page, 'switchTo', id));
    else if (what < 0.9) settles(identities(page, 'pin', random() < 0.5 ? undefined : id));
    else if (what < 0.95 && accounts.length > 1) {
      const { id, sessionID } = pick(accounts);
      ended.add(sessionID);
      settles(identities(page, 'signOut', id));
    } else settles(signIn(page, pick(names)));
  }
  await Promise.all(under);
  expect(failed).toEqual([]);
  await expectHandled(server, sent);
  for (const page of pages) expect((await heardBy(page)).strange).toEqual([]);
  expect(sent.length).toBeGreaterThan(RANDOM_STEPS / 2);
});

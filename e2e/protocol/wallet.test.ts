import { generateKeyPairSync } from 'node:crypto';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { AskError } from 'webgram';
import type { WebgramError } from 'webgram';
import { Identities } from '../../client/identities.ts';
import type { Client, ClientOptions } from '../../client/client.ts';
import type { HostPort } from '../../client/environment.ts';
import type { SessionActive, Switched } from '../../client/state.ts';
import { MemoryKeyStore } from '../../worker/host/key-store.ts';
import * as later from '../../worker/host/later.ts';
import type { HostToTab } from '../../worker/host/port-protocol.ts';
import { concurrent } from '../../server/handlers.ts';
import { randomFrom } from '../../server/testing/random.ts';
import { Scene } from '../../server/testing/scene.ts';
import { NodeBrowser, type Around } from './testing/node-browser.ts';

const PATIENCE = { timeout: 8_000, interval: 5 };

let scene: Scene;
let browser: NodeBrowser;
/** What was handled: whose session, and what. */
let handled: [account: string | null, what: unknown][];
/** Ends what is slow, once it has begun. */
let release: (value: unknown) => void;

beforeEach(async () => {
  scene = new Scene();
  handled = [];
  release = undefined as never;
  await start();
  browser = new NodeBrowser(scene.server.address);
  boot();
});

afterEach(async () => {
  browser.close();
  await scene.close();
});

const SERVER_KEY = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  .privateKey.export({ type: 'pkcs8', format: 'pem' })
  .toString();

async function start(port = 0): Promise<void> {
  await scene.start({ port, serverKeys: [SERVER_KEY] });
  const { server } = scene;
  server.answer['login'] = (conn, name) => conn.login(name as string, { label: `${name as string}!` });
  server.answer['who'] = (conn) => conn.session.account ?? null;
  server.on('note', (conn, what) => {
    handled.push([conn.session.account ?? null, what]);
  });
  server.answer['slow'] = concurrent(() => new Promise((resolve) => (release = resolve)));
}

function boot(around: Partial<Around> = {}): void {
  browser.start({ ...around, platform: { loadLater: () => Promise.resolve(later), ...around.platform } });
}

function restart(): Promise<void> {
  return start(Number(new URL(browser.address).port));
}

/** A tab with its wallet. */
class Tab {
  readonly client: Client;
  readonly identities: Identities;
  readonly switches: Switched[] = [];

  constructor(options: ClientOptions = {}) {
    this.client = browser.tab(options);
    this.identities = new Identities(this.client);
    this.client.on('$switched', (switched) => this.switches.push(switched));
  }

  who(): Promise<unknown> {
    return this.client.ask('who');
  }

  /** Signs in with another account beside those that there are. */
  async signIn(name: string): Promise<string> {
    const { id } = await this.identities.add();
    await vi.waitFor(() => {
      expect(this.client.identity?.id).toBe(id);
    }, PATIENCE);
    await this.client.ask('login', name);
    return id;
  }

  async names(): Promise<(string | undefined)[]> {
    return (await this.identities.list()).map(({ account }) => account);
  }
}

/** Alice and bob have signed in; bob is active. */
async function aliceAndBob(): Promise<{ tab: Tab; alice: string; bob: string }> {
  const tab = new Tab();
  const alice = await tab.signIn('alice');
  const bob = await tab.signIn('bob');
  return { tab, alice, bob };
}

test('accounts are added beside each other and switched without logging in', async () => {
  const { tab, alice, bob } = await aliceAndBob();
  expect(await tab.names()).toEqual(['alice', 'bob']);
  expect(await tab.who()).toBe('bob');
  await tab.identities.switchTo(alice);
  expect(await tab.who()).toBe('alice');
  const list = await tab.identities.list();
  expect(list.map(({ id, isActive, isCurrent, label }) => ({ id, isActive, isCurrent, label }))).toEqual([
    { id: alice, isActive: true, isCurrent: true, label: 'alice!' },
    { id: bob, isActive: false, isCurrent: false, label: 'bob!' },
  ]);
  expect(new Set(list.map(({ sessionID }) => sessionID)).size).toBe(2);
});

test('the first add takes up the identity that is there and has no account', async () => {
  const tab = new Tab();
  await tab.client.waitForSession();
  const before = tab.client.identity?.id;
  expect((await tab.identities.add()).id).toBe(before);
  expect((await tab.identities.add()).id).toBe(before);
  expect(tab.switches).toEqual([]);
});

test('a tab that is pinned adds an account beside the one that it keeps', async () => {
  const { tab, alice } = await aliceAndBob();
  await tab.identities.pin(alice);
  await tab.identities.add();
  await tab.client.ask('login', 'carol');
  expect(tab.identities.pinned).toBeUndefined();
  expect(await tab.names()).toEqual(['alice', 'bob', 'carol']);
});

test('a switch reaches every tab that is not pinned, and each hears of both', async () => {
  const { tab, alice, bob } = await aliceAndBob();
  const other = new Tab();
  const pinned = new Tab({ identity: 'bob' });
  expect(await Promise.all([other.who(), pinned.who()])).toEqual(['bob', 'bob']);
  await tab.identities.switchTo(alice);
  await vi.waitFor(() => {
    expect(other.switches).toHaveLength(1);
  }, PATIENCE);
  expect(await Promise.all([tab.who(), other.who(), pinned.who()])).toEqual(['alice', 'alice', 'bob']);
  expect(other.switches).toMatchObject([
    { from: { id: bob, account: 'bob' }, to: { id: alice, account: 'alice' } },
  ]);
  expect(pinned.switches).toEqual([]);
});

test('two tabs keep two accounts at once, over one socket each', async () => {
  const { tab, alice, bob } = await aliceAndBob();
  await tab.identities.pin(alice);
  const other = new Tab();
  const more = [new Tab({ identity: alice }), new Tab({ identity: 'bob' }), new Tab({ identity: 'alice' })];
  expect(await Promise.all([tab, other, ...more].map((one) => one.who()))).toEqual([
    ...['alice', 'bob', 'alice', 'bob', 'alice'],
  ]);
  await vi.waitFor(() => {
    expect(browser.sockets.size).toBe(2);
  }, PATIENCE);
  expect(tab.identities.pinned).toBe(alice);
  await tab.identities.pin(undefined);
  expect(await tab.who()).toBe('bob');
  expect(tab.client.identity?.id).toBe(bob);
});

test('asks under way end with WEBGRAM_SWITCHED, and what was sent before is handled for who sent it', async () => {
  const { tab, alice } = await aliceAndBob();
  const slow = tab.client.ask('slow');
  slow.catch(() => undefined);
  for (let i = 0; i < 20; i++) tab.client.send('note', i);
  const switched = tab.identities.switchTo(alice);
  for (let i = 20; i < 40; i++) tab.client.send('note', i);
  await switched;
  await expect(slow).rejects.toMatchObject({ code: 'WEBGRAM_SWITCHED' });
  tab.client.send('note', 'alice');
  await vi.waitFor(() => {
    expect(handled).toHaveLength(41);
    expect(release).toBeDefined();
  }, PATIENCE);
  const ofBob = handled.filter(([account]) => account === 'bob').map(([, what]) => what);
  expect(ofBob).toEqual(Array.from({ length: 40 }, (_, i) => i));
  expect(handled.at(-1)).toEqual(['alice', 'alice']);
  release(null);
});

test('what was sent offline before a switch arrives for who sent it, once the server is back', async () => {
  const { tab, alice, bob } = await aliceAndBob();
  await tab.client.waitForSession();
  await scene.server.close();
  tab.client.send('note', 'of bob');
  await tab.client.durable.send('note', 'durably of bob');
  await tab.identities.switchTo(alice);
  tab.client.send('note', 'of alice');
  await tab.client.durable.send('note', 'durably of alice');
  await vi.waitFor(() => {
    expect(tab.client.queue.count).toBe(1);
  }, PATIENCE);
  expect(tab.client.identity?.id).toBe(alice);
  await restart();
  await vi.waitFor(() => {
    expect(handled).toHaveLength(4);
  }, PATIENCE);
  expect(handled.toSorted()).toEqual([
    ['alice', 'durably of alice'],
    ['alice', 'of alice'],
    ['bob', 'durably of bob'],
    ['bob', 'of bob'],
  ]);
  expect(bob).not.toBe(alice);
});

test('which one is active outlives the host, and so does what a user calls it', async () => {
  const { tab, alice, bob } = await aliceAndBob();
  await tab.identities.switchTo(alice);
  await tab.identities.rename(bob, 'Bobby');
  browser.close();
  boot();
  const again = new Tab();
  const pinned = new Tab({ identity: 'Bobby' });
  expect(await Promise.all([again.who(), pinned.who()])).toEqual(['alice', 'bob']);
  expect((await again.identities.list()).map(({ name }) => name)).toEqual([undefined, 'Bobby']);
  await again.identities.rename(bob, '');
  expect((await again.identities.list()).map(({ name }) => name)).toEqual([undefined, undefined]);
  await vi.waitFor(() => {
    expect(browser.sockets.size).toBe(2);
  }, PATIENCE);
});

describe('sign out', () => {
  test('ends the session at the server, and one without an account follows', async () => {
    const { tab, alice, bob } = await aliceAndBob();
    const sessionID = tab.client.identity!.sessionID;
    tab.client.send('note', 'the last');
    await tab.identities.signOut(bob);
    expect(await tab.who()).toBeNull();
    expect(handled).toEqual([['bob', 'the last']]);
    await vi.waitFor(async () => {
      expect(await scene.server.sessions.get(sessionID)).toBeUndefined();
    }, PATIENCE);
    await vi.waitFor(async () => {
      expect((await browser.identities()).map(({ localID }) => localID)).not.toContain(bob);
    }, PATIENCE);
    expect(await tab.names()).toEqual(['alice', undefined]);
    await tab.identities.switchTo(alice);
    expect(await tab.who()).toBe('alice');
  });

  test('while the server is away is told when it is back, also by the next host', async () => {
    const { tab, alice, bob } = await aliceAndBob();
    const sessionID = tab.client.identity!.sessionID;
    await scene.server.close();
    await tab.identities.signOut(bob);
    browser.close();
    await restart();
    boot();
    expect(await scene.server.sessions.get(sessionID)).toBeDefined();
    const again = new Tab({ identity: alice });
    expect(await again.who()).toBe('alice');
    await vi.waitFor(async () => {
      expect(await scene.server.sessions.get(sessionID)).toBeUndefined();
      expect((await browser.identities()).map(({ localID }) => localID)).not.toContain(bob);
    }, PATIENCE);
  });

  test('of one that is not active leaves the active one alone, and denies who is pinned to it', async () => {
    const { tab, alice } = await aliceAndBob();
    const pinned = new Tab({ identity: alice });
    expect(await pinned.who()).toBe('alice');
    await tab.identities.signOut(alice);
    expect(await tab.who()).toBe('bob');
    expect(tab.switches.at(-1)?.to?.account).not.toBe('alice');
    await vi.waitFor(() => {
      expect(pinned.client.state.name).toBe('denied');
    }, PATIENCE);
    expect(await tab.names()).toEqual(['bob']);
  });

  test('while it is asked what a page has left answers that, and nothing of it is counted for who follows', async () => {
    const { bob } = await aliceAndBob();
    const { sessionID } = browser.clients[0]!.identity!;
    await scene.server.close();
    const answers: unknown[] = [];
    const page = browser.tab(
      {},
      {
        takeNotes: async (ask) => {
          const asked = ask([`${'x'.repeat(21)}A`, 1, 1, 4, sessionID]);
          const answer = await asked.catch((error: unknown) => error);
          answers.push(answer);
          return undefined;
        },
      },
    );
    const told: SessionActive[] = [];
    page.on('$session-active', (session) => told.push(session));
    await page.waitForHost();
    await new Identities(page).signOut(bob);
    await restart();
    const { sessionID: another } = await page.waitForSession();
    expect(another).not.toBe(sessionID);
    await vi.waitFor(async () => {
      expect(await scene.server.sessions.get(sessionID)).toBeUndefined();
    }, PATIENCE);
    expect(answers).toEqual([expect.objectContaining({ code: 'WEBGRAM_SWITCHED' })]);
    // Twice, when the host knows of the other session before the server has this tab in it.
    expect(new Set(told.map(({ gap }) => gap.sent))).toEqual(new Set([0]));
  });

  test('of all leaves nobody', async () => {
    const { tab } = await aliceAndBob();
    await tab.identities.signOutAll();
    await vi.waitFor(async () => {
      expect(await tab.names()).toEqual([undefined]);
    }, PATIENCE);
    await vi.waitFor(async () => {
      expect(await scene.server.sessions.list('alice')).toEqual([]);
      expect(await scene.server.sessions.list('bob')).toEqual([]);
    }, PATIENCE);
  });
});

test('a login whose code cannot be loaded is refused, and changes nothing; the next one loads it', async () => {
  browser.close();
  let isAway = true;
  boot({
    platform: {
      loadLater: () => (isAway ? Promise.reject(new TypeError('Failed to fetch')) : Promise.resolve(later)),
    },
  });
  const { client } = new Tab();
  const { sessionID } = await client.waitForSession();
  const [before] = await browser.identities();
  await expect(client.ask('login', 'alice')).rejects.toMatchObject({ code: 'WEBGRAM_HANDLER_FAILED' });
  expect(scene.logged.find(({ message }) => message === 'a handler threw')?.fields).toMatchObject({
    error: { code: 'WEBGRAM_CLOSED', retryable: true },
  });
  expect(await client.ask('who')).toBeNull();
  expect(await browser.identities()).toEqual([before]);

  isAway = false;
  await client.ask('login', 'alice');
  expect(await client.ask('who')).toBe('alice');
  expect(client.identity).toMatchObject({ sessionID, account: 'alice' });
  const [after] = await browser.identities();
  expect(after!.publicKey).not.toEqual(before!.publicKey);
});

test('forget removes the key here, and leaves the session at the server', async () => {
  const { tab, alice, bob } = await aliceAndBob();
  await tab.identities.forget(alice);
  expect(await tab.names()).toEqual(['bob']);
  expect((await browser.identities()).map(({ localID }) => localID)).toEqual([bob]);
  expect(await scene.server.sessions.list('alice')).toHaveLength(1);
  await expect(tab.identities.switchTo(alice)).rejects.toMatchObject({ code: 'WEBGRAM_UNKNOWN_IDENTITY' });
  await expect(tab.identities.pin(alice)).rejects.toMatchObject({ code: 'WEBGRAM_UNKNOWN_IDENTITY' });
  expect(await tab.who()).toBe('bob');
});

test('a tab that is pinned to what there is not is denied, and nobody else', async () => {
  const { tab } = await aliceAndBob();
  const pinned = new Tab({ identity: 'carol' });
  await expect(pinned.who()).rejects.toMatchObject({ code: 'WEBGRAM_DENIED' });
  expect(pinned.client.state).toEqual({ name: 'denied', reason: 'no such identity' });
  expect(await tab.who()).toBe('bob');
  // So that the page can be loaded again for somebody who is there.
  pinned.client.pin();
  expect(pinned.client.pinned).toBeUndefined();
});

test('whoever listens hears last which identity the tab has, also when it only goes over', async () => {
  const { tab, alice } = await aliceAndBob();
  const tabs = [tab, new Tab()];
  const current: (string | undefined)[] = [];
  for (const [i, { identities }] of tabs.entries()) {
    identities.onChange((list) => (current[i] = list.find(({ isCurrent }) => isCurrent)?.account));
  }
  expect(await tabs[1]!.who()).toBe('bob');
  await tab.identities.switchTo(alice);
  for (const { identities } of tabs) await identities.list();
  await vi.waitFor(() => {
    expect(current).toEqual(['alice', 'alice']);
  }, PATIENCE);
  await tab.identities.pin(alice);
  await tabs[1]!.identities.add();
  await tabs[1]!.identities.switchTo(alice);
  await vi.waitFor(() => {
    expect(current).toEqual(['alice', 'alice']);
  }, PATIENCE);
});

test('an account is added in a tab that was pinned, which then goes with the others', async () => {
  const { tab, alice } = await aliceAndBob();
  await tab.identities.pin(alice);
  expect(await tab.who()).toBe('alice');
  await tab.signIn('carol');
  expect(tab.identities.pinned).toBeUndefined();
  expect(await tab.who()).toBe('carol');
  expect(await new Tab().who()).toBe('carol');
});

test('a session that the server revokes makes nobody somebody else', async () => {
  const { tab, alice } = await aliceAndBob();
  await tab.identities.switchTo(alice);
  await tab.client.waitForSession();
  const pinned = new Tab({ identity: 'bob' });
  expect(await pinned.who()).toBe('bob');
  await scene.server.sessions.revoke(tab.client.identity!.sessionID);
  await vi.waitFor(() => {
    expect(tab.client.state).toEqual({ name: 'denied', reason: 'revoked' });
  }, PATIENCE);
  expect(await new Tab().who()).toBeNull();
  expect(await pinned.who()).toBe('bob');
});

test('a tab whose host has died does not carry over to whom was made active meanwhile', async () => {
  const { tab, alice } = await aliceAndBob();
  await tab.client.waitForSession();
  await scene.server.close();
  const lost = tab.client.ask('who');
  lost.catch(() => undefined);
  tab.client.send('note', 'of bob');
  // Its host is gone before the tab hears that alice is the active one.
  const { hub } = browser;
  boot();
  const other = new Tab();
  await other.identities.switchTo(alice);
  hub.close();
  await restart();
  browser.locks.release(hub.incarnation);
  await expect(lost).rejects.toMatchObject({ code: 'WEBGRAM_SWITCHED' });
  expect(await Promise.all([tab.who(), other.who()])).toEqual(['alice', 'alice']);
  await vi.waitFor(() => {
    expect(handled).toEqual([['bob', 'of bob']]);
  }, PATIENCE);
});

/** A port whose host dies when the tab gets its first `switch`, and before the tab looks at that. */
function diesAtSwitch(port: MessagePort, died: () => void): HostPort {
  let isDead = false;
  let listener: HostPort['onmessage'] = null;
  port.onmessage = (event: MessageEvent<HostToTab>) => {
    if (event.data.kind === 'switch' && !isDead) {
      isDead = true;
      died();
    }
    listener?.(event);
  };
  return {
    postMessage: (message) => {
      if (!isDead) port.postMessage(message);
    },
    close: () => {
      port.close();
    },
    get onmessage() {
      return listener;
    },
    set onmessage(next) {
      listener = next;
    },
  };
}

test('what a tab sends to a host that has died behind a switch is handled for who sent it', async () => {
  const { tab: first, alice } = await aliceAndBob();
  const { hub } = browser;
  browser.portOf = (port) =>
    diesAtSwitch(port, () => {
      hub.close();
      boot();
      for (const n of [1, 2, 3]) tab.client.send('note', n);
    });
  const tab = new Tab();
  await tab.client.waitForSession();
  expect(await tab.who()).toBe('bob');
  browser.portOf = (port) => port;
  await first.identities.switchTo(alice);
  await vi.waitFor(() => {
    expect(tab.switches).not.toEqual([]);
  }, PATIENCE);
  tab.client.send('note', 4);
  browser.locks.release(hub.incarnation);
  await vi.waitFor(() => {
    expect(handled).toHaveLength(4);
  }, PATIENCE);
  expect(handled.filter(([account]) => account === 'bob')).toEqual([1, 2, 3].map((n) => ['bob', n]));
  expect(handled).toContainEqual(['alice', 4]);
  expect(await Promise.all([tab.who(), first.who()])).toEqual(['alice', 'alice']);
});

test('misuse is refused with a code', async () => {
  const { tab, bob } = await aliceAndBob();
  await expect(tab.identities.rename(bob, 'x'.repeat(65))).rejects.toMatchObject({
    code: 'WEBGRAM_BAD_REQUEST',
  });
  await expect(tab.identities.rename('nobody', 'x')).rejects.toMatchObject({
    code: 'WEBGRAM_UNKNOWN_IDENTITY',
  });
  const loose = tab.client as unknown as { ask(type: string, ...args: unknown[]): Promise<unknown> };
  await expect(loose.ask('$identities', 'explode')).rejects.toMatchObject({ code: 'WEBGRAM_BAD_REQUEST' });
});

test('every tab hears of a change', async () => {
  const { tab, bob } = await aliceAndBob();
  const other = new Tab();
  await other.who();
  const lists: (string | undefined)[][] = [];
  other.identities.onChange((entries) => lists.push(entries.map(({ name }) => name)));
  await tab.identities.rename(bob, 'Bobby');
  await vi.waitFor(() => {
    expect(lists.at(-1)).toEqual([undefined, 'Bobby']);
  }, PATIENCE);
});

test('the last list that a tab hears behind a switch has it where it is, with a server or without', async () => {
  const { tab, alice, bob } = await aliceAndBob();
  const other = new Tab();
  await other.who();
  const current: (string | undefined)[] = [];
  const off = other.identities.onChange((all) => current.push(all.find(({ isCurrent }) => isCurrent)?.id));
  await tab.identities.switchTo(alice);
  await vi.waitFor(() => {
    expect(current.at(-1)).toBe(alice);
  }, PATIENCE);
  await scene.server.close();
  await tab.identities.switchTo(bob);
  await vi.waitFor(() => {
    expect(current.at(-1)).toBe(bob);
  }, PATIENCE);
  off();
  const { length } = current;
  await tab.identities.switchTo(alice);
  await vi.waitFor(() => {
    expect(other.client.identity?.id).toBe(alice);
  }, PATIENCE);
  await other.identities.list();
  expect(current).toHaveLength(length);
});

test('1,000 random steps over 3 accounts and 6 tabs mix nothing', { timeout: 120_000 }, async () => {
  const seed = Number(process.env['WEBGRAM_SEED'] ?? Math.floor(Math.random() * 2 ** 32));
  console.log(`wallet seed ${seed}`);
  const random = randomFrom(seed);
  const pick = <T>(list: readonly T[]): T => list[Math.floor(random() * list.length)]!;
  const { server } = scene;
  const arrived = new Map<string, unknown>();
  const bled: unknown[] = [];
  server.on('tagged', (conn, id, sessionID) => {
    if (arrived.has(id as string)) bled.push(['twice', id]);
    arrived.set(id as string, sessionID);
    if (conn.session.sessionID !== sessionID) bled.push(['up', id, sessionID, conn.session.sessionID]);
  });
  server.answer['session'] = (conn) => conn.session.sessionID;
  // Another tab may have logged in before.
  const TAKEN = ['WEBGRAM_ACCOUNT_BOUND', 'WEBGRAM_LOGIN_PENDING'];
  server.answer['login'] = (conn, name) =>
    conn.login(name as string).catch((error: WebgramError) => {
      throw TAKEN.includes(error.code) ? new AskError('taken', error.message) : error;
    });
  server.answer['tell'] = (conn) => {
    conn.session.send('news', conn.session.sessionID);
  };

  const tabs = Array.from({ length: 6 }, () => new Tab());
  const sent: string[] = [];
  const ended = new Set<number | undefined>();
  let heard = 0;
  for (const { client } of tabs) {
    client.on('news', (sessionID: unknown) => {
      heard += 1;
      if (client.identity?.sessionID !== sessionID) bled.push(['down', sessionID, client.identity]);
    });
  }
  const owner = tabs[0]!;
  for (const name of ['alice', 'bob', 'carol']) await owner.signIn(name);

  const under: Promise<unknown>[] = [];
  /** Others may switch and sign out meanwhile. */
  const meanwhile = ['WEBGRAM_SWITCHED', 'WEBGRAM_DENIED'];
  const unknown = ['WEBGRAM_UNKNOWN_IDENTITY'];
  const settles = (promise: Promise<unknown>, also: string[] = []): void => {
    under.push(
      promise.catch((error: { code: string }) =>
        [...meanwhile, ...also].includes(error.code) ? undefined : bled.push(error),
      ),
    );
  };
  for (let step = 0; step < 1_000; step++) {
    let tab = pick(tabs);
    if (tab.client.state.name === 'denied') {
      // Signed out under a pin: the page is loaded again.
      const fresh = new Tab();
      fresh.client.on('news', (sessionID: unknown) => {
        heard += 1;
        if (fresh.client.identity?.sessionID !== sessionID)
          bled.push(['down', sessionID, fresh.client.identity]);
      });
      tabs[tabs.indexOf(tab)] = fresh;
      tab = fresh;
    }
    const { client, identities } = tab;
    const what = random();
    if (what < 0.55) {
      const sessionID = client.identity?.sessionID;
      if (sessionID === undefined) continue;
      const id = `${seed} ${step}`;
      // A page that has not heard yet of the end of its session cannot know.
      if (!ended.has(sessionID)) sent.push(id);
      client.send('tagged', id, sessionID);
    } else if (what < 0.65) {
      const sessionID = client.identity?.sessionID;
      if (sessionID === undefined) continue;
      settles(
        client.ask('session').then((is) => {
          if (is !== sessionID) bled.push(['ask', sessionID, is]);
        }),
      );
    } else if (what < 0.72) settles(client.ask('tell'));
    else if (what < 0.85) {
      const entries = await identities.list().catch(() => []);
      if (entries.length > 0) settles(identities.switchTo(pick(entries).id), unknown);
    } else if (what < 0.93) {
      const entries = await identities.list().catch(() => []);
      if (entries.length > 0) settles(identities.pin(random() < 0.5 ? undefined : pick(entries).id), unknown);
    } else if (what < 0.95) {
      const entries = await identities.list().catch(() => []);
      const some = entries.filter(({ account }) => account !== undefined);
      if (some.length > 1) {
        const { id, sessionID } = pick(some);
        ended.add(sessionID);
        settles(identities.signOut(id), unknown);
      }
    } else if (what < 0.97) {
      const name = pick(['alice', 'bob', 'carol']);
      settles(
        identities.add().then(() => client.ask('login', name)),
        ['taken'],
      );
    } else await new Promise((resolve) => setTimeout(resolve, random() * 10));
  }
  await Promise.all(under);
  await vi.waitFor(
    () => {
      expect(sent.filter((id) => !arrived.has(id))).toEqual([]);
    },
    { timeout: 30_000, interval: 50 },
  );
  expect(bled).toEqual([]);
  expect(arrived.size).toBeGreaterThan(300);
  expect(heard).toBeGreaterThan(0);
});

test('where no key can be kept accounts are added and switched all the same, and tabs hear of it', async () => {
  const keyStore = new MemoryKeyStore('persistent');
  vi.spyOn(keyStore, 'update').mockRejectedValue(new Error('no keys here'));
  boot({ platform: { keyStore } });
  const other = new Tab();
  let heard: (string | undefined)[] = [];
  other.identities.onChange((list) => (heard = list.map(({ account }) => account)));
  const { tab, alice } = await aliceAndBob();
  expect((await tab.identities.list()).map(({ storage }) => storage)).toEqual(['memory', 'memory']);
  await vi.waitFor(() => {
    expect(heard).toEqual(['alice', 'bob']);
  }, PATIENCE);
  await tab.identities.switchTo(alice);
  expect(await tab.who()).toBe('alice');
});

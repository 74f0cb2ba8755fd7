import { randomUUID } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { Client } from 'webgram-sessions';
import { Server } from 'webgram-sessions/server';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { NodeHost } from '../../e2e/kit/node-host.ts';
import { LIMITS, type App, type Edit, type Note, type Refusal } from './messages.ts';
import { serveNotebook } from './server.ts';
import { Database } from './server/database.ts';
import { DEFAULT_COST } from './server/users.ts';

const PASSWORD = 'correct horse';
/** Tests have no secrets. */
const CHEAP = { N: 2, r: 1, p: 1 };

let folder: string;
let server: Server<App>;
let database: Database;
let nowMs: number;
const browsers: NodeHost[] = [];

beforeEach(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'webgram-notebook-'));
  nowMs = 1_700_000_000_000;
  await start();
});

afterEach(async () => {
  for (const browser of browsers.splice(0)) browser.close();
  await stop();
  await rm(folder, { recursive: true });
});

async function start() {
  const db = path.join(folder, 'sessions');
  server = new Server<App>({ port: 0, db, clock: () => nowMs, manualStart: true });
  database = await Database.open(`${db}.notebook`);
  serveNotebook(server, database, { clock: () => nowMs, cost: CHEAP });
  await server.start();
}

async function stop() {
  await server.close();
  await database.close();
}

/** A browser of its own with one tab. */
function browser(): Tab {
  const host = new NodeHost();
  browsers.push(host);
  return new Tab(host.client(server.address));
}

/** A browser in which a new user has signed up. */
async function user(name: string): Promise<Tab> {
  const tab = browser();
  await tab.client.ask('sign-up', name, PASSWORD);
  return tab;
}

async function anotherBrowserOf(name: string): Promise<Tab> {
  const tab = browser();
  await tab.client.ask('log-in', name, PASSWORD);
  return tab;
}

/** What a tab is told, in order. */
class Tab {
  readonly client: Client<App>;
  /** Messages that `next` has not passed. */
  readonly told: unknown[][] = [];
  #wake: () => void = () => undefined;

  constructor(client: Client<App>) {
    this.client = client;
    for (const type of ['account', 'note', 'note-gone', 'not-kept', 'new-device'] as const) {
      client.on(type, (...args: unknown[]) => {
        this.told.push([type, ...args]);
        this.#wake();
      });
    }
  }

  /** The next message of that type; what came before it is passed over. */
  async next(type: 'note'): Promise<Note>;
  async next(type: 'not-kept'): Promise<Refusal>;
  async next(type: string): Promise<unknown>;
  async next(type: string): Promise<unknown> {
    for (;;) {
      while (this.told.length > 0) {
        const [found, ...args] = this.told.shift()!;
        if (found === type) return args.length > 1 ? args : args[0];
      }
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }

  async notes(): Promise<Note[]> {
    const all: Note[] = [];
    for (let after: string | undefined = ''; after !== undefined;) {
      const { notes, next }: { notes: Note[]; next?: string } = await this.client.ask('notes', after);
      all.push(...notes);
      after = next;
    }
    return all;
  }

  async texts(): Promise<string[]> {
    return (await this.notes()).map(({ text }) => text).sort();
  }

  /** Saves, and waits until it is told so. */
  async save(edit: Edit): Promise<Note> {
    this.client.send('save-note', edit);
    for (;;) {
      const note = await this.next('note');
      if (note.revision === edit.revision) return note;
    }
  }
}

function edit(
  account: string,
  text: string,
  { id, revision }: { id?: string; revision?: string } = {},
): Edit {
  return {
    account,
    id: id ?? randomUUID(),
    base: revision ?? '',
    revision: randomUUID(),
    title: 'A title',
    text,
  };
}

describe('users', () => {
  test('sign up, are told so in every tab, and are known by the session', async () => {
    const tab = browser();
    expect(await tab.client.ask('notes', '')).toEqual({ account: null, notes: [] });
    await tab.client.ask('sign-up', ' Alice ', PASSWORD);
    expect(await tab.next('account')).toBe('alice');
    expect(tab.client.identity).toMatchObject({ account: 'alice', label: 'alice' });
    expect(await tab.client.ask('notes', '')).toEqual({ account: 'alice', notes: [] });
  });

  test('log in with their password and no other, also after the server was started again', async () => {
    await user('alice');
    for (const one of browsers.splice(0)) one.close();
    await stop();
    await start();
    const tab = browser();
    await expect(tab.client.ask('log-in', 'alice', 'wrong horse')).rejects.toMatchObject({
      code: 'wrong-password',
    });
    expect(await tab.client.ask('notes', '')).toMatchObject({ account: null });
    await tab.client.ask('log-in', 'ALICE', PASSWORD);
    expect(await tab.client.ask('notes', '')).toMatchObject({ account: 'alice' });
  });

  test('are answered the same, whether the name or the password is wrong', async () => {
    await user('alice');
    const tab = browser();
    const refusals = await Promise.all(
      ['alice', 'nobody'].map((name) =>
        tab.client.ask('log-in', name, 'wrong horse').catch(({ code, message }: Refusal) => [code, message]),
      ),
    );
    expect(refusals).toEqual([expect.arrayContaining(['wrong-password']), refusals[0]]);
  });

  test('have a name of their own, and one at a time in a browser', async () => {
    const tab = await user('alice');
    await expect(browser().client.ask('sign-up', 'Alice', PASSWORD)).rejects.toMatchObject({
      code: 'name-taken',
    });
    await expect(tab.client.ask('sign-up', 'bob', PASSWORD)).rejects.toMatchObject({ code: 'logged-in' });
    await expect(tab.client.ask('log-in', 'alice', PASSWORD)).rejects.toMatchObject({ code: 'logged-in' });
  });

  test('keep neither their password nor anything that opens the account in the database', async () => {
    await user('alice');
    const row = JSON.stringify(await database.get('user!alice'));
    expect(row).toMatch(/"salt":"[^"]{20,}","hash":"[^"]{40,}","cost":/);
    expect(row).not.toContain(PASSWORD);
    const { N, r, p } = DEFAULT_COST;
    expect(128 * N * r * p).toBeGreaterThan(90 * 1024 * 1024);
  });

  test.each([
    ['a', PASSWORD, 'bad-name'],
    ['alice!bob', PASSWORD, 'bad-name'],
    ['x'.repeat(33), PASSWORD, 'bad-name'],
    [{ toString: 'alice' }, PASSWORD, 'bad-name'],
    ['alice', 'short', 'bad-password'],
    ['alice', 'x'.repeat(129), 'bad-password'],
    ['alice', null, 'bad-password'],
  ])('are refused as %j with %j: %s', async (name, password, code) => {
    const { client } = browser();
    for (const type of ['sign-up', 'log-in'] as const) {
      await expect(client.ask(type, name as string, password as string)).rejects.toMatchObject({ code });
    }
  });

  test('have so many tries, and more when time has passed; also for a name that nobody has', async () => {
    await user('alice');
    const tab = browser();
    for (const name of ['alice', 'nobody']) {
      for (let i = 0; i < 10; i += 1) {
        const tried = tab.client.ask('log-in', name, 'wrong horse');
        await expect(tried).rejects.toMatchObject({ code: 'wrong-password' });
      }
      await expect(tab.client.ask('log-in', name, PASSWORD)).rejects.toMatchObject({
        code: 'too-many-tries',
        data: { waitS: 30 },
      });
    }
    nowMs += 30_000;
    await tab.client.ask('log-in', 'alice', PASSWORD);
  }, 30_000);

  test('hear of a login somewhere else, but not of their own', async () => {
    const first = await user('alice');
    const second = await anotherBrowserOf('alice');
    expect(await first.next('new-device')).toBe('Unknown device');
    await second.notes();
    expect(second.told.map(([type]) => type)).toEqual(['account']);
  });
});

describe('notes', () => {
  test('reach all devices of their user at once, and nobody else', async () => {
    const laptop = await user('alice');
    const phone = await anotherBrowserOf('alice');
    const bob = await user('bob');
    const made = edit('alice', 'one');
    await laptop.save(made);
    expect(await phone.next('note')).toMatchObject({ id: made.id, owner: 'alice', text: 'one', version: 1 });
    await phone.save(edit('alice', 'two', made));
    expect(await laptop.next('note')).toMatchObject({ id: made.id, text: 'two', version: 2 });
    expect(await bob.notes()).toEqual([]);
  });

  test('are there when the server was started again', async () => {
    await (await user('alice')).save(edit('alice', 'one'));
    for (const one of browsers.splice(0)) one.close();
    await stop();
    await start();
    expect(await (await anotherBrowserOf('alice')).texts()).toEqual(['one']);
  });

  test('are handed out some at a time, so that a full notebook fits through', async () => {
    const alice = await user('alice');
    const text = 'é'.repeat(LIMITS.text);
    for (let i = 0; i < 60; i += 1) alice.client.send('save-note', edit('alice', text));
    await alice.save(edit('alice', 'the last'));
    expect(await alice.notes()).toHaveLength(61);
    expect((await alice.client.ask('notes', '')).notes.length).toBeLessThan(30);
  });

  test('take an edit that comes again for what it is', async () => {
    const alice = await user('alice');
    const made = edit('alice', 'one');
    const next = edit('alice', 'two', made);
    await alice.save(made);
    await alice.save(next);
    alice.client.send('save-note', made);
    await alice.save(next);
    expect(await alice.texts()).toEqual(['two']);
  });

  test('keep both texts when two devices have edited the same one, each where it goes on', async () => {
    const laptop = await user('alice');
    const phone = await anotherBrowserOf('alice');
    const made = edit('alice', 'one');
    await laptop.save(made);
    const mine = edit('alice', 'laptop', made);
    await laptop.save(mine);
    // What the phone has written meanwhile, in three edits without an answer in between.
    const first = edit('alice', 'p', made);
    const second = edit('alice', 'ph', { id: made.id, revision: first.revision });
    const third = edit('alice', 'phone', { id: made.id, revision: second.revision });
    for (const one of [first, second, third]) phone.client.send('save-note', one);
    const copy = await phone.save(edit('alice', 'phone!', { id: made.id, revision: third.revision }));
    expect(copy).toMatchObject({ copyOf: made.id, text: 'phone!', owner: 'alice' });
    expect(copy.id).not.toBe(made.id);
    expect(await laptop.texts()).toEqual(['laptop', 'phone!']);
    // One comes again.
    phone.client.send('save-note', second);
    expect(await phone.texts()).toEqual(['laptop', 'phone!']);
  });

  test('are no conflict when both have written the same', async () => {
    const laptop = await user('alice');
    const phone = await anotherBrowserOf('alice');
    const made = edit('alice', 'one');
    await laptop.save(made);
    await laptop.save(edit('alice', 'two', made));
    const same = await phone.save(edit('alice', 'two', made));
    expect(same.id).toBe(made.id);
    expect(await laptop.texts()).toEqual(['two']);
  });

  test('are kept as new ones when what was edited is gone', async () => {
    const laptop = await user('alice');
    const phone = await anotherBrowserOf('alice');
    const made = edit('alice', 'one');
    await laptop.save(made);
    await laptop.client.ask('delete-note', made.id, made.revision);
    expect(await phone.next('note-gone')).toEqual([made.id, 2]);
    const late = await phone.save(edit('alice', 'late', made));
    expect(late).toMatchObject({ copyOf: made.id });
    expect(await laptop.texts()).toEqual(['late']);
  });

  test('are not deleted by who has not seen what they are now', async () => {
    const alice = await user('alice');
    const made = edit('alice', 'one');
    await alice.save(made);
    await alice.save(edit('alice', 'two', made));
    const deleting = alice.client.ask('delete-note', made.id, made.revision);
    await expect(deleting).rejects.toMatchObject({ code: 'changed' });
    expect(await alice.texts()).toEqual(['two']);
  });

  test('are refused when they come under the name of another user, and the page is told', async () => {
    const alice = await user('alice');
    const tab = browser();
    for (const code of ['logged-out', 'other-account']) {
      // Nobody is there first, then somebody else.
      const wrong = edit('alice', 'secret');
      if (code === 'other-account') await tab.client.ask('sign-up', 'bob', PASSWORD);
      tab.client.send('save-note', wrong);
      const refusal = await tab.next('not-kept');
      expect(refusal).toMatchObject({ id: wrong.id, revision: wrong.revision, code });
      expect(JSON.stringify(refusal)).not.toContain('secret');
    }
    for (const { notes } of [await alice.client.ask('notes', ''), await tab.client.ask('notes', '')])
      expect(notes).toEqual([]);
  });

  test('are told to be lost when the database fails', async () => {
    const alice = await user('alice');
    const log = vi.spyOn(console, 'error').mockImplementation(() => undefined);
    const write = database.write.bind(database);
    database.write = () => Promise.reject(new Error('disk full'));
    const made = edit('alice', 'one');
    alice.client.send('save-note', made);
    expect(await alice.next('not-kept')).toMatchObject({ id: made.id, code: 'failed' });
    expect(log).toHaveBeenCalledOnce();
    log.mockRestore();
    database.write = write;
    await alice.save(made);
    expect(await alice.texts()).toEqual(['one']);
  });

  test.each([
    ['nothing', () => null],
    ['a word', () => 'note'],
    ['an empty edit', () => ({})],
    ['an id that is a path', (good: Edit) => ({ ...good, id: '../x' })],
    ['an id that is another key', (good: Edit) => ({ ...good, id: 'seen!bob!' })],
    ['an edit without a revision', (good: Edit) => ({ ...good, revision: '' })],
    ['a text that is too long', (good: Edit) => ({ ...good, text: 'x'.repeat(LIMITS.text + 1) })],
    ['a title that is a number', (good: Edit) => ({ ...good, title: 1 })],
    ['an account in a list', (good: Edit) => ({ ...good, account: ['alice'] })],
  ])('are not made of %s', async (_what, spoil) => {
    const garbage = spoil(edit('alice', 'one'));
    const alice = await user('alice');
    alice.client.send('save-note', garbage as never);
    await alice.save(edit('alice', 'good'));
    expect(await alice.texts()).toEqual(['good']);
  });

  test('are at most so many', async () => {
    const alice = await user('alice');
    await database.write(Array.from({ length: LIMITS.notes }, (_, i) => [`seen!alice!${i}`, 1]));
    const one = edit('alice', 'one');
    alice.client.send('save-note', one);
    expect(await alice.next('not-kept')).toMatchObject({ id: one.id, code: 'notebook-full' });
    const bob = await user('bob');
    const his = edit('bob', 'one');
    await bob.save(his);
    await expect(bob.client.ask('share-note', his.id, 'alice')).rejects.toMatchObject({
      code: 'notebook-full',
    });
  });
});

describe('a shared note', () => {
  /** One of alice's, which bob may see. */
  async function shared() {
    const alice = await user('alice');
    const bob = await user('bob');
    const made = edit('alice', 'one');
    await alice.save(made);
    await alice.client.ask('share-note', made.id, 'Bob');
    const seen = await bob.next('note');
    expect(seen).toMatchObject({ id: made.id, owner: 'alice', sharedWith: ['bob'], text: 'one' });
    return { alice, bob, made };
  }

  test('is seen and edited by both', async () => {
    const { alice, bob, made } = await shared();
    expect(await alice.next('note')).toMatchObject({ sharedWith: ['bob'] });
    await bob.save(edit('bob', 'two', made));
    expect(await alice.next('note')).toMatchObject({ text: 'two', editedBy: 'bob', owner: 'alice' });
  });

  test('keeps both texts for both when both have edited it', async () => {
    const { alice, bob, made } = await shared();
    await alice.save(edit('alice', 'alice', made));
    const copy = await bob.save(edit('bob', 'bob', made));
    expect(copy).toMatchObject({ owner: 'bob', sharedWith: ['alice'], copyOf: made.id });
    for (const tab of [alice, bob]) expect(await tab.texts()).toEqual(['alice', 'bob']);
  });

  test('can be taken back by its owner: it is gone, and what the other writes then is his own', async () => {
    const { alice, bob, made } = await shared();
    await alice.client.ask('unshare-note', made.id, 'bob');
    expect(await bob.next('note-gone')).toEqual([made.id, 3]);
    expect(await bob.notes()).toEqual([]);
    expect(await bob.save(edit('bob', 'mine', made))).toMatchObject({ owner: 'bob', sharedWith: [] });
    expect(await alice.texts()).toEqual(['one']);
  });

  test('can be left by the other', async () => {
    const { alice, bob, made } = await shared();
    await bob.client.ask('unshare-note', made.id, 'bob');
    expect(await bob.notes()).toEqual([]);
    expect(await alice.notes()).toMatchObject([{ sharedWith: [] }]);
  });

  test('is deleted and shared by its owner alone', async () => {
    const { bob, made } = await shared();
    await user('carol');
    const refused = [
      bob.client.ask('delete-note', made.id, made.revision),
      bob.client.ask('share-note', made.id, 'carol'),
      bob.client.ask('unshare-note', made.id, 'alice'),
    ];
    for (const one of refused) await expect(one).rejects.toMatchObject({ code: 'not-owner' });
    expect(await bob.notes()).toMatchObject([{ sharedWith: ['bob'] }]);
  });

  test('is for users that exist', async () => {
    const { alice, made } = await shared();
    const sharing = alice.client.ask('share-note', made.id, 'carol');
    await expect(sharing).rejects.toMatchObject({ code: 'no-user' });
  });

  test('does not exist for anybody else, whatever is asked', async () => {
    const { alice, made } = await shared();
    const mallory = await user('mallory');
    const tries = [
      mallory.client.ask('delete-note', made.id, made.revision),
      mallory.client.ask('share-note', made.id, 'mallory'),
      mallory.client.ask('unshare-note', made.id, 'mallory'),
    ];
    for (const one of tries) await expect(one).rejects.toMatchObject({ code: 'no-note' });
    // Not even its id can be found out: what does not fit is a new note, whether there is such a one or not.
    const guessed = await mallory.save(edit('mallory', 'mine', made));
    expect(guessed).toMatchObject({ owner: 'mallory', sharedWith: [], copyOf: made.id });
    expect(await alice.texts()).toEqual(['one']);
    const stranger = browser();
    await expect(stranger.client.ask('share-note', made.id, 'bob')).rejects.toMatchObject({
      code: 'logged-out',
    });
  });
});

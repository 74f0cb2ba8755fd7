import { deepEqual, equal, notEqual, ok, rejects, throws } from 'node:assert/strict';
import type { Commit, Created, NewKey, NewSession, Store, StoredSession } from './store.ts';

/** A place where one store's content is kept for the length of a test. */
export interface StorePlace {
  /**
   * Makes a store on the place's content, not opened yet. Asked again after the store before it was closed;
   * the content must still be there then.
   */
  store: () => Store;
  /** Removes the content. Its stores are closed by then. */
  remove: () => Promise<void> | void;
}

export interface ConformanceOptions {
  /** Makes an empty place; called once for every test. */
  make: () => Promise<StorePlace> | StorePlace;
  /** Of the test runner: vitest, `node:test`, mocha and jest all have them. */
  describe: (name: string, body: () => void) => unknown;
  it: (fact: string, body: () => Promise<void>) => unknown;
}

/**
 * Describes what every store does, as tests.
 *
 * @param name What the tests are listed under.
 */
export function describeStore(name: string, options: ConformanceOptions): void {
  const { make, describe, it } = options;

  /** States one fact about a store that is open and empty. */
  function fact(title: string, body: (store: Store, place: StorePlace) => Promise<void>): void {
    it(title, async () => {
      const place = await make();
      const store = place.store();
      try {
        await store.open();
        await body(store, place);
      } finally {
        await store.close();
        await place.remove();
      }
    });
  }

  describe(name, () => {
    describe('opening and closing', () => {
      it('rejects every call before it is opened and after it is closed', async () => {
        const place = await make();
        const store = place.store();
        throws(() => store.storeID, { code: 'WEBGRAM_STORE_CLOSED' });
        await everyCallIsRefused(store);
        await store.open();
        await store.close();
        await everyCallIsRefused(store);
        await place.remove();
      });

      it('closes without having been opened, and closes twice', async () => {
        const place = await make();
        const store = place.store();
        await store.close();
        await store.open();
        await Promise.all([store.close(), store.close()]);
        await store.close();
        await place.remove();
      });

      fact('refuses to be opened while it is open, and stays open', async (store) => {
        await rejects(store.open(), TypeError);
        equal(await store.nextSessionID(), 1);
      });

      fact('has a storeID of 16 bytes, another one in each place', async (store) => {
        const other = await make();
        const otherStore = other.store();
        await otherStore.open();
        equal(store.storeID.length, 16);
        equal(otherStore.storeID.length, 16);
        notEqual(hex(store.storeID), hex(otherStore.storeID));
        await otherStore.close();
        await other.remove();
      });

      fact('keeps everything when it is closed and opened again', async (store, place) => {
        const { session } = await createAndLoad(store, 'a', { fromClient: '{"x":1}' });
        await store.create(newSession('b'));
        await store.end(2, 'revoked', 5_000);
        await store.commit({ ...commitOf(session), data: '"kept"', streams: new Map([['tab', '[1]']]) });
        await store.writeVisits(1, { firstMs: 1, previousMs: 2, latestMs: 3 });
        const generation = await store.claim(1, 9_000);
        await reopened(store, place, async (again) => {
          equal(hex(again.storeID), hex(store.storeID));
          equal(await again.nextSessionID(), 3);
          deepEqual(await again.findKey('a'), {
            sessionID: 1,
            publicKey: publicKeyOf('a'),
            createdMs: 1_000,
          });
          deepEqual((await again.findKey('b'))?.ended, { reason: 'revoked', atMs: 5_000 });
          equal(await again.claim(1, 0), generation + 1);
          const { life, tag, ...rest } = await load(again, 1, 0);
          equal(life, session.life + 1);
          notEqual(tag, session.tag);
          deepEqual(rest, {
            sessionID: 1,
            keyID: 'a',
            createdMs: 1_000,
            expiresAtMs: undefined,
            account: undefined,
            profile: undefined,
            fromClient: '{"x":1}',
            generation: generation + 1,
            lineage: [[session.life, 1]],
            data: '"kept"',
            streams: new Map([['tab', '[1]']]),
            visits: { firstMs: 1, previousMs: 2, latestMs: 3 },
            device: {},
          });
        });
      });

      fact('finishes the writes in flight when it is closed', async (store, place) => {
        const { session } = await createAndLoad(store, 'a');
        const writes = [
          store.writeVisits(1, { firstMs: 7, latestMs: 8 }),
          store.create(newSession('b')),
          store.commit({ ...commitOf(session), data: '"last"' }),
          store.writeVisits(2, { firstMs: 9, latestMs: 9 }),
        ];
        await store.close();
        await Promise.all(writes);

        const again = place.store();
        await again.open();
        try {
          const loaded = await load(again, 1);
          equal(loaded.data, '"last"');
          deepEqual(loaded.visits, { firstMs: 7, latestMs: 8 });
          deepEqual((await load(again, 2)).visits, { firstMs: 9, latestMs: 9 });
        } finally {
          await again.close();
        }
      });
    });

    describe('creating', () => {
      fact('dispenses 1, 2, 3', async (store) => {
        equal(await store.nextSessionID(), 1);
        for (const sessionID of [1, 2, 3]) {
          deepEqual(await store.create(newSession(`key-${sessionID}`)), { sessionID, created: true });
          equal(await store.nextSessionID(), sessionID + 1);
        }
      });

      fact('dispenses 1,000 consecutive ids to 1,000 creates at the same time', async (store) => {
        const keyIDs = numbers(1_000).map((n) => `key-${n}`);
        const ids = (await Promise.all(keyIDs.map((keyID) => store.create(newSession(keyID))))).map(idOf);
        deepEqual(
          ids.toSorted((a, b) => a - b),
          numbers(1_000),
        );
        equal(await store.nextSessionID(), 1_001);
        for (const [index, keyID] of keyIDs.entries())
          equal((await store.findKey(keyID))?.sessionID, ids[index]);
      });

      fact('finds the session that the same key has made before', async (store) => {
        await store.create(newSession('a', { fromClient: '1' }));
        await store.create(newSession('b'));
        const again = await store.create(newSession('a', { fromClient: '2', nowMs: 2_000 }));
        deepEqual(again, { sessionID: 1, created: false });
        equal(await store.nextSessionID(), 3);
        const { createdMs, fromClient } = await load(store, 1);
        deepEqual({ createdMs, fromClient }, { createdMs: 1_000, fromClient: '1' });
      });

      fact('makes one session of creates with the same key at the same time', async (store) => {
        const keyIDs = numbers(50).map((n) => `key-${n}`);
        const created = await Promise.all(
          [...keyIDs, ...keyIDs, ...keyIDs].map((k) => store.create(newSession(k))),
        );
        for (const index of keyIDs.keys()) {
          const ofOneKey = [created[index], created[index + 50], created[index + 100]];
          equal(new Set(ofOneKey.map((one) => idOf(one))).size, 1);
          equal(ofOneKey.filter((one) => one && 'created' in one && one.created).length, 1);
        }
        equal(await store.nextSessionID(), 51);
      });

      fact('refuses a key whose session has ended, and dispenses its id to nobody', async (store) => {
        await store.create(newSession('a'));
        await store.end(1, 'expired', 2_000);
        deepEqual(await store.create(newSession('a')), { ended: 'expired' });
        deepEqual(await store.create(newSession('b')), { sessionID: 2, created: true });
      });

      fact('keeps no hold of the bytes it was given or gave away', async (store) => {
        const session = newSession('a');
        const creating = store.create(session);
        session.publicKey.fill(0);
        await creating;
        (await store.findKey('a'))?.publicKey.fill(0);
        deepEqual((await store.findKey('a'))?.publicKey, publicKeyOf('a'));
      });

      fact('keeps what the client passed as it is, and that it passed nothing', async (store) => {
        const texts = [undefined, '', 'null', AWKWARD_TEXT];
        for (const [index, fromClient] of texts.entries()) {
          await store.create(newSession(`key-${index}`, { fromClient }));
          equal((await load(store, index + 1)).fromClient, fromClient);
        }
      });
    });

    describe('finding keys', () => {
      fact('knows no key but those that have made a session', async (store) => {
        await createAndLoad(store, 'a', { fromClient: '1' });
        await store.writeVisits(1, { firstMs: 1, latestMs: 1 });
        for (const keyID of AWKWARD_NAMES) equal(await store.findKey(keyID), undefined);
      });
    });

    describe('claiming', () => {
      fact('gives generations that grow, also when the clock goes back', async (store) => {
        await store.create(newSession('a'));
        equal(await store.claim(1, 5_000), 5_000);
        equal(await store.claim(1, 5_000), 5_001);
        equal(await store.claim(1, 1), 5_002);
        equal(await store.claim(1, 6_000), 6_000);
      });

      fact('gives claims at the same time different generations', async (store) => {
        await store.create(newSession('a'));
        const generations = await Promise.all(numbers(20).map(() => store.claim(1, 100)));
        equal(new Set(generations).size, 20);
      });

      fact('leaves the life and the tag as they are', async (store) => {
        const { session } = await createAndLoad(store, 'a');
        const generation = await store.claim(1, session.life + 1_000);
        await store.commit({ ...commitOf(session), generation });
        equal((await load(store, 1, 0)).life, session.life + 1);
      });

      fact('refuses the commits of whoever knows of older links only', async (store) => {
        const { session } = await createAndLoad(store, 'a');
        const generation = await store.claim(1, 5_000);
        const commit = { ...commitOf(session), data: '"old"' };
        for (const older of [0, generation - 1]) {
          await rejects(store.commit({ ...commit, generation: older }), { code: 'WEBGRAM_STORE_CONFLICT' });
        }
        await store.commit({ ...commit, generation, data: '"new"' });
        const loaded = await load(store, 1);
        deepEqual([loaded.data, loaded.generation], ['"new"', generation]);
      });

      fact('rejects for sessions that never were', async (store) => {
        await store.create(newSession('a'));
        for (const sessionID of AWKWARD_IDS) {
          await rejects(store.claim(sessionID, 1), { code: 'WEBGRAM_SESSION_ENDED' });
        }
      });
    });

    describe('loading', () => {
      fact('finds nothing for sessions that never were', async (store) => {
        await store.create(newSession('a'));
        for (const sessionID of AWKWARD_IDS) equal(await store.load(sessionID, 1), undefined);
      });

      fact('gives a new session without data, streams and commits', async (store) => {
        await store.create(newSession('a'));
        const { tag, ...rest } = await load(store, 1, 3_000);
        ok(tag.length >= 22, 'a tag has 128 random bits');
        deepEqual(rest, {
          sessionID: 1,
          keyID: 'a',
          createdMs: 1_000,
          expiresAtMs: undefined,
          account: undefined,
          profile: undefined,
          fromClient: undefined,
          generation: 0,
          life: 3_000,
          lineage: [],
          data: undefined,
          streams: new Map(),
          device: {},
          visits: { firstMs: 1_000, latestMs: 1_000 },
        });
      });

      fact('gives lives that grow, also when the clock goes back', async (store) => {
        await store.create(newSession('a'));
        const lives = [];
        for (const nowMs of [5_000, 5_000, 1, 6_000]) lives.push((await load(store, 1, nowMs)).life);
        deepEqual(lives, [5_000, 5_001, 5_002, 6_000]);
      });

      fact('refuses the commits of the life before', async (store) => {
        const { session: before } = await createAndLoad(store, 'a');
        const after = await load(store, 1);
        await rejects(store.commit({ ...commitOf(before), data: '"old"' }), {
          code: 'WEBGRAM_STORE_CONFLICT',
        });
        await store.commit({ ...commitOf(after), data: '"new"' });
        equal((await load(store, 1)).data, '"new"');
      });

      fact(
        'gives loads at the same time different lives and tags, of which the newest may commit',
        async (store) => {
          await store.create(newSession('a'));
          const loaded = await Promise.all(numbers(20).map(() => load(store, 1)));
          equal(new Set(loaded.map(({ life }) => life)).size, 20);
          equal(new Set(loaded.map(({ tag }) => tag)).size, 20);
          const newestLife = Math.max(...loaded.map(({ life }) => life));
          const outcomes = await Promise.allSettled(loaded.map((session) => store.commit(commitOf(session))));
          deepEqual(
            loaded.filter((_, index) => outcomes[index]?.status === 'fulfilled').map(({ life }) => life),
            [newestLife],
          );
        },
      );

      fact('reads what was written by the calls before it, all or nothing', async (store) => {
        const { session } = await createAndLoad(store, 'a');
        const commit = commitOf(session);
        const [, loaded] = await Promise.all([
          store.commit({ ...commit, data: '"new"', streams: new Map([['tab', '"new"']]) }),
          load(store, 1),
          rejects(store.commit({ ...commit, expectedTag: commit.tag, tag: 'later', data: '"later"' }), {
            code: 'WEBGRAM_STORE_CONFLICT',
          }),
        ]);
        equal(loaded.data, '"new"');
        deepEqual(loaded.streams, new Map([['tab', '"new"']]));
        deepEqual(loaded.lineage, commit.lineage);
      });
    });

    describe('committing', () => {
      fact('changes what the commit names and leaves the rest', async (store) => {
        let { session } = await createAndLoad(store, 'a');
        await store.commit({
          ...commitOf(session),
          data: '"first"',
          streams: new Map([
            ['one', '1'],
            ['two', '2'],
          ]),
        });
        session = await load(store, 1);
        await store.commit({
          ...commitOf(session),
          streams: new Map([
            ['one', null],
            ['three', '3'],
            ['unknown', null],
          ]),
        });
        session = await load(store, 1);
        equal(session.data, '"first"');
        deepEqual(
          session.streams,
          new Map([
            ['two', '2'],
            ['three', '3'],
          ]),
        );
        await store.commit({ ...commitOf(session), data: '"second"' });
        session = await load(store, 1);
        equal(session.data, '"second"');
        equal(session.streams.size, 2);
        await store.commit({
          ...commitOf(session),
          streams: new Map([
            ['two', null],
            ['three', null],
          ]),
        });
        equal((await load(store, 1)).streams.size, 0);
      });

      fact('writes nothing of a commit that expects another tag', async (store) => {
        const { session } = await createAndLoad(store, 'a');
        await store.commit({ ...commitOf(session), data: '"kept"', streams: new Map([['tab', '"kept"']]) });
        const refused = {
          ...commitOf(session),
          tag: 'refused',
          lineage: [[1, 1]] as const,
          data: '"lost"',
          streams: new Map<string, string | null>([
            ['tab', null],
            ['other', '"lost"'],
          ]),
        };
        await rejects(store.commit(refused), { code: 'WEBGRAM_STORE_CONFLICT' });
        await rejects(store.commit({ ...refused, expectedTag: '' }), { code: 'WEBGRAM_STORE_CONFLICT' });
        const { data, streams, lineage } = await load(store, 1);
        deepEqual(
          { data, streams, lineage },
          {
            data: '"kept"',
            streams: new Map([['tab', '"kept"']]),
            lineage: [[session.life, 1]],
          },
        );
      });

      fact('refuses commits for sessions that were never loaded or never were', async (store) => {
        const { session } = await createAndLoad(store, 'a');
        await store.create(newSession('b'));
        for (const sessionID of [2, ...AWKWARD_IDS]) {
          // No tag at all must not pass for the missing tag of a missing head.
          for (const expectedTag of [session.tag, '', undefined as unknown as string]) {
            await rejects(store.commit({ ...commitOf(session), sessionID, expectedTag }), {
              code: 'WEBGRAM_STORE_CONFLICT',
            });
          }
        }
        await store.commit(commitOf(session));
      });

      fact(
        'writes commits at the same time in order when each expects the tag of the one before',
        async (store) => {
          const { session } = await createAndLoad(store, 'a');
          const commits = chainOf(session, 100);
          await Promise.all(commits.map((commit) => store.commit(commit)));
          const { data, streams, lineage } = await load(store, 1);
          equal(data, '100');
          deepEqual(streams, new Map([['tab', '100']]));
          deepEqual(lineage, [[session.life, 100]]);
        },
      );

      fact('writes one of many commits at the same time that expect the same tag', async (store) => {
        const { session } = await createAndLoad(store, 'a');
        const commits = numbers(50).map((n) => ({ ...commitOf(session), tag: `tag-${n}`, data: String(n) }));
        const outcomes = await Promise.allSettled(commits.map((commit) => store.commit(commit)));
        const winners = commits.filter((_, index) => outcomes[index]?.status === 'fulfilled');
        equal(winners.length, 1);
        equal((await load(store, 1)).data, winners[0]?.data);
      });

      fact('refuses every commit that rests on a refused one', async (store) => {
        const { session } = await createAndLoad(store, 'a');
        const [first, second, third, fourth] = chainOf(session, 4) as [Commit, Commit, Commit, Commit];
        const outcomes = await Promise.allSettled([
          store.commit(first),
          store.commit({ ...second, expectedTag: 'another' }),
          store.commit(third),
          store.commit(fourth),
        ]);
        deepEqual(
          outcomes.map(({ status }) => status),
          ['fulfilled', 'rejected', 'rejected', 'rejected'],
        );
        equal((await load(store, 1)).data, '1');
      });

      fact('keeps the commits of many sessions at the same time apart', async (store) => {
        const sessions = await Promise.all(
          numbers(100).map(async (n) => (await createAndLoad(store, `key-${n}`)).session),
        );
        await Promise.all(
          sessions.flatMap((session) => chainOf(session, 5).map((commit) => store.commit(commit))),
        );
        for (const { sessionID, life } of sessions) {
          const { data, lineage } = await load(store, sessionID);
          deepEqual({ data, lineage }, { data: '5', lineage: [[life, 5]] });
        }
      });

      fact('counts right when many take turns by loading', async (store) => {
        await store.create(newSession('a'));
        const taker = async () => {
          for (let counted = 0; counted < 10;) {
            const session = await load(store, 1);
            const outcome = await store
              .commit({ ...commitOf(session), data: String(Number(session.data ?? 0) + 1) })
              .then(() => 'counted', codeOf);
            ok(['counted', 'WEBGRAM_STORE_CONFLICT'].includes(outcome), outcome);
            if (outcome === 'counted') counted++;
            // Whoever was refused lets the others go first, or nobody would ever get through.
            else await new Promise((resolve) => setTimeout(resolve, Math.random() * 10));
          }
        };
        await Promise.all(numbers(4).map(taker));
        equal((await load(store, 1)).data, '40');
      });

      fact('keeps texts and tab names as they are', async (store) => {
        const { session } = await createAndLoad(store, 'a');
        const streams = new Map(AWKWARD_NAMES.map((tabID) => [tabID, `${AWKWARD_TEXT} of ${tabID}`]));
        await store.commit({
          ...commitOf(session),
          data: AWKWARD_TEXT,
          streams: new Map([...streams, ['', '']]),
        });
        const loaded = await load(store, 1);
        equal(loaded.data, AWKWARD_TEXT);
        deepEqual(loaded.streams, new Map([...streams, ['', '']]));
      });

      fact('keeps a megabyte', async (store) => {
        const { session } = await createAndLoad(store, 'a');
        const data = JSON.stringify('é'.repeat(512 * 1024));
        await store.commit({ ...commitOf(session), data });
        ok((await load(store, 1)).data === data);
      });

      fact('takes what it is given at the call, and gives away nothing that later changes', async (store) => {
        const { session } = await createAndLoad(store, 'a');
        const commit = { ...commitOf(session), streams: new Map<string, string | null>([['tab', '1']]) };
        const visits = { firstMs: 1, latestMs: 2 };
        const writes = [store.commit(commit), store.writeVisits(1, visits)];
        commit.tag = 'later';
        commit.streams.set('tab', '2');
        (commit.lineage as [number, number][])[0]?.fill(0);
        visits.firstMs = 0;
        await Promise.all(writes);
        const first = await load(store, 1);
        first.streams.set('tab', '3');
        (first.lineage as unknown[]).push([0, 0]);
        first.visits.firstMs = 3;
        const loaded = await load(store, 1);
        deepEqual(loaded.streams, new Map([['tab', '1']]));
        deepEqual(loaded.lineage, [[session.life, 1]]);
        deepEqual(loaded.visits, { firstMs: 1, latestMs: 2 });
      });
    });

    describe('renewing', () => {
      const ACCOUNT = { name: 'alice', profile: '{"label":"Alice"}' };
      const newKey = (changes: Partial<NewKey> = {}): NewKey => ({
        sessionID: 1,
        replacedKeyID: 'a',
        generation: 5_000,
        keyID: 'next',
        publicKey: publicKeyOf('next'),
        account: ACCOUNT,
        clearsData: false,
        nowMs: 6_000,
        ...changes,
      });

      async function createAndClaim(store: Store): Promise<StoredSession> {
        await store.create(newSession('a', { fromClient: '1' }));
        await store.claim(1, 5_000);
        const session = await load(store, 1);
        await store.commit({ ...commitOf(session), data: '"kept"', streams: new Map([['tab', '1']]) });
        return session;
      }

      fact(
        'lets the new key find the session, and leaves a tombstone of the old one',
        async (store, place) => {
          await createAndClaim(store);
          equal(await store.renew(newKey()), 'renewed');
          await nowAndReopened(store, place, async (opened) => {
            deepEqual(await opened.findKey('next'), {
              sessionID: 1,
              publicKey: publicKeyOf('next'),
              createdMs: 1_000,
            });
            deepEqual(await opened.sessionsOf(ACCOUNT.name), [1]);
            deepEqual(await opened.findKey('a'), {
              sessionID: 1,
              publicKey: publicKeyOf('a'),
              ended: { reason: 'renewed', atMs: 6_000 },
            });
            const { keyID, account, profile, createdMs, fromClient, data, streams, generation } = await load(
              opened,
              1,
            );
            deepEqual(
              { keyID, account, profile, createdMs, fromClient, data, streams, generation },
              {
                keyID: 'next',
                account: ACCOUNT.name,
                profile: ACCOUNT.profile,
                createdMs: 1_000,
                fromClient: '1',
                data: '"kept"',
                streams: new Map([['tab', '1']]),
                generation: 5_000,
              },
            );
          });
        },
      );

      fact('leaves life and tag as they are, so that commits go on', async (store) => {
        const session = await createAndClaim(store);
        await store.renew(newKey());
        const { tag } = commitOf(session);
        await store.commit({ ...commitOf(session), expectedTag: tag, tag: 'later', generation: 5_000 });
        equal((await load(store, 1, 0)).life, session.life + 1);
      });

      fact('takes account and data away', async (store) => {
        await createAndClaim(store);
        await store.renew(newKey());
        const away = { replacedKeyID: 'next', keyID: 'last', account: undefined, clearsData: true };
        equal(await store.renew(newKey(away)), 'renewed');
        const { account, profile, data, streams } = await load(store, 1);
        deepEqual(await store.sessionsOf(ACCOUNT.name), []);
        deepEqual(
          { account, profile, data, streams },
          { account: undefined, profile: undefined, data: undefined, streams: new Map([['tab', '1']]) },
        );
      });

      fact('keeps an account without a profile, and texts as they are', async (store) => {
        await createAndClaim(store);
        for (const [index, text] of ['', AWKWARD_TEXT, ...AWKWARD_NAMES].entries()) {
          const account = { name: text, profile: index % 2 === 0 ? undefined : text };
          const keyID = `next-${index}`;
          const replacedKeyID = index === 0 ? 'a' : `next-${index - 1}`;
          equal(await store.renew(newKey({ replacedKeyID, keyID, account })), 'renewed');
          const loaded = await load(store, 1);
          deepEqual({ name: loaded.account, profile: loaded.profile }, account);
          deepEqual(await store.sessionsOf(text), [1]);
        }
      });

      fact('writes nothing when a newer link was claimed, or the key is another by now', async (store) => {
        await createAndClaim(store);
        await store.create(newSession('b'));
        for (const changes of [
          { generation: 4_999 },
          { generation: 5_001 },
          { replacedKeyID: 'b' },
          { replacedKeyID: 'x' },
        ]) {
          equal(await store.renew(newKey(changes)), 'superseded');
        }
        await store.claim(1, 7_000);
        equal(await store.renew(newKey()), 'superseded');
        equal(await store.findKey('next'), undefined);
        equal((await store.findKey('a'))?.ended, undefined);
        equal((await load(store, 1)).account, undefined);
      });

      fact('writes nothing for a key that it knows, alive or not', async (store) => {
        await createAndClaim(store);
        await store.create(newSession('b'));
        await store.create(newSession('c'));
        await store.end(3, 'revoked', 1);
        for (const keyID of ['a', 'b', 'c']) equal(await store.renew(newKey({ keyID })), 'known');
        equal((await store.findKey('a'))?.ended, undefined);
        deepEqual(await store.findKey('b'), { sessionID: 2, publicKey: publicKeyOf('b'), createdMs: 1_000 });
        equal((await store.findKey('c'))?.ended?.reason, 'revoked');
      });

      fact('writes nothing for sessions that never were or have ended', async (store) => {
        await createAndClaim(store);
        for (const sessionID of AWKWARD_IDS) equal(await store.renew(newKey({ sessionID })), 'gone');
        await store.end(1, 'expired', 2_000);
        equal(await store.renew(newKey()), 'gone');
        equal(await store.findKey('next'), undefined);
      });

      fact('lets one of many at the same time win', async (store) => {
        await createAndClaim(store);
        const keyIDs = numbers(20).map((n) => `next-${n}`);
        const outcomes = await Promise.all(keyIDs.map((keyID) => store.renew(newKey({ keyID }))));
        deepEqual(outcomes.toSorted(), ['renewed', ...numbers(19).map(() => 'superseded')]);
        const alive = await Promise.all(['a', ...keyIDs].map((keyID) => store.findKey(keyID)));
        equal(alive.filter((row) => row !== undefined && row.ended === undefined).length, 1);
      });

      fact('denies the old key for ever, also when it creates, and ends by the new one', async (store) => {
        await createAndClaim(store);
        await store.renew(newKey());
        deepEqual(await store.create(newSession('a')), { ended: 'renewed' });
        await store.end(1, 'revoked', 8_000);
        equal((await store.findKey('next'))?.ended?.reason, 'revoked');
        equal((await store.findKey('a'))?.ended?.reason, 'renewed');
        equal(await store.load(1, 9_000), undefined);
      });

      fact('leaves a tombstone that is forgotten like others, and the session lives on', async (store) => {
        await createAndClaim(store);
        await store.renew(newKey());
        equal(await store.forgetEnded(6_000, 10), 0);
        equal(await store.forgetEnded(6_001, 10), 1);
        equal(await store.findKey('a'), undefined);
        equal((await store.findKey('next'))?.sessionID, 1);
        equal((await load(store, 1)).keyID, 'next');
      });

      fact('keeps the profile when the same account is set again, not with another one', async (store) => {
        await createAndClaim(store);
        await store.renew(newKey());
        await store.setAccount(1, ACCOUNT.name);
        equal((await load(store, 1)).profile, ACCOUNT.profile);
        await store.setAccount(1, 'bob');
        equal((await load(store, 1)).profile, undefined);
      });

      fact('keeps no hold of what it was given', async (store) => {
        await createAndClaim(store);
        const key = newKey({ account: { ...ACCOUNT } });
        const renewing = store.renew(key);
        key.publicKey.fill(0);
        key.account!.name = 'mallory';
        await renewing;
        deepEqual((await store.findKey('next'))?.publicKey, publicKeyOf('next'));
        equal((await load(store, 1)).account, 'alice');
      });
    });

    describe('visits', () => {
      fact('are kept without a commit, the newest call last', async (store) => {
        const { session } = await createAndLoad(store, 'a');
        await Promise.all([
          store.writeVisits(1, { firstMs: 1, latestMs: 2 }),
          store.writeVisits(1, { firstMs: 1, previousMs: 2, latestMs: 3 }),
        ]);
        await store.commit(commitOf(session));
        deepEqual((await load(store, 1)).visits, { firstMs: 1, previousMs: 2, latestMs: 3 });
      });

      fact('of sessions that have ended or never were are dropped', async (store) => {
        await store.create(newSession('a'));
        await store.end(1, 'revoked', 2_000);
        for (const sessionID of [1, 2]) await store.writeVisits(sessionID, { firstMs: 1, latestMs: 2 });
        deepEqual(await store.create(newSession('b')), { sessionID: 2, created: true });
        equal(await store.load(1, 1), undefined);
        deepEqual((await load(store, 2)).visits, { firstMs: 1_000, latestMs: 1_000 });
      });
    });

    describe('ending', () => {
      fact('leaves a tombstone and nothing else', async (store) => {
        const { session } = await createAndLoad(store, 'a');
        await store.commit({ ...commitOf(session), data: '1', streams: new Map([['tab', '1']]) });
        equal(await store.end(1, 'renewed', 7_000), true);
        deepEqual(await store.findKey('a'), {
          sessionID: 1,
          publicKey: publicKeyOf('a'),
          ended: { reason: 'renewed', atMs: 7_000 },
        });
        equal(await store.load(1, 8_000), undefined);
        await rejects(store.claim(1, 8_000), { code: 'WEBGRAM_SESSION_ENDED' });
        await rejects(store.commit(commitOf(session)), { code: 'WEBGRAM_STORE_CONFLICT' });
        equal(await store.nextSessionID(), 2);
      });

      fact('says whether the session was alive, and keeps the first reason', async (store) => {
        await store.create(newSession('a'));
        const ended = await Promise.all([
          store.end(1, 'revoked', 1),
          store.end(1, 'expired', 2),
          store.end(2, 'revoked', 3),
        ]);
        deepEqual(ended, [true, false, false]);
        equal(await store.end(1, 'expired', 4), false);
        deepEqual((await store.findKey('a'))?.ended, { reason: 'revoked', atMs: 1 });
      });

      fact('lets nothing in flight revive the session', async (store) => {
        const { session } = await createAndLoad(store, 'a');
        const [first, second] = chainOf(session, 2) as [Commit, Commit];
        const outcomes = await Promise.all([
          store.commit(first).then(() => 'ok', codeOf),
          store.end(1, 'revoked', 2_000),
          store.commit(second).then(() => 'ok', codeOf),
          store.claim(1, 9_000).then(() => 'ok', codeOf),
          store.load(1, 9_000),
          store.writeVisits(1, { firstMs: 1, latestMs: 2 }),
          store.create(newSession('a')),
        ]);
        deepEqual(outcomes, [
          'ok',
          true,
          'WEBGRAM_STORE_CONFLICT',
          'WEBGRAM_SESSION_ENDED',
          undefined,
          undefined,
          { ended: 'revoked' },
        ]);
        equal(await store.load(1, 1), undefined);
      });

      fact('lets nothing in flight revive the session, a thousand times', async (store) => {
        const revokeWhileSaving = async (n: number): Promise<void> => {
          const { session } = await createAndLoad(store, `key-${n}`, { expiresAtMs: 9_000 });
          const { sessionID } = session;
          const saves = chainOf(session, 4).map((commit) => () => store.commit(commit));
          const others = [
            () => store.claim(sessionID, 9_000),
            () => store.writeVisits(sessionID, { firstMs: 1, latestMs: 2 }),
            () => store.extend(sessionID, 99_000),
            () => store.setAccount(sessionID, 'alice'),
            () => store.load(sessionID, 9_000),
            () => store.create(newSession(`key-${n}`)),
          ];
          const calls: (() => Promise<unknown>)[] = [...saves, ...others];
          calls.splice(n % calls.length, 0, () => store.end(sessionID, 'revoked', 2_000));
          await Promise.allSettled(calls.map((call) => call()));
          equal(await store.load(sessionID, 9_000), undefined);
          equal(await store.headTag(sessionID), undefined);
          deepEqual((await store.findKey(`key-${n}`))?.ended, { reason: 'revoked', atMs: 2_000 });
          deepEqual(await store.create(newSession(`key-${n}`)), { ended: 'revoked' });
        };
        for (let round = 0; round < 20; round += 1) {
          await Promise.all(numbers(50).map((n) => revokeWhileSaving(round * 50 + n)));
        }
        deepEqual(await store.due(Number.MAX_SAFE_INTEGER - 1, 10), []);
        deepEqual(await store.sessionsOf('alice'), []);
      });

      fact('leaves tombstones until they are forgotten, and gives their ids to nobody', async (store) => {
        for (const n of numbers(4)) {
          await store.create(newSession(`key-${n}`));
          if (n < 4) await store.end(n, 'revoked', n * 1_000);
        }
        equal(await store.forgetEnded(3_000, 1), 1);
        equal(await store.forgetEnded(3_000, 10), 1);
        equal(await store.forgetEnded(3_000, 10), 0);
        deepEqual(
          await Promise.all(numbers(4).map(async (n) => (await store.findKey(`key-${n}`))?.sessionID)),
          [undefined, undefined, 3, 4],
        );
        deepEqual(await store.create(newSession('key-1')), { sessionID: 5, created: true });
      });

      fact('leaves other sessions alone', async (store) => {
        const { session } = await createAndLoad(store, 'a');
        for (const n of numbers(11)) await store.create(newSession(`key-${n}`));
        await store.commit({ ...commitOf(session), data: '1', streams: new Map([['tab', '1']]) });
        await store.end(10, 'revoked', 1);
        await store.end(11, 'revoked', 1);
        const { data, streams } = await load(store, 1);
        deepEqual({ data, streams }, { data: '1', streams: new Map([['tab', '1']]) });
        equal((await store.findKey('key-11'))?.ended, undefined);
      });
    });

    describe('the end of a lifetime', () => {
      fact('is told with the key and the session, and can be moved both ways', async (store) => {
        await store.create(newSession('a', { expiresAtMs: 5_000 }));
        for (const expiresAtMs of [5_000, 9_000, 3_000]) {
          await store.extend(1, expiresAtMs);
          equal((await store.findKey('a'))?.expiresAtMs, expiresAtMs);
          equal((await load(store, 1)).expiresAtMs, expiresAtMs);
        }
        await store.extend(1, undefined);
        equal('expiresAtMs' in ((await store.findKey('a')) ?? {}), false);
        equal((await load(store, 1)).expiresAtMs, undefined);
        deepEqual(await store.due(99_000, 10), []);
      });

      fact('is found when it has come, the earliest first', async (store) => {
        for (const [n, expiresAtMs] of [7_000, 3_000, undefined, 5_000, 3_000].entries()) {
          await store.create(newSession(`key-${n}`, { expiresAtMs }));
        }
        deepEqual(await store.due(2_999, 10), []);
        deepEqual(await store.due(3_000, 10), [2, 5]);
        deepEqual(await store.due(6_999, 10), [2, 5, 4]);
        deepEqual(await store.due(99_000, 2), [2, 5]);
        await store.extend(2, 8_000);
        await store.end(5, 'revoked', 1);
        deepEqual(await store.due(99_000, 10), [4, 1, 2]);
      });

      fact('ends the session when it has come, and not before', async (store) => {
        const { session } = await createAndLoad(store, 'a', { expiresAtMs: 5_000 });
        equal(await store.expire(1, 4_999), false);
        await store.commit(commitOf(session));
        equal(await store.expire(1, 5_000), true);
        equal(await store.expire(1, 5_000), false);
        deepEqual((await store.findKey('a'))?.ended, { reason: 'expired', atMs: 5_000 });
        deepEqual(await store.due(99_000, 10), []);
        for (const sessionID of AWKWARD_IDS) equal(await store.expire(sessionID, 99_000), false);
      });

      fact('is looked at again by what ends the session', async (store) => {
        await store.create(newSession('a', { expiresAtMs: 5_000 }));
        const [, hasEnded] = await Promise.all([store.extend(1, 9_000), store.expire(1, 6_000)]);
        equal(hasEnded, false);
        equal((await store.findKey('a'))?.expiresAtMs, 9_000);
      });

      fact(
        'is kept over claims, visits and loads, and when the store is opened again',
        async (store, place) => {
          await store.create(newSession('a', { expiresAtMs: 5_000 }));
          await store.claim(1, 1);
          await store.writeVisits(1, { firstMs: 1, latestMs: 2 });
          await load(store, 1);
          await store.setAccount(1, 'alice');
          await reopened(store, place, async (again) => {
            deepEqual(await again.due(5_000, 10), [1]);
            deepEqual(await again.sessionsOf('alice'), [1]);
            const { visits, account, expiresAtMs } = await load(again, 1);
            deepEqual(
              { visits, account, expiresAtMs },
              { visits: { firstMs: 1, latestMs: 2 }, account: 'alice', expiresAtMs: 5_000 },
            );
          });
        },
      );
    });

    describe('accounts', () => {
      fact('list their sessions and nobody else’s', async (store) => {
        const accounts = [...AWKWARD_NAMES, AWKWARD_TEXT, 'a', 'al', 'alice'];
        for (const [index, account] of accounts.entries()) {
          await store.create(newSession(`key-${index}`));
          await store.setAccount(index + 1, account);
        }
        for (const [index, account] of accounts.entries()) {
          deepEqual(await store.sessionsOf(account), [index + 1]);
          equal((await load(store, index + 1)).account, account);
        }
      });

      fact('let go of sessions that change the account or end', async (store) => {
        for (const n of numbers(4)) {
          await store.create(newSession(`key-${n}`));
          await store.setAccount(n, 'alice');
        }
        await store.setAccount(1, 'bob');
        await store.setAccount(2, undefined);
        await store.end(3, 'revoked', 1);
        deepEqual(await store.sessionsOf('alice'), [4]);
        deepEqual(await store.sessionsOf('bob'), [1]);
        equal((await load(store, 2)).account, undefined);
        await rejects(store.setAccount(3, 'alice'), { code: 'WEBGRAM_SESSION_ENDED' });
      });
    });

    describe('devices', () => {
      const DEVICE = { platform: 'Linux', browser: 'Firefox', name: AWKWARD_TEXT };

      fact('are kept from the creation on, and read without beginning a life', async (store, place) => {
        await store.create(newSession('a', { device: DEVICE, fromClient: '1' }));
        await store.create(newSession('b'));
        await store.setAccount(1, 'alice');
        const { tag } = await load(store, 1);
        await nowAndReopened(store, place, async (opened) => {
          deepEqual(await opened.summary(1), {
            sessionID: 1,
            account: 'alice',
            createdMs: 1_000,
            lastUsedMs: 1_000,
            device: DEVICE,
            forked: false,
          });
          const second = {
            sessionID: 2,
            account: undefined,
            createdMs: 1_000,
            lastUsedMs: 1_000,
            device: {},
            forked: false,
          };
          deepEqual(await opened.summary(2), second);
          equal(await opened.summary(3), undefined);
          equal(await opened.headTag(1), tag);
        });
        await store.open();
        deepEqual((await load(store, 1)).device, DEVICE);
      });

      fact('were last used at the newest visit or link', async (store) => {
        await store.create(newSession('a'));
        await store.writeVisits(1, { firstMs: 1_000, latestMs: 3_000 });
        equal((await store.summary(1))?.lastUsedMs, 3_000);
        await store.claim(1, 5_000);
        equal((await store.summary(1))?.lastUsedMs, 5_000);
      });

      fact('are listed by account, in pages', async (store) => {
        for (const n of numbers(7)) {
          await store.create(newSession(`key-${n}`, { device: { name: String(n) } }));
          await store.setAccount(n, n === 4 ? 'alice2' : 'alice');
        }
        await store.end(5, 'revoked', 1);
        const page = async (after: number, limit: number) =>
          (await store.summariesOf('alice', after, limit)).map(({ device }) => device.name);
        deepEqual(await page(0, 3), ['1', '2', '3']);
        deepEqual(await page(3, 3), ['6', '7']);
        deepEqual(await page(7, 3), []);
        deepEqual(await store.summariesOf('nobody', 0, 3), []);
      });

      fact('change by what is given, and only for the account that was named', async (store) => {
        await store.create(newSession('a', { device: { platform: 'Linux', browser: 'Firefox' } }));
        await store.setAccount(1, 'alice');
        equal(await store.updateDevice(1, { name: 'Till' }, 'bob'), false);
        deepEqual((await store.summary(1))?.device, { platform: 'Linux', browser: 'Firefox' });
        const location = { city: 'Riga', country: 'LV' };
        const changed = await Promise.all([
          store.updateDevice(1, { name: 'Till' }, 'alice'),
          store.updateDevice(1, { location }),
          store.updateDevice(1, { browser: undefined }),
        ]);
        deepEqual(changed, [true, true, true]);
        deepEqual((await store.summary(1))?.device, { platform: 'Linux', name: 'Till', location });
        await store.end(1, 'revoked', 1);
        equal(await store.updateDevice(1, { name: 'Till' }), false);
        equal(await store.summary(1), undefined);
      });

      fact(
        'are marked as forked until the key is renewed, and nothing else of them changes',
        async (store, place) => {
          await store.create(newSession('a', { device: DEVICE, fromClient: '1' }));
          await store.create(newSession('b'));
          await store.setAccount(1, 'alice');
          await store.claim(1, 5_000);
          const before = await store.summary(1);
          await store.markForked(1);
          await store.markForked(1);
          const summary = { ...before, forked: true };
          await nowAndReopened(store, place, async (opened) => {
            deepEqual(await opened.summary(1), summary);
            deepEqual(await opened.summariesOf('alice', 0, 9), [summary]);
            equal((await opened.summary(2))?.forked, false);
            deepEqual((await load(opened, 1)).device, DEVICE);
          });
          await store.open();
          await store.updateDevice(1, { name: 'Till' });
          await store.setAccount(1, 'bob');
          equal((await store.summary(1))?.forked, true);
          const key = { replacedKeyID: 'a', keyID: 'next', publicKey: publicKeyOf('next'), nowMs: 6_000 };
          const account = { name: 'alice', profile: undefined };
          const renewed = await store.renew({
            sessionID: 1,
            generation: 5_000,
            account,
            clearsData: false,
            ...key,
          });
          equal(renewed, 'renewed');
          equal((await store.summary(1))?.forked, false);
          await store.end(1, 'revoked', 7_000);
          await store.markForked(1);
          await store.markForked(99);
          equal(await store.summary(1), undefined);
          equal(await store.summary(99), undefined);
        },
      );

      fact('end for the account that was named only', async (store) => {
        await store.create(newSession('a'));
        await store.setAccount(1, 'alice');
        equal(await store.end(1, 'revoked', 1, 'bob'), false);
        notEqual((await store.summary(1))?.createdMs, undefined);
        equal(await store.end(1, 'revoked', 1, 'alice'), true);
        equal((await store.findKey('a'))?.ended?.reason, 'revoked');
      });
    });

    describe('the tag of a head', () => {
      fact('is that of the newest load or commit', async (store) => {
        await store.create(newSession('a'));
        equal(await store.headTag(1), undefined);
        const session = await load(store, 1);
        equal(await store.headTag(1), session.tag);
        const commit = commitOf(session);
        await store.commit(commit);
        equal(await store.headTag(1), commit.tag);
        await store.end(1, 'revoked', 1);
        equal(await store.headTag(1), undefined);
      });
    });
  });
}

/** Ids that no store has dispensed, with what a careless caller may pass. */
const AWKWARD_IDS = [0, -1, 1.5, 2 ** 53, Number.NaN, Number.POSITIVE_INFINITY, 1e21] as const;

/** Names that hit something else in a store that keeps all rows under one kind of name. */
const AWKWARD_NAMES = [
  '',
  '1',
  '/',
  'b',
  'nextSessionID',
  '__proto__',
  'constructor',
  '../1',
  'key/a',
  'tab\u0000',
  '🙂',
  '*',
];

const AWKWARD_TEXT = '"quo\\"te" \u0000 \u2028 🙂 é {"a":[1:]} \n';

/** Checks an open store, and what it is after it was closed and its place opened again. It is closed afterwards. */
async function nowAndReopened(store: Store, place: StorePlace, check: Check): Promise<void> {
  await check(store);
  await reopened(store, place, check);
}

type Check = (opened: Store) => Promise<void>;

/** Closes the store and checks what is in its place when that is opened again. It is closed afterwards. */
async function reopened(store: Store, place: StorePlace, check: Check): Promise<void> {
  await store.close();
  const again = place.store();
  await again.open();
  try {
    await check(again);
  } finally {
    await again.close();
  }
}

async function everyCallIsRefused(store: Store): Promise<void> {
  const streams = new Map<string, string>();
  const commit = { sessionID: 1, expectedTag: '', tag: '', generation: 0, lineage: [], streams };
  const key = { sessionID: 1, replacedKeyID: 'a', generation: 0, keyID: 'b', publicKey: publicKeyOf('b') };
  const calls: (() => Promise<unknown>)[] = [
    () => store.nextSessionID(),
    () => store.create(newSession('a')),
    () => store.findKey('a'),
    () => store.claim(1, 1),
    () => store.load(1, 1),
    () => store.commit(commit),
    () => store.renew({ ...key, account: undefined, clearsData: false, nowMs: 1 }),
    () => store.writeVisits(1, { firstMs: 1, latestMs: 1 }),
    () => store.end(1, 'revoked', 1),
    () => store.backup('/nonexistent/folder'),
    () => store.headTag(1),
    () => store.extend(1, 1),
    () => store.due(1, 1),
    () => store.expire(1, 1),
    () => store.forgetEnded(1, 1),
    () => store.setAccount(1, 'alice'),
    () => store.sessionsOf('alice'),
    () => store.summary(1),
    () => store.summariesOf('alice', 0, 1),
    () => store.updateDevice(1, {}),
    () => store.markForked(1),
  ];
  for (const call of calls) await rejects(call(), { code: 'WEBGRAM_STORE_CLOSED' });
}

function newSession(keyID: string, changes: Partial<NewSession> = {}): NewSession {
  return { keyID, publicKey: publicKeyOf(keyID), nowMs: 1_000, fromClient: undefined, ...changes };
}

/** Sixty-five bytes that differ by key and take every value. */
function publicKeyOf(keyID: string): Uint8Array {
  return Uint8Array.from(
    { length: 65 },
    (_, index) => (index * 37 + (keyID.codePointAt(keyID.length - 1) ?? 0)) % 256,
  );
}

async function load(store: Store, sessionID: number, nowMs = 1_000): Promise<StoredSession> {
  const session = await store.load(sessionID, nowMs);
  ok(session, `session ${sessionID} is there`);
  return session;
}

async function createAndLoad(store: Store, keyID: string, changes: Partial<NewSession> = {}) {
  const created = await store.create(newSession(keyID, changes));
  return { created, session: await load(store, idOf(created)) };
}

/** The next commit of a session, with nothing changed. */
function commitOf({ sessionID, tag, life, generation }: StoredSession): Commit {
  return {
    sessionID,
    expectedTag: tag,
    tag: `${tag}+`,
    generation,
    lineage: [[life, 1]],
    streams: new Map(),
  };
}

/** Commits of which each expects the tag of the one before; the nth writes n. */
function chainOf({ sessionID, tag, life, generation }: StoredSession, length: number): Commit[] {
  return numbers(length).map((n) => ({
    sessionID,
    expectedTag: n === 1 ? tag : `${tag}-${n - 1}`,
    tag: `${tag}-${n}`,
    generation,
    lineage: [[life, n]],
    data: String(n),
    streams: new Map([['tab', String(n)]]),
  }));
}

/** From 1 to `count`. */
function numbers(count: number): number[] {
  return Array.from({ length: count }, (_, index) => index + 1);
}

function idOf(created: Created | undefined): number {
  ok(created && 'sessionID' in created, 'the session was created');
  return created.sessionID;
}

function codeOf(error: unknown): string {
  return (error as { code: string }).code;
}

function hex(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
}

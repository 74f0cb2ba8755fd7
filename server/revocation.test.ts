import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { expect, test } from 'vitest';
import { CLOSE, parseUp } from 'webgram';
import type { Conn } from './conn.ts';
import { Handlers } from './handlers.ts';
import type { WriteKey } from './link-renewal.ts';
import { quietLogger } from './log.ts';
import type { Sessions } from './sessions.ts';
import type { Store } from './store/store.ts';
import { randomFrom } from './testing/random.ts';
import { sessionsOn } from './testing/sessions-on.ts';
import { SilentLink } from './testing/silent-link.ts';
import { nextStore, STORES } from './testing/stores.ts';
import { turn } from './testing/until.ts';

/** Rounds of the race; `WEBGRAM_REVOCATIONS` makes it longer, `WEBGRAM_SEED` repeats its choices. */
const ROUNDS = Number(process.env['WEBGRAM_REVOCATIONS'] ?? 1_000);
const SEED = Number(process.env['WEBGRAM_SEED'] ?? Date.now() % 2 ** 31);
const AT_ONCE = 50;
const LONGEST_WAIT_TURNS = 8;
const PUBLIC_KEY = new Uint8Array(65).fill(4);

/** A link whose client brings another key at once. */
class RenewingLink extends SilentLink {
  readonly #keyID: string;

  constructor(generation: number, keyID: string) {
    super(generation);
    this.#keyID = keyID;
  }
  override async renew(write: WriteKey): Promise<void> {
    await write({ keyID: `${this.#keyID}-renewed`, publicKey: PUBLIC_KEY }, this.#keyID);
  }
}

/** What has happened in all rounds before the revocation refused it, so that the race is known to be one. */
interface Outcomes {
  saved: number;
  handled: number;
  loggedIn: number;
  refused: number;
}

/** One session whose end races with everything that can write it. */
class Round {
  readonly keyID: string;
  readonly #store: Store;
  readonly #sessions: Sessions;
  readonly #outcomes: Outcomes;
  readonly #random: () => number;
  #sessionID = 0;

  constructor(n: number, store: Store, sessions: Sessions, outcomes: Outcomes) {
    this.keyID = `key-${n}`;
    this.#store = store;
    this.#sessions = sessions;
    this.#outcomes = outcomes;
    this.#random = randomFrom(SEED + n);
  }

  async run(): Promise<void> {
    const { keyID } = this;
    const created = await this.#store.create({
      keyID,
      publicKey: PUBLIC_KEY,
      nowMs: 1_000,
      fromClient: undefined,
    });
    this.#sessionID = (created as { sessionID: number }).sessionID;
    await this.#store.setAccount(this.#sessionID, 'alice');
    const racing = this.#writers.map((write) => this.#atSomeTime(write).catch(expectRefusal));
    const ended = await this.#atSomeTime(() => this.#revokeTwice());
    expect([...ended].sort()).toEqual([false, true]);
    const late = this.#writers.map((write) => write().catch(expectRefusal));
    await Promise.all([...racing, ...late]);
    await this.#expectGone();
  }

  /** Everything that writes a session or brings it back into memory. */
  get #writers(): (() => Promise<unknown>)[] {
    const id = this.#sessionID;
    const store = this.#store;
    const sessions = this.#sessions;
    return [
      () => this.#saveOn(),
      () => this.#enter(),
      () => this.#enter(),
      () => this.#login(),
      () => sessions.open(id),
      async () => sessions.live.get(id)?.end('idle', CLOSE.normal),
      () => sessions.rename(id, 'Till 3'),
      () => store.writeVisits(id, { firstMs: 1, latestMs: 2 }),
      () => store.extend(id, Date.now() + 1e9),
      () => store.setAccount(id, 'alice'),
      () => store.markForked(id),
    ];
  }

  async #atSomeTime<T>(write: () => Promise<T>): Promise<T> {
    const turns = Math.floor(this.#random() * (LONGEST_WAIT_TURNS + 1));
    for (let i = 0; i < turns; i += 1) await turn();
    return write();
  }

  #revokeTwice(): Promise<boolean[]> {
    const revoke = () => this.#sessions.revoke(this.#sessionID, 'alice');
    return Promise.all([revoke(), revoke()]);
  }

  /** Saves again and again until it is refused. */
  async #saveOn(): Promise<void> {
    for (let i = 0; ; i += 1) {
      // A store in memory would let nothing else happen.
      await turn();
      try {
        const session = await this.#sessions.open(this.#sessionID);
        await session.update((data) => {
          data['i'] = i;
        });
      } catch {
        // It may only have left the memory.
        if ((await this.#store.summary(this.#sessionID)) !== undefined) continue;
        this.#outcomes.refused += 1;
        return;
      }
      this.#outcomes.saved += 1;
    }
  }

  /** A link comes, and its tab asks for something that is saved. */
  async #enter(): Promise<void> {
    const generation = await this.#sessions.claim(this.#sessionID);
    const session = await this.#sessions.open(this.#sessionID);
    const link = new RenewingLink(generation, this.keyID);
    session.attachLink(link);
    const tabID = Buffer.from(this.keyID.padEnd(16)).toString('base64url');
    session.receive(link, parseUp([0, 1, tabID, generation, [0, 0], 1, [0, 0, 0], {}]));
    session.receive(link, parseUp([3, 1, 1, [0, 0], 'keep', 'x']));
  }

  async #login(): Promise<void> {
    const [conn] = this.#sessions.live.get(this.#sessionID)?.conns ?? [];
    await conn?.login('alice');
    if (conn !== undefined) this.#outcomes.loggedIn += 1;
  }

  async #expectGone(): Promise<void> {
    const id = this.#sessionID;
    const renewed = await this.#store.findKey(`${this.keyID}-renewed`);
    const first = await this.#store.findKey(this.keyID);
    if (renewed === undefined) expect(first?.ended?.reason).toBe('revoked');
    else expect([first?.ended?.reason, renewed.ended?.reason]).toEqual(['renewed', 'revoked']);
    expect(await this.#store.load(id, Date.now())).toBeUndefined();
    expect(await this.#store.summary(id)).toBeUndefined();
    expect(this.#sessions.live.has(id)).toBe(false);
  }
}

function expectRefusal(error: unknown): void {
  expect(error).toMatchObject({
    code: expect.stringMatching(/^WEBGRAM_(SESSION_ENDED|CLOSED|STORE_CONFLICT|BAD_FRAME)$/) as string,
  });
}

test.each(STORES)(
  `nothing in flight revives a session on %s: ${ROUNDS} are revoked while they save (WEBGRAM_SEED=${SEED})`,
  { timeout: 60_000 + ROUNDS * 20 },
  async (_kind, makeStore) => {
    const folder = await mkdtemp(path.join(tmpdir(), 'webgram-revoke-'));
    const store = makeStore(folder);
    await store.open();
    const outcomes: Outcomes = { saved: 0, handled: 0, loggedIn: 0, refused: 0 };
    const handlers = new Handlers(quietLogger);
    handlers.answer['keep'] = async (conn: Conn, text: string) => {
      conn.sessionData['text'] = text;
      await conn.save({ now: true });
      outcomes.handled += 1;
    };
    const sessions = sessionsOn(store, { handlers, log: { ...quietLogger, warn: () => undefined } });
    try {
      for (let n = 0; n < ROUNDS; n += AT_ONCE) {
        const rounds = Array.from({ length: Math.min(AT_ONCE, ROUNDS - n) }, (_, i) => n + i);
        await Promise.all(rounds.map((one) => new Round(one, store, sessions, outcomes).run()));
      }
      if (ROUNDS >= 1_000) {
        for (const [outcome, count] of Object.entries(outcomes)) expect(count, outcome).toBeGreaterThan(0);
      }
      expect(sessions.live.size).toBe(0);
      expect(sessions.liveOf('alice').size).toBe(0);
      await store.close();
      const again = nextStore(store, folder);
      await again.open();
      expect(await again.sessionsOf('alice')).toEqual([]);
      expect(await again.due(Date.now() + 1e10, 10)).toEqual([]);
      await again.close();
    } finally {
      await sessions.close(100);
      await store.close();
      await rm(folder, { recursive: true });
    }
  },
);

import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { CLOSE, parseUp } from 'webgram';
import { expect, test } from 'vitest';
import type { Conn } from './conn.ts';
import { Handlers } from './handlers.ts';
import { quietLogger } from './log.ts';
import { DEFAULT_RETENTION } from './session-context.ts';
import { LevelStore } from './store/level-store.ts';
import { sessionsOn } from './testing/sessions-on.ts';
import { SilentLink } from './testing/silent-link.ts';

/** The long form: SESSIONS=100000. */
const SESSIONS = Number(process.env['SESSIONS'] ?? 5_000);

setFlagsFromString('--expose-gc');
const collectGarbage = runInNewContext('gc') as () => void;

async function usedBytes(): Promise<number> {
  for (let n = 0; n < 5; n += 1) {
    collectGarbage();
    await new Promise((resolve) => setImmediate(resolve));
  }
  const { heapUsed, arrayBuffers } = process.memoryUsage();
  return heapUsed + arrayBuffers;
}

test(
  `${SESSIONS} sessions visited one after the other do not grow the process`,
  { timeout: SESSIONS * 20 + 20_000 },
  async () => {
    const folder = await mkdtemp(path.join(tmpdir(), 'webgram-memory-'));
    const store = new LevelStore(path.join(folder, 'db'));
    await store.open();
    let nowMs = Date.now();
    const handlers = new Handlers(quietLogger);
    handlers.answer['keep'] = async (conn: Conn, text: string) => {
      conn.sessionData['text'] = text;
      await conn.save();
    };
    const sessions = sessionsOn(store, { clock: () => nowMs, handlers });
    const visit = async (n: number): Promise<void> => {
      const keyID = `key-${n}`;
      const created = await store.create({
        keyID,
        publicKey: new Uint8Array(65),
        nowMs,
        fromClient: undefined,
        expiresAtMs: nowMs + 1e10,
      });
      const { sessionID } = created as { sessionID: number };
      const generation = await store.claim(sessionID, nowMs);
      const session = await sessions.open(sessionID);
      const left = await new Promise<SilentLink>((answered) => {
        const link: SilentLink = new SilentLink(generation, () => {
          answered(link);
        });
        session.attachLink(link);
        const tabID = Buffer.from(keyID.padEnd(16)).toString('base64url');
        session.receive(link, parseUp([0, 1, tabID, 1, [0, 0], 1, [0, 0, 0], {}]));
        session.receive(link, parseUp([3, 1, 1, [0, 0], 'keep', 'x'.repeat(200)]));
        // A down that its tab never acknowledges, and an ask that nobody answers.
        for (const conn of session.conns) {
          conn.send('note', 'y'.repeat(200));
          void conn.askWith({ timeoutMs: 3_600_000 }, 'question').catch(() => undefined);
        }
      });
      // The socket goes without a word; some sessions are ended by hand as well.
      session.linkDown(left);
      if (n % 2 === 0) session.end('idle', CLOSE.normal);
    };
    const visitAll = async (from: number, to: number): Promise<void> => {
      for (let n = from; n < to; n += 20) {
        await Promise.all(Array.from({ length: 20 }, (_, i) => visit(n + i)));
        if (n % 500 !== 0) continue;
        // Those that nobody ends leave after their grace time.
        nowMs += DEFAULT_RETENTION.streamGraceMs;
        for (const session of [...sessions.live.values()]) session.sweep();
      }
      nowMs += DEFAULT_RETENTION.streamGraceMs;
      for (const session of [...sessions.live.values()]) session.sweep();
    };
    try {
      await visitAll(0, 1_000);
      const before = await usedBytes();
      await visitAll(1_000, 1_000 + SESSIONS);
      expect(sessions.live.size).toBe(0);
      const grownBytes = (await usedBytes()) - before;
      // Keeping as little as a number for each would take more.
      expect(grownBytes).toBeLessThan(Math.max(1_000_000, SESSIONS * 20));
    } finally {
      await sessions.close(100);
      await store.close();
      await rm(folder, { recursive: true });
    }
  },
);

import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { CLOSE } from 'webgram';
import type { Conn } from './conn.ts';
import { LevelMedium } from './store/level-medium.ts';
import { Scene } from './testing/scene.ts';
import { TestTab, type TestIdentity } from './testing/test-client.ts';

const { write } = LevelMedium.prototype;

let folder: string;
let scene: Scene;

beforeEach(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'webgram-outage-'));
  scene = new Scene();
  const server = await scene.start({ db: path.join(folder, 'db') });
  server.answer['count'] = async (conn: Conn) => {
    const count = Number(conn.sessionData['count'] ?? 0) + 1;
    conn.sessionData['count'] = count;
    await conn.save();
    return count;
  };
});

afterEach(async () => {
  LevelMedium.prototype.write = write;
  await scene.close();
  await rm(folder, { recursive: true });
});

const live = ({ sessionID }: TestIdentity) => scene.server.sessions.live.get(sessionID!);

test('after an outage of the store, sessions that it holds otherwise end, and the others go on', async () => {
  const [ahead, same, failing] = [scene.identity(), scene.identity(), scene.identity()];
  const tabs = [await scene.tab(ahead), await scene.tab(same), await scene.tab(failing)] as const;
  for (const tab of tabs) expect(await tab.ask('count')).toBe(1);
  const before = { ahead: live(ahead)!, same: live(same)!, failing: live(failing)! };

  // A medium that has lied: it said that this was written.
  LevelMedium.prototype.write = async () => undefined;
  expect(await tabs[0].ask('count')).toBe(2);

  LevelMedium.prototype.write = async () => {
    throw Object.assign(new Error('input/output error'), { code: 'EIO' });
  };
  tabs[2].link.send(tabs[2].askEnvelope('count'));
  // Nobody knows what became of that commit.
  expect(await tabs[2].link.waitForClose()).toMatchObject({ code: CLOSE.tryLater });
  expect(before.failing.isLive).toBe(false);
  LevelMedium.prototype.write = write;

  expect(await tabs[0].link.waitForClose()).toMatchObject({ code: CLOSE.tryLater });
  expect(before.ahead.isLive).toBe(false);
  expect(scene.messages('warn')).toContain('the store holds another state; it is loaded anew');
  expect(scene.messages('warn')).toContain('the store takes writes again');

  // The one that agrees with the store has noticed nothing.
  expect(await tabs[1].ask('count')).toBe(2);
  expect(live(same)).toBe(before.same);

  // The tab comes back to what the store holds, and the lineage tells it what is missing.
  const link = await scene.enter(ahead);
  const back = new TestTab(link, 1, tabs[0].tabID, 2);
  link.send(back.attachEnvelope());
  const { lineage, life } = await link.next('attached');
  expect(life).toBeGreaterThan(before.ahead.life);
  expect(lineage).toContainEqual([before.ahead.life, 1]);
  const fresh = new TestTab(link, 2);
  await fresh.attach();
  expect(await fresh.ask('count')).toBe(2);
});

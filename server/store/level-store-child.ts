/**
 * Run by level-store.test.ts in a process of its own: creates sessions and commits to them until it is killed or
 * each of its workers has met a failure of the medium, and says what was acknowledged, a line each, before it goes on.
 *
 * Arguments: the store's folder, what its keyIDs begin with.
 */
import { writeSync } from 'node:fs';
import { hasCode } from 'webgram';
import { LevelStore } from './level-store.ts';

const IN_FLIGHT = 16;
const COMMITS_PER_SESSION = 3;

const [location = '', prefix = ''] = process.argv.slice(2);
const store = new LevelStore(location);
let keysMade = 0;

function say(...words: unknown[]): void {
  writeSync(1, `${words.join(' ')}\n`);
}

function create() {
  const keyID = `${prefix}-${++keysMade}`;
  const publicKey = new Uint8Array(65).fill(keysMade % 256);
  return store
    .create({ keyID, publicKey, nowMs: Date.now(), fromClient: undefined })
    .then((created) => ({ keyID, sessionID: 'sessionID' in created ? created.sessionID : 0 }));
}

async function createAndCommit(): Promise<void> {
  const { keyID, sessionID } = await create();
  say('created', sessionID, keyID);
  const session = await store.load(sessionID, Date.now());
  let tag = session?.tag ?? '';
  for (let commit = 1; commit <= COMMITS_PER_SESSION; commit++) {
    const next = `${tag}${commit}`;
    await store.commit({
      sessionID,
      expectedTag: tag,
      tag: next,
      lineage: [[session?.life ?? 0, commit]],
      data: String(commit),
      streams: new Map([['tab', String(commit)]]),
    });
    say('committed', sessionID, commit);
    tag = next;
  }
}

async function workUntilFailure(): Promise<void> {
  for (;;) await createAndCommit();
}

function codeOf(error: unknown): string {
  return hasCode(error, 'WEBGRAM_STORE_FAILED') ? 'WEBGRAM_STORE_FAILED' : String(error);
}

await store.open();
say('opened');
const outcomes = await Promise.allSettled(Array.from({ length: IN_FLIGHT }, workUntilFailure));
for (const outcome of outcomes) if (outcome.status === 'rejected') say('failed', codeOf(outcome.reason));
const deadlineMs = performance.now() + 20_000;
let again = 'never';
while (again !== 'created' && performance.now() < deadlineMs) {
  again = await create().then(() => 'created', codeOf);
  if (again !== 'created') await new Promise((resolve) => setTimeout(resolve, 20));
}
say('again', again);
say('found', (await store.findKey(`${prefix}-1`))?.sessionID);
await store.close();
say('closed');

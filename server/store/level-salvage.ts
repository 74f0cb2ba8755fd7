import { randomBytes } from 'node:crypto';
import {
  accountIndex,
  dueIndex,
  endedIndex,
  keyRow,
  nextSessionIDRow,
  presenceRow,
  SCHEMA_VERSION,
  sessionRow,
  storeRow,
  tabsRow,
} from './level-rows.ts';
import { EMPTY_LEDGER, enter, LEDGER_KEY, seal, unseal, type Ledger } from './level-seal.ts';
import type { Findings, LevelMedium } from './level-medium.ts';
import type { Testimony } from './witness.ts';
import type { Write } from './write-queue.ts';

/** Ids that are passed over when nobody knows which was the last. */
const UNKNOWN_IDS = 1_000_000;

/** Rows that say something about one session, by what their keys begin with. */
const OF_SESSION = /^(?:head|presence|data|tabs|stream)\/(\d{16})/;

/**
 * Makes a damaged store one that is whole again, without what is lost: sessions that lack their key or their row go,
 * and whatever belongs to no session. No id is dispensed twice.
 */
export async function salvage(medium: LevelMedium, findings: Findings, testimony: Testimony | undefined) {
  const rows = new Map<string, string>();
  for await (const some of medium.scan()) {
    for (const [key, sealed] of some) {
      const text = key === LEDGER_KEY ? undefined : unseal(key, sealed);
      if (text !== undefined) rows.set(key, text);
    }
  }
  const before = new Set([...rows.keys(), ...findings.broken]);
  const sessions = wholeSessions(rows);
  for (const [key, text] of rows) {
    if (!belongs(key, text, rows, sessions)) rows.delete(key);
  }
  keepKnownTabs(rows);
  const ids = [...rows.keys()].map((key) => idIn(rows, key));
  const known = Math.max(testimony?.next ?? 0, nextIn(rows), ids.reduce((a, b) => Math.max(a, b), 0) + 1);
  const next = testimony === undefined ? known + UNKNOWN_IDS : known;
  const storeID = storeIDOf(rows, testimony);
  rows.set(nextSessionIDRow.key(), nextSessionIDRow.encode(next));
  rows.set(storeRow.key(), storeRow.encode({ schema: SCHEMA_VERSION, storeID }));
  rebuildIndexes(rows, sessions);

  const synced = Math.max(findings.ledger?.synced ?? 0, testimony?.synced ?? 0) + 1;
  const ledger: Ledger = { ...EMPTY_LEDGER, synced };
  for (const [key, text] of rows) enter(ledger, key, seal(key, text), 1);
  const gone = [...before].filter((key) => !rows.has(key)).map((key): Write => [key, undefined]);
  await medium.rewrite([...rows, ...gone], ledger);
  return { ledger, next, storeID, lost: sentences(ledger, sessions.size, findings, testimony) };
}

/** keyIDs of sessions that have both their key and their row. */
function wholeSessions(rows: ReadonlyMap<string, string>): Map<number, string> {
  const sessions = new Map<number, string>();
  for (const [key, text] of rows) {
    if (!key.startsWith('key/')) continue;
    const { sessionID, ended } = keyRow.parse(text, key);
    const session = rows.get(sessionRow.key(sessionID));
    if (ended !== undefined || session === undefined) continue;
    const { keyID } = sessionRow.parse(session, sessionRow.key(sessionID));
    if (keyRow.key(keyID) === key) sessions.set(sessionID, keyID);
  }
  return sessions;
}

function belongs(
  key: string,
  text: string,
  rows: ReadonlyMap<string, string>,
  sessions: ReadonlyMap<number, string>,
): boolean {
  if (key.startsWith('meta/')) return true;
  if (key.startsWith('key/')) {
    const { sessionID, ended } = keyRow.parse(text, key);
    return ended !== undefined || sessions.has(sessionID);
  }
  if (key.startsWith('session/')) return sessions.has(Number(key.slice('session/'.length)));
  const id = OF_SESSION.exec(key)?.[1];
  // Indexes are made anew.
  return id !== undefined && sessions.has(Number(id)) && rows.has(sessionRow.key(Number(id)));
}

/** A list names the streams that are there, and no stream is there that no list names. */
function keepKnownTabs(rows: Map<string, string>): void {
  const named = new Set<string>();
  for (const [key, text] of [...rows]) {
    if (!key.startsWith('tabs/')) continue;
    const id = key.slice('tabs/'.length);
    const tabs = tabsRow.parse(text, key).filter((tabID) => rows.has(`stream/${id}/${tabID}`));
    for (const tabID of tabs) named.add(`stream/${id}/${tabID}`);
    if (tabs.length > 0) rows.set(key, tabsRow.encode(tabs));
    else rows.delete(key);
  }
  for (const key of [...rows.keys()]) if (key.startsWith('stream/') && !named.has(key)) rows.delete(key);
}

function rebuildIndexes(rows: Map<string, string>, sessions: ReadonlyMap<number, string>): void {
  for (const [key, text] of [...rows]) {
    if (!key.startsWith('key/')) continue;
    const { ended } = keyRow.parse(text, key);
    if (ended !== undefined) rows.set(endedIndex.key(ended.atMs, key.slice('key/'.length)), '');
  }
  for (const sessionID of sessions.keys()) {
    const presence = rows.get(presenceRow.key(sessionID));
    const expiresAtMs =
      presence === undefined
        ? undefined
        : presenceRow.parse(presence, presenceRow.key(sessionID)).expiresAtMs;
    if (expiresAtMs !== undefined) rows.set(dueIndex.key(expiresAtMs, sessionID), '');
    const session = rows.get(sessionRow.key(sessionID)) ?? '';
    const { account } = sessionRow.parse(session, sessionRow.key(sessionID));
    if (account !== undefined) rows.set(accountIndex.key(account, sessionID), '');
  }
}

function idIn(rows: ReadonlyMap<string, string>, key: string): number {
  return key.startsWith('key/') ? keyRow.parse(rows.get(key), key).sessionID : 0;
}

function nextIn(rows: ReadonlyMap<string, string>): number {
  const text = rows.get(nextSessionIDRow.key());
  return text === undefined ? 1 : nextSessionIDRow.parse(text, nextSessionIDRow.key());
}

function storeIDOf(rows: ReadonlyMap<string, string>, testimony: Testimony | undefined): Uint8Array {
  const text = rows.get(storeRow.key());
  if (text !== undefined) return storeRow.parse(text, storeRow.key()).storeID;
  // Another name would make every client put its identity aside.
  return Uint8Array.from(
    testimony === undefined ? randomBytes(16) : Buffer.from(testimony.storeID, 'base64url'),
  );
}

function sentences(
  kept: Ledger,
  alive: number,
  { ledger, broken }: Findings,
  testimony: Testimony | undefined,
): string[] {
  const keys = Math.max(ledger?.keys ?? 0, testimony?.keys ?? 0);
  const rows = Math.max(ledger?.rows ?? 0, testimony?.rows ?? 0);
  const lost = [
    `${Math.max(0, keys - kept.keys)} of ${keys} sessions are lost; ${alive} are alive, ${kept.keys - alive} have ended`,
    `${Math.max(0, rows - kept.rows)} of ${rows} rows are lost, ${broken.length} of them could not be read`,
  ];
  const missed = (testimony?.synced ?? 0) - (ledger?.synced ?? 0);
  if (missed > 0) lost.push(`the last ${missed} writes that were acknowledged are lost`);
  lost.push('sessions may be older than what was acknowledged, and one that was revoked may be alive again');
  return lost;
}

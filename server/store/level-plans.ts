import { WebgramError } from 'webgram';
import { changedDevice } from './changed-device.ts';
import {
  accountIndex,
  corruptRow,
  dataRow,
  dueIndex,
  endedIndex,
  headRow,
  keyRow,
  nextSessionIDRow,
  presenceRow,
  sessionRow,
  streamRow,
  tabsRow,
} from './level-rows.ts';
import type { PresenceRow, RowKind, SessionRow } from './level-rows.ts';
import type {
  Commit,
  Created,
  DeviceChange,
  EndReason,
  KeyRow,
  NewKey,
  NewSession,
  Renewed,
  SessionSummary,
  StoredSession,
  Visits,
} from './store.ts';
import type { Plan, Read, Write } from './write-queue.ts';

/** What each operation of the store reads and writes, decided on the rows that `read` shows. */

/** Reads and parses one row. */
export function readRow<Row, Name extends unknown[]>(
  read: Read,
  kind: RowKind<Row, Name>,
  ...name: Name
): Row | undefined {
  const key = kind.key(...name);
  const text = read(key);
  return text === undefined ? undefined : kind.parse(text, key);
}

/** Reads the lowest sessionID that was never dispensed; a store without it is damaged. */
export function readNextSessionID(read: Read): number {
  const next = readRow(read, nextSessionIDRow);
  if (next === undefined) throw corruptRow('meta', nextSessionIDRow.key(), 'it is missing');
  return next;
}

export function planCreate(read: Read, session: NewSession): Plan<Created> {
  const { keyID, publicKey, nowMs: createdMs, fromClient, expiresAtMs, device } = session;
  const known = readRow(read, keyRow, keyID);
  if (known?.ended !== undefined) return { result: { ended: known.ended.reason }, writes: [] };
  if (known !== undefined) return { result: { sessionID: known.sessionID, created: false }, writes: [] };
  const sessionID = readNextSessionID(read);
  return {
    result: { sessionID, created: true },
    writes: [
      [nextSessionIDRow.key(), nextSessionIDRow.encode(sessionID + 1)],
      [keyRow.key(keyID), keyRow.encode({ sessionID, publicKey })],
      [sessionRow.key(sessionID), sessionRow.encode({ keyID, createdMs, fromClient, device })],
      ...(expiresAtMs === undefined ? [] : presenceWrites(sessionID, NO_PRESENCE, { expiresAtMs })),
    ],
  };
}

/** Finds a key, and when its session ends. */
export function readKey(read: Read, keyID: string): KeyRow | undefined {
  const row = readRow(read, keyRow, keyID);
  if (row === undefined || row.ended !== undefined) return row;
  const session = readRow(read, sessionRow, row.sessionID);
  if (session === undefined) throw corruptRow('session', sessionRow.key(row.sessionID), 'it is missing');
  const { expiresAtMs } = readPresence(read, row.sessionID);
  return { ...row, createdMs: session.createdMs, ...(expiresAtMs === undefined ? {} : { expiresAtMs }) };
}

const NO_PRESENCE: PresenceRow = { generation: 0, expiresAtMs: undefined, visits: undefined };

function readPresence(read: Read, sessionID: number): PresenceRow {
  return readRow(read, presenceRow, sessionID) ?? NO_PRESENCE;
}

/** Changes a session's presence, and its place in the index with it. */
function presenceWrites(sessionID: number, before: PresenceRow, change: Partial<PresenceRow>): Write[] {
  const after = { ...before, ...change };
  const writes: Write[] = [[presenceRow.key(sessionID), presenceRow.encode(after)]];
  if (after.expiresAtMs === before.expiresAtMs) return writes;
  if (before.expiresAtMs !== undefined) writes.push([dueIndex.key(before.expiresAtMs, sessionID), undefined]);
  if (after.expiresAtMs !== undefined) writes.push([dueIndex.key(after.expiresAtMs, sessionID), '']);
  return writes;
}

export function planClaim(read: Read, sessionID: number, nowMs: number): Plan<number> {
  if (readRow(read, sessionRow, sessionID) === undefined) {
    throw new WebgramError('WEBGRAM_SESSION_ENDED', `there is no session ${sessionID}`);
  }
  const presence = readPresence(read, sessionID);
  const generation = Math.max(presence.generation + 1, nowMs);
  return { result: generation, writes: presenceWrites(sessionID, presence, { generation }) };
}

/** @param tag The new tag of the head. */
export function planLoad(
  read: Read,
  sessionID: number,
  nowMs: number,
  tag: string,
): Plan<StoredSession | undefined> {
  const session = readRow(read, sessionRow, sessionID);
  if (session === undefined) return { result: undefined, writes: [] };
  const { keyID, createdMs, fromClient, account, profile, device = {} } = session;
  const head = readRow(read, headRow, sessionID);
  const life = Math.max((head?.life ?? 0) + 1, nowMs);
  const lineage = head?.lineage ?? [];
  const streams = new Map<string, string>();
  for (const tabID of readRow(read, tabsRow, sessionID) ?? []) {
    const stream = readRow(read, streamRow, sessionID, tabID);
    if (stream === undefined) throw corruptRow('stream', streamRow.key(sessionID, tabID), 'it is missing');
    streams.set(tabID, stream);
  }
  const { generation, expiresAtMs, visits } = readPresence(read, sessionID);
  return {
    result: {
      sessionID,
      keyID,
      createdMs,
      fromClient,
      account,
      profile,
      generation,
      expiresAtMs,
      life,
      tag,
      lineage,
      data: readRow(read, dataRow, sessionID),
      streams,
      visits: visits ?? { firstMs: createdMs, latestMs: createdMs },
      device,
    },
    writes: [[headRow.key(sessionID), headRow.encode({ tag, life, lineage })]],
  };
}

export function planCommit(read: Read, commit: Commit): Plan<undefined> {
  const { sessionID, expectedTag, tag, generation, lineage, data, streams } = commit;
  const head = readRow(read, headRow, sessionID);
  if (head === undefined || head.tag !== expectedTag) {
    const found =
      head === undefined ? 'is not loaded or has ended' : 'was loaded or written by somebody else';
    throw new WebgramError('WEBGRAM_STORE_CONFLICT', `session ${sessionID} ${found}`);
  }
  if (readPresence(read, sessionID).generation > generation) {
    throw new WebgramError('WEBGRAM_STORE_CONFLICT', `session ${sessionID} has a newer link`);
  }
  const writes: Write[] = [[headRow.key(sessionID), headRow.encode({ tag, life: head.life, lineage })]];
  if (data !== undefined) writes.push([dataRow.key(sessionID), dataRow.encode(data)]);
  if (streams.size > 0) writes.push(...streamWrites(read, sessionID, streams));
  return { result: undefined, writes };
}

function streamWrites(read: Read, sessionID: number, streams: Commit['streams']): Write[] {
  const writes: Write[] = [];
  const tabs = new Set(readRow(read, tabsRow, sessionID));
  let tabsChanged = false;
  for (const [tabID, stream] of streams) {
    const key = streamRow.key(sessionID, tabID);
    if (stream === null) {
      writes.push([key, undefined]);
      tabsChanged = tabs.delete(tabID) || tabsChanged;
    } else {
      writes.push([key, streamRow.encode(stream)]);
      tabsChanged ||= !tabs.has(tabID);
      tabs.add(tabID);
    }
  }
  if (tabsChanged)
    writes.push([tabsRow.key(sessionID), tabs.size > 0 ? tabsRow.encode([...tabs]) : undefined]);
  return writes;
}

export function planRenew(read: Read, key: NewKey): Plan<Renewed> {
  const { sessionID, replacedKeyID, generation, keyID, publicKey, account, clearsData, nowMs: atMs } = key;
  const refused = (result: Renewed): Plan<Renewed> => ({ result, writes: [] });
  const session = readRow(read, sessionRow, sessionID);
  if (session === undefined) return refused('gone');
  if (session.keyID !== replacedKeyID || readPresence(read, sessionID).generation !== generation) {
    return refused('superseded');
  }
  if (readRow(read, keyRow, keyID) !== undefined) return refused('known');
  const replaced = readRow(read, keyRow, replacedKeyID);
  if (replaced === undefined) throw corruptRow('key', keyRow.key(replacedKeyID), 'it is missing');
  const { name, profile } = account ?? {};
  const writes: Write[] = [
    [keyRow.key(replacedKeyID), keyRow.encode({ ...replaced, ended: { reason: 'renewed', atMs } })],
    [endedIndex.key(atMs, replacedKeyID), ''],
    [keyRow.key(keyID), keyRow.encode({ sessionID, publicKey })],
    ...accountWrites(sessionID, session, { ...session, keyID, account: name, profile, forked: undefined }),
  ];
  if (clearsData) writes.push([dataRow.key(sessionID), undefined]);
  return { result: 'renewed', writes };
}

export function planVisits(read: Read, sessionID: number, visits: Visits): Plan<undefined> {
  return planPresence(read, sessionID, { visits });
}

export function planExtend(read: Read, sessionID: number, expiresAtMs: number | undefined): Plan<undefined> {
  return planPresence(read, sessionID, { expiresAtMs });
}

function planPresence(read: Read, sessionID: number, change: Partial<PresenceRow>): Plan<undefined> {
  const alive = readRow(read, sessionRow, sessionID) !== undefined;
  const writes = alive ? presenceWrites(sessionID, readPresence(read, sessionID), change) : [];
  return { result: undefined, writes };
}

export function planEnd(
  read: Read,
  sessionID: number,
  reason: EndReason,
  nowMs: number,
  ofAccount?: string,
): Plan<boolean> {
  const session = readSessionOf(read, sessionID, ofAccount);
  if (session === undefined) return { result: false, writes: [] };
  const { keyID, account } = session;
  const key = readRow(read, keyRow, keyID);
  if (key === undefined) throw corruptRow('key', keyRow.key(keyID), 'it is missing');
  const tabs = readRow(read, tabsRow, sessionID) ?? [];
  const { expiresAtMs } = readPresence(read, sessionID);
  const gone = [
    ...[sessionRow, headRow, presenceRow, dataRow, tabsRow].map((kind) => kind.key(sessionID)),
    ...tabs.map((tabID) => streamRow.key(sessionID, tabID)),
    ...(expiresAtMs === undefined ? [] : [dueIndex.key(expiresAtMs, sessionID)]),
    ...(account === undefined ? [] : [accountIndex.key(account, sessionID)]),
  ];
  return {
    result: true,
    writes: [
      [keyRow.key(keyID), keyRow.encode({ ...key, ended: { reason, atMs: nowMs } })],
      [endedIndex.key(nowMs, keyID), ''],
      ...gone.map((rowKey): Write => [rowKey, undefined]),
    ],
  };
}

export function planExpire(read: Read, sessionID: number, nowMs: number): Plan<boolean> {
  const { expiresAtMs } = readPresence(read, sessionID);
  if (expiresAtMs === undefined || expiresAtMs > nowMs) return { result: false, writes: [] };
  return planEnd(read, sessionID, 'expired', nowMs);
}

/** @param indexKeys Of tombstones, as found in `endedIndex`. */
export function planForget(indexKeys: readonly string[]): Plan<number> {
  const writes = indexKeys.flatMap((key): Write[] => [
    [key, undefined],
    [keyRow.key(endedIndex.keyID(key)), undefined],
  ]);
  return { result: indexKeys.length, writes };
}

export function planAccount(read: Read, sessionID: number, account: string | undefined): Plan<undefined> {
  const session = readRow(read, sessionRow, sessionID);
  if (session === undefined) {
    throw new WebgramError('WEBGRAM_SESSION_ENDED', `there is no session ${sessionID}`);
  }
  if (session.account === account) return { result: undefined, writes: [] };
  const after = { ...session, account, profile: undefined };
  return { result: undefined, writes: accountWrites(sessionID, session, after) };
}

/** A session's row, if it belongs to that account; `undefined` asks for no account. */
function readSessionOf(read: Read, sessionID: number, account: string | undefined): SessionRow | undefined {
  const session = readRow(read, sessionRow, sessionID);
  return (account ?? session?.account) === session?.account ? session : undefined;
}

/** Reads what a list of devices shows. */
export function readSummary(read: Read, sessionID: number): SessionSummary | undefined {
  const session = readRow(read, sessionRow, sessionID);
  if (session === undefined) return undefined;
  const { account, createdMs, device = {}, forked = false } = session;
  const { generation, visits } = readPresence(read, sessionID);
  const lastUsedMs = Math.max(visits?.latestMs ?? createdMs, generation);
  return { sessionID, account, createdMs, lastUsedMs, device, forked };
}

export function planDevice(
  read: Read,
  sessionID: number,
  change: DeviceChange,
  ofAccount: string | undefined,
): Plan<boolean> {
  const session = readSessionOf(read, sessionID, ofAccount);
  if (session === undefined) return { result: false, writes: [] };
  const after = { ...session, device: changedDevice(session.device ?? {}, change) };
  return { result: true, writes: [[sessionRow.key(sessionID), sessionRow.encode(after)]] };
}

export function planForked(read: Read, sessionID: number): Plan<undefined> {
  const session = readRow(read, sessionRow, sessionID);
  if (session === undefined) return { result: undefined, writes: [] };
  const writes: Write[] = [[sessionRow.key(sessionID), sessionRow.encode({ ...session, forked: true })]];
  return { result: undefined, writes };
}

/** Changes a session's row, and its place in the index of accounts with it. */
function accountWrites(sessionID: number, before: SessionRow, after: SessionRow): Write[] {
  const writes: Write[] = [[sessionRow.key(sessionID), sessionRow.encode(after)]];
  if (after.account === before.account) return writes;
  if (before.account !== undefined) writes.push([accountIndex.key(before.account, sessionID), undefined]);
  if (after.account !== undefined) writes.push([accountIndex.key(after.account, sessionID), '']);
  return writes;
}

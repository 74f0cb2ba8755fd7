import { WebgramError } from 'webgram';
import {
  accountRow,
  corruptRow,
  dataRow,
  generationRow,
  headRow,
  keyRow,
  nextSessionIDRow,
  sessionRow,
  streamRow,
  tabsRow,
  visitsRow,
} from './level-rows.ts';
import type { RowKind } from './level-rows.ts';
import type {
  Commit,
  Created,
  EndReason,
  NewKey,
  NewSession,
  Renewed,
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
  const { keyID, publicKey, nowMs: createdMs, fromClient } = session;
  const known = readRow(read, keyRow, keyID);
  if (known?.ended !== undefined) return { result: { ended: known.ended.reason }, writes: [] };
  if (known !== undefined) return { result: { sessionID: known.sessionID, created: false }, writes: [] };
  const sessionID = readNextSessionID(read);
  return {
    result: { sessionID, created: true },
    writes: [
      [nextSessionIDRow.key(), nextSessionIDRow.encode(sessionID + 1)],
      [keyRow.key(keyID), keyRow.encode({ sessionID, publicKey })],
      [sessionRow.key(sessionID), sessionRow.encode({ keyID, createdMs, fromClient })],
    ],
  };
}

export function planClaim(read: Read, sessionID: number, nowMs: number): Plan<number> {
  if (readRow(read, sessionRow, sessionID) === undefined) {
    throw new WebgramError('WEBGRAM_SESSION_ENDED', `there is no session ${sessionID}`);
  }
  const generation = Math.max(readGeneration(read, sessionID) + 1, nowMs);
  return { result: generation, writes: [[generationRow.key(sessionID), generationRow.encode(generation)]] };
}

/** Generation of the newest link that was claimed; 0 for none. */
function readGeneration(read: Read, sessionID: number): number {
  return readRow(read, generationRow, sessionID) ?? 0;
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
  const head = readRow(read, headRow, sessionID);
  const life = Math.max((head?.life ?? 0) + 1, nowMs);
  const lineage = head?.lineage ?? [];
  const streams = new Map<string, string>();
  for (const tabID of readRow(read, tabsRow, sessionID) ?? []) {
    const stream = readRow(read, streamRow, sessionID, tabID);
    if (stream === undefined) throw corruptRow('stream', streamRow.key(sessionID, tabID), 'it is missing');
    streams.set(tabID, stream);
  }
  return {
    result: {
      sessionID,
      ...session,
      account: readRow(read, accountRow, sessionID),
      generation: readGeneration(read, sessionID),
      life,
      tag,
      lineage,
      data: readRow(read, dataRow, sessionID),
      streams,
      visits: readRow(read, visitsRow, sessionID) ?? {
        firstMs: session.createdMs,
        latestMs: session.createdMs,
      },
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
  if (readGeneration(read, sessionID) > generation) {
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
  if (session.keyID !== replacedKeyID || readGeneration(read, sessionID) !== generation) {
    return refused('superseded');
  }
  if (readRow(read, keyRow, keyID) !== undefined) return refused('known');
  const replaced = readRow(read, keyRow, replacedKeyID);
  if (replaced === undefined) throw corruptRow('key', keyRow.key(replacedKeyID), 'it is missing');
  const writes: Write[] = [
    [keyRow.key(replacedKeyID), keyRow.encode({ ...replaced, ended: { reason: 'renewed', atMs } })],
    [keyRow.key(keyID), keyRow.encode({ sessionID, publicKey })],
    [sessionRow.key(sessionID), sessionRow.encode({ ...session, keyID })],
    [accountRow.key(sessionID), account && accountRow.encode(account)],
  ];
  if (clearsData) writes.push([dataRow.key(sessionID), undefined]);
  return { result: 'renewed', writes };
}

export function planVisits(read: Read, sessionID: number, visits: Visits): Plan<undefined> {
  const alive = readRow(read, sessionRow, sessionID) !== undefined;
  return {
    result: undefined,
    writes: alive ? [[visitsRow.key(sessionID), visitsRow.encode(visits)]] : [],
  };
}

export function planEnd(read: Read, sessionID: number, reason: EndReason, nowMs: number): Plan<boolean> {
  const session = readRow(read, sessionRow, sessionID);
  if (session === undefined) return { result: false, writes: [] };
  const key = readRow(read, keyRow, session.keyID);
  if (key === undefined) throw corruptRow('key', keyRow.key(session.keyID), 'it is missing');
  const tabs = readRow(read, tabsRow, sessionID) ?? [];
  const gone = [
    ...[sessionRow, accountRow, headRow, generationRow, dataRow, tabsRow, visitsRow].map((kind) =>
      kind.key(sessionID),
    ),
    ...tabs.map((tabID) => streamRow.key(sessionID, tabID)),
  ];
  return {
    result: true,
    writes: [
      [keyRow.key(session.keyID), keyRow.encode({ ...key, ended: { reason, atMs: nowMs } })],
      ...gone.map((rowKey): Write => [rowKey, undefined]),
    ],
  };
}

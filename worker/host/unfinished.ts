import type { TabAttach, NumberedUp } from './stream-copy.ts';
import type { Demands } from './port-protocol.ts';
import { isRecord, parseDemands, parseTabMessage } from './tab-message.ts';

/** What a host still had to finish for a tab that has gone, as the next host of the same browser can take it over. */
export interface Unfinished {
  /** The Web Lock that the tab holds as long as it lives. */
  lock: string;
  /** WebSocket address of the server. */
  address: string;
  /** Of the pages that the link was for. */
  demands: Demands;
  /** The identity in whose session the server has taken the stream up, if it has. */
  localID: string | undefined;
  attach: TabAttach;
  /** In order. */
  ups: NumberedUp[];
}

/** Parses what came from another tab, where every script of the origin can speak. @returns What is understood of it. */
export function parseUnfinished(data: unknown): Unfinished[] {
  return Array.isArray(data) ? data.map(parseOne).filter((one) => one !== undefined) : [];
}

function parseOne(data: unknown): Unfinished | undefined {
  if (!isRecord(data)) return undefined;
  const { lock, address, demands, localID, attach, ups } = data;
  if (typeof lock !== 'string' || typeof address !== 'string') return undefined;
  if (localID !== undefined && typeof localID !== 'string') return undefined;
  const attachUp = parseUp(attach);
  if (attachUp?.kind !== 'attach' || !Array.isArray(ups) || !isRecord(demands)) return undefined;
  const numbered: NumberedUp[] = [];
  for (const up of ups.map(parseUp)) {
    if (up === undefined || !('seq' in up)) return undefined;
    numbered.push(up);
  }
  return { lock, address, demands: parseDemands(demands), localID, attach: attachUp, ups: numbered };
}

function parseUp(envelope: unknown) {
  const message = parseTabMessage({ kind: 'up', link: 0, envelope });
  return message?.kind === 'up' ? message.envelope : undefined;
}

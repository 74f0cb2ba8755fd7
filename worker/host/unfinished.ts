import type { TabAttach, NumberedUp } from './stream-copy.ts';
import { parseTabMessage } from './tab-message.ts';

/** What a host still had to finish for a tab that has gone, as the next host of the same browser can take it over. */
export interface Unfinished {
  /** The Web Lock that the tab holds as long as it lives. */
  lock: string;
  /** WebSocket address of the server. */
  address: string;
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
  if (typeof data !== 'object' || data === null) return undefined;
  const { lock, address, localID, attach, ups } = data as Record<string, unknown>;
  if (typeof lock !== 'string' || typeof address !== 'string') return undefined;
  if (localID !== undefined && typeof localID !== 'string') return undefined;
  const attachUp = parseUp(attach);
  if (attachUp?.kind !== 'attach' || !Array.isArray(ups)) return undefined;
  const numbered: NumberedUp[] = [];
  for (const up of ups.map(parseUp)) {
    if (up === undefined || !('seq' in up)) return undefined;
    numbered.push(up);
  }
  return { lock, address, localID, attach: attachUp, ups: numbered };
}

function parseUp(envelope: unknown) {
  const message = parseTabMessage({ kind: 'up', link: 0, envelope });
  return message?.kind === 'up' ? message.envelope : undefined;
}

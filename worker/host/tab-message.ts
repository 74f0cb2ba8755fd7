import { parseUp, toWire } from 'webgram';
import type { TabUp, UpEnvelope } from 'webgram';
import type { Demands, TabToHost } from './port-protocol.ts';

/** Longest address or lock name, in UTF-16 units. */
const MAX_TEXT_LENGTH = 2_048;

/**
 * Parses what came in over a port. Every script of the origin can post to it, so nothing is taken for granted, and an
 * envelope that would make the server close the link of all tabs is not passed on.
 *
 * @returns `undefined` for anything that is not a message of ours.
 */
export function parseTabMessage(data: unknown): TabToHost | undefined {
  try {
    return isRecord(data) ? parse(data) : undefined;
  } catch {
    // Getters cannot be cloned, but a list in place of a number can throw all the same.
    return undefined;
  }
}

type Hello = TabToHost & { kind: 'hello' };

/** A call of a tab, which is answered. */
export type Call = TabToHost & { kind: 'queue' | 'wallet' };

function parse(data: Record<string, unknown>): TabToHost | undefined {
  switch (data['kind']) {
    case 'hello': {
      const hello = data as Record<keyof Hello, unknown>;
      const { protocol, build, lock, address, fresh, fromClient, demands, identity, of } = hello;
      const isHello =
        typeof protocol === 'number' &&
        isText(build) &&
        isText(lock) &&
        isText(address) &&
        typeof fresh === 'boolean' &&
        ((fromClient ?? undefined) === undefined || isRecord(fromClient)) &&
        (identity === undefined || isText(identity)) &&
        (of === undefined || isText(of));
      const normal = isHello ? normalAddress(address) : undefined;
      if (normal === undefined) return undefined;
      return { ...(hello as Hello), address: normal, demands: parseDemands(demands) };
    }
    case 'up': {
      const { link, envelope } = data;
      if (!isCount(link) || !isRecord(envelope)) return undefined;
      return { kind: 'up', link, envelope: parseTabUp(envelope) };
    }
    case 'queue':
    case 'wallet':
      // What is in it is looked at where it is done.
      return isCount(data['call']) ? (data as Call) : undefined;
    case 'pin': {
      const { identity } = data;
      return identity === undefined || isText(identity) ? { kind: 'pin', identity } : undefined;
    }
    case 'wake':
    case 'accept-key':
    case 'close':
    case 'ping':
      return { kind: data['kind'] };
    default:
      return undefined;
  }
}

/** What is no key matches none, so that a mistake locks out and never in. */
export function parseDemands(data: unknown): Demands {
  const { pins, sealed } = data as Record<keyof Demands, unknown>;
  return { pins: pins === undefined ? pins : [pins].flat().map(String), sealed: !!sealed };
}

/** @throws {WebgramError} `WEBGRAM_BAD_FRAME` */
function parseTabUp(envelope: Record<string, unknown>): TabUp {
  const { tab: _tab, ...up } = parseUp(
    toWire({ ...envelope, tab: 1 } as unknown as UpEnvelope),
  ) as UpEnvelope & {
    tab: number;
  };
  if (!TAB_KINDS.has(up.kind)) throw new TypeError();
  return up as TabUp;
}

const TAB_KINDS: ReadonlySet<string> = new Set<TabUp['kind']>([
  'attach',
  'send',
  'ask',
  'answer',
  'cancel',
  'volatile',
  'ack',
  'detach',
]);

/** @returns The address as it names a server, or `undefined` when it is not that of a WebSocket. */
function normalAddress(address: string): string | undefined {
  const url = new URL(address);
  if (url.protocol !== 'ws:' && url.protocol !== 'wss:') return undefined;
  // Browsers refuse the first; the second would end up in logs.
  url.hash = url.username = url.password = '';
  return url.href;
}

export function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function isText(value: unknown): value is string {
  return typeof value === 'string' && value.length <= MAX_TEXT_LENGTH;
}

function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}

import { AskError } from 'webgram';
import type { Conn } from './conn.ts';
import type { Sessions } from './sessions.ts';

/** What a page asks to end, as `mayRevoke` is asked about it. */
export interface Revocation {
  /** The session to end; absent for all others of the account. */
  sessionID?: number;
  /** What the page has given along, unchecked; `null` for nothing. */
  proof: unknown;
}

/** Decides whether a page may end sessions of its account: true, false, or an `AskError` of the application's own. */
export type MayRevoke = (conn: Conn, revocation: Revocation) => boolean | Promise<boolean>;

/**
 * Returns what answers `$devices`, by which a page sees and ends the sessions of its account.
 *
 * What it names is looked for among the sessions of that account only, at the moment of the write.
 */
export function answerDevices(sessions: Sessions, mayRevoke: MayRevoke) {
  return async (conn: Conn, what: unknown, ...args: unknown[]): Promise<unknown> => {
    const { sessionID, account } = conn.session;
    const check = async (revocation: Revocation): Promise<void> => {
      if (!(await mayRevoke(conn, revocation))) {
        throw new AskError('WEBGRAM_STEP_UP_REQUIRED', 'the application wants another proof first');
      }
      // It may have taken its time.
      if (sessions.live.get(sessionID)?.account !== account) {
        throw new AskError('WEBGRAM_SESSION_ENDED', 'the session is another one by now');
      }
    };
    switch (what) {
      case 'list': {
        const after = parseID(args[0], 0);
        if (account !== undefined) return sessions.list(account, { current: sessionID, after });
        const own = await sessions.get(sessionID);
        return own === undefined || after >= sessionID ? [] : [{ ...own, isCurrent: true }];
      }
      case 'revoke': {
        const target = parseID(args[0], 1);
        await check({ sessionID: target, proof: args[1] ?? null });
        return (account !== undefined || target === sessionID) && sessions.revoke(target, account);
      }
      case 'revoke-others':
        await check({ proof: args[0] ?? null });
        return sessions.revokeOthers(sessionID);
      case 'rename': {
        const target = parseID(args[0], 1);
        if (account === undefined && target !== sessionID) return false;
        try {
          return await sessions.rename(target, args[1] as string, account);
        } catch (error) {
          if (error instanceof TypeError || error instanceof RangeError) throw badRequest(error.message);
          throw error;
        }
      }
      default:
        throw badRequest('devices can be listed, revoked and renamed');
    }
  };
}

function parseID(value: unknown, min: number): number {
  if (Number.isSafeInteger(value) && (value as number) >= min) return value as number;
  throw badRequest('a sessionID must be a positive integer');
}

function badRequest(message: string): AskError {
  return new AskError('WEBGRAM_BAD_REQUEST', message);
}

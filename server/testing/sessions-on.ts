import { DEFAULT_LIMITS } from 'webgram';
import { Handlers } from '../handlers.ts';
import { DEFAULT_LIFETIME } from '../lifetime.ts';
import { quietLogger } from '../log.ts';
import { DEFAULT_RETENTION } from '../session-context.ts';
import { Sessions, type SessionsOptions } from '../sessions.ts';
import type { Store } from '../store/store.ts';

/** Sessions without a server around them, as one has them that is told nothing else. The store must be open. */
export function sessionsOn(store: Store, options: Partial<SessionsOptions> = {}): Sessions {
  return new Sessions({
    store,
    clock: Date.now,
    limits: DEFAULT_LIMITS,
    retention: DEFAULT_RETENTION,
    lifetime: DEFAULT_LIFETIME,
    handlers: new Handlers(quietLogger),
    log: quietLogger,
    dataVersion: 1,
    upgradeData: undefined,
    ...options,
  });
}

import type { Server as HttpServer } from 'node:http';
import type { Server as HttpsServer } from 'node:https';
import { DEFAULT_LIMITS, type Limits } from 'webgram';
import { DEFAULT_ADDRESS_RATES, type AddressRates } from './address-limits.ts';
import type { DataVersion } from './data-version.ts';
import type { MayRevoke } from './device-answers.ts';
import type { Locate } from './device.ts';
import { keyFileFor, SERVER_KEY_VARIABLE, type KeySource } from './key-file.ts';
import { parseLifetime, type Lifetime } from './lifetime.ts';
import { DEFAULT_RETENTION, type Retention } from './session-context.ts';
import { quietLogger, type Logger } from './log.ts';
import { parseOriginPolicy, type OriginOptions, type OriginPolicy } from './origins.ts';
import { LevelStore } from './store/level-store.ts';
import { TrustedProxies } from './proxies.ts';
import type { Store } from './store/store.ts';

/** Limits of a server. Each has its unit in its name. */
export type ServerLimits = Limits & AddressRates;

export interface ServerOptions extends OriginOptions, Partial<DataVersion>, Partial<Lifetime> {
  /** Port to listen on; 0 takes any that is free. Default: environment `PORT`, else any that is free. */
  port?: number;
  /** Address to listen on, such as `127.0.0.1`. Default: all. */
  hostname?: string;
  /** An HTTP server that is there already; see `attach`. It is neither started nor stopped. */
  server?: HttpServer | HttpsServer;
  /** Path of the WebSocket; the scripts of pages are in `.well-known/webgram/` beside it as well. Default `/`. */
  path?: string;
  /** Folder of the LevelDB store. Default: environment `DB`, else `./sessions`. */
  db?: string;
  /** Rebuilds a damaged `db` from what can be read of it; see docs/store.md. Default false. */
  repair?: boolean;
  /** Goes on without what a damaged `db` has lost, and tells the log what that is. Default false. */
  acceptLoss?: boolean;
  /** A store that is not open yet, instead of `db`. It is opened by `start` and closed by `close`. */
  store?: Store;
  /**
   * Lets clients whose session this store has never made know that it is lost, instead of asking them to try again
   * later. For when a backup was restored and what came after it will not come back. Default false.
   */
  acceptOlderStore?: boolean;
  /** File of the server's key. Default: beside `db`, `./sessions.key` for `./sessions`. */
  keyFile?: string;
  /**
   * The server's key itself, instead of `keyFile`: PKCS #8 as PEM, from wherever secrets are kept. With a second one,
   * which clients are told of, while the key is being changed; see docs/deploy.md.
   */
  serverKeys?: readonly [signs: string, other?: string];
  /**
   * Encrypts the frames (AES-256-GCM) besides what TLS does, so that who ends TLS in between cannot read them.
   * Clients must be configured for it as well: others are refused. Default false.
   */
  sealed?: boolean;
  /** Folder of static files to serve. Default: none are served. */
  root?: string;
  /**
   * Addresses of the proxies in front of this server, exactly (`10.0.0.1`) or as ranges (`10.0.0.0/8`). From them, and
   * from nobody else, `X-Forwarded-For`, `-Proto` and `-Host` are taken. Default none.
   */
  trustedProxies?: readonly string[];
  /** Default: warnings and errors go to the standard error stream. */
  log?: Logger;
  /** Server time in ms since 1970. Default `Date.now`. */
  clock?: () => number;
  limits?: Partial<ServerLimits>;
  retention?: Partial<Retention>;
  /**
   * Tells where an address is, such as from a database of your own; what it returns (city, country) is kept with the
   * session and shown in the list of devices. Default: nothing is kept of where a device is.
   */
  locate?: Locate;
  /**
   * Asked before a page ends sessions of its account (`Devices` in the page): whether what it gives as `proof`, such as
   * a password, is enough. False answers `WEBGRAM_STEP_UP_REQUIRED`, an `AskError` its own code. Default: it may.
   */
  mayRevoke?: MayRevoke;
  /** How long `close` lets handlers finish, in ms. Default 10 s. */
  drainMs?: number;
  /** Does not start on the next tick; call `start`. Default false. */
  manualStart?: boolean;
  /** Folder of `webgram.js` and `worker-<hash>.js`. Default: that of this package. */
  browserFolder?: string;
}

/** `ServerOptions`, checked, with every default in place. */
export interface Settings extends DataVersion {
  port: number;
  hostname: string | undefined;
  server: HttpServer | HttpsServer | undefined;
  path: string;
  store: Store;
  acceptOlderStore: boolean;
  key: KeySource;
  root: string | undefined;
  /** Files and folders that must never be served. */
  secrets: string[];
  policy: OriginPolicy;
  proxies: TrustedProxies;
  sealed: boolean;
  log: Logger;
  clock: () => number;
  limits: ServerLimits;
  lifetime: Lifetime;
  retention: Retention;
  locate: Locate | undefined;
  mayRevoke: MayRevoke;
  drainMs: number;
  browserFolder: string | undefined;
}

const DEFAULT_DB = './sessions';

/**
 * Checks the options and fills in the defaults.
 *
 * @throws {TypeError | RangeError} for what cannot be meant.
 */
export function parseOptions(options: ServerOptions, environment: NodeJS.ProcessEnv = process.env): Settings {
  const {
    server,
    hostname,
    root,
    path = '/',
    log = quietLogger,
    clock = Date.now,
    drainMs = 10_000,
  } = options;
  if (options.db !== undefined && options.store !== undefined) {
    throw new TypeError("'db' and 'store' must not both be given");
  }
  if (server !== undefined && (options.port !== undefined || hostname !== undefined || root !== undefined)) {
    throw new TypeError("'port', 'hostname' and 'root' belong to the HTTP server that is attached to");
  }
  if (!/^\/[^?#\s]*$/.test(path)) throw new TypeError(`'path' must begin with '/', got '${path}'`);
  const db =
    options.store === undefined ? (options.db ?? nonEmpty(environment['DB']) ?? DEFAULT_DB) : undefined;
  const { repair = false, acceptLoss = false } = options;
  if (options.store !== undefined && (repair || acceptLoss)) {
    throw new TypeError("'repair' and 'acceptLoss' belong to 'db', not to a 'store' of your own");
  }
  const report = (sentence: string): void => {
    log.warn({}, sentence);
  };
  const store = options.store ?? new LevelStore(db ?? DEFAULT_DB, { repair, acceptLoss, report });
  const key = keySource(options, db, store, environment);
  return {
    port:
      options.port === undefined
        ? parsePort(environment['PORT'], 'PORT')
        : parsePort(String(options.port), 'port'),
    hostname,
    server,
    path,
    store,
    acceptOlderStore: options.acceptOlderStore ?? false,
    key,
    root,
    secrets: [db, key.name === 'file' ? key.path : undefined].filter((file) => file !== undefined),
    policy: parseOriginPolicy(options),
    proxies: new TrustedProxies(options.trustedProxies),
    sealed: options.sealed ?? false,
    log,
    clock,
    limits: parseLimits(options.limits ?? {}),
    lifetime: parseLifetime({
      ...(options.idleLifetimeMs === undefined ? {} : { idleLifetimeMs: options.idleLifetimeMs }),
      ...(options.absoluteLifetimeMs === undefined ? {} : { absoluteLifetimeMs: options.absoluteLifetimeMs }),
    }),
    retention: { ...DEFAULT_RETENTION, ...options.retention },
    locate: options.locate,
    mayRevoke: options.mayRevoke ?? (() => true),
    dataVersion: parseDataVersion(options.dataVersion ?? 1),
    upgradeData: options.upgradeData,
    drainMs,
    browserFolder: options.browserFolder,
  };
}

function keySource(
  { keyFile, serverKeys }: ServerOptions,
  db: string | undefined,
  store: Store,
  environment: NodeJS.ProcessEnv,
): KeySource {
  if (keyFile !== undefined && serverKeys !== undefined) {
    throw new TypeError("'keyFile' and 'serverKeys' must not both be given");
  }
  if (serverKeys !== undefined) {
    return { name: 'given', pems: serverKeys.filter((pem) => pem !== undefined) };
  }
  const value = nonEmpty(environment[SERVER_KEY_VARIABLE]);
  if (keyFile !== undefined) return { name: 'file', path: keyFile };
  if (value !== undefined) return { name: 'environment', value };
  if (db !== undefined) return { name: 'file', path: keyFileFor(db) };
  if (store.kind === 'memory') return { name: 'memory', owner: store };
  throw new TypeError(
    `a store that lasts needs a key that lasts: give 'keyFile', or set ${SERVER_KEY_VARIABLE}`,
  );
}

function parsePort(text: string | undefined, name: string): number {
  if (text === undefined || text === '') return 0;
  const port = Number(text);
  if (!Number.isInteger(port) || port < 0 || port > 65_535) {
    throw new RangeError(`'${name}' must be an integer from 0 to 65535, got '${text}'`);
  }
  return port;
}

function parseDataVersion(version: number): number {
  if (Number.isSafeInteger(version) && version >= 1) return version;
  throw new RangeError(`'dataVersion' must be an integer from 1 up, got ${version}`);
}

function parseLimits(limits: Partial<ServerLimits>): ServerLimits {
  const all: ServerLimits = { ...DEFAULT_LIMITS, ...DEFAULT_ADDRESS_RATES };
  for (const [name, value] of Object.entries(limits)) {
    if (!Object.hasOwn(all, name)) throw new TypeError(`'limits.${name}' is not a limit`);
    if (value === undefined) continue;
    if (typeof value !== 'number' || !(value > 0)) {
      throw new RangeError(`'limits.${name}' must be a number above 0, got ${String(value)}`);
    }
    all[name as keyof ServerLimits] = value;
  }
  return all;
}

function nonEmpty(text: string | undefined): string | undefined {
  return text === '' ? undefined : text;
}

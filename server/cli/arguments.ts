import { parseArgs } from 'node:util';
import type { ServerOptions } from '../options.ts';

/** What the command line asks for. */
export type Command =
  | { name: 'help' }
  | { name: 'version' }
  | {
      name: 'serve';
      app: string | undefined;
      options: ServerOptions;
      /** Folder that gets a copy of the store at every SIGUSR2. */
      backups?: string;
    };

/** Port of `webgram-sessions serve` when nobody says another. */
export const DEFAULT_PORT = 5_678;

const FLAGS = {
  port: { type: 'string' },
  db: { type: 'string' },
  root: { type: 'string' },
  listen: { type: 'string' },
  path: { type: 'string' },
  origin: { type: 'string', multiple: true },
  host: { type: 'string', multiple: true },
  'public-url': { type: 'string' },
  'allow-no-origin': { type: 'boolean' },
  'trusted-proxy': { type: 'string', multiple: true },
  'accept-older-store': { type: 'boolean' },
  key: { type: 'string' },
  backups: { type: 'string' },
  repair: { type: 'boolean' },
  'accept-loss': { type: 'boolean' },
  sealed: { type: 'boolean' },
  help: { type: 'boolean', short: 'h' },
  version: { type: 'boolean', short: 'v' },
} as const;

/** Fits a screen of 80 by 24. */
export const HELP = `webgram-sessions serve [app.js] [flags]

Serves sessions over WebSocket. app.js is: export default (server) => { ... }

  --port 5678            PORT             port to listen on; 0: any that is free
  --db ./sessions        DB               folder of the LevelDB store
  --root ./public        ROOT             folder of static files; default none
  --listen 127.0.0.1     LISTEN           address to listen on; default all
  --path /               WS_PATH          path of the WebSocket
  --origin https://...   ORIGIN           pages of other origins to take
  --host app.example     HOSTS            names to answer to; default any
  --public-url https:// PUBLIC_URL       address behind a proxy
  --allow-no-origin      ALLOW_NO_ORIGIN  take clients that are not browsers
  --key ./sessions.key   KEY_FILE         file of the server's key, which can
                                          itself be in WEBGRAM_SERVER_KEY
  --backups ./backups    BACKUPS          kill -USR2 puts a copy there
  --sealed               SEALED           encrypt frames (data-sealed on pages)
  --repair               rebuilds a damaged store from what can be read
  --accept-loss          goes on without what a damaged store has lost
  --trusted-proxy 10.0.0.0/8  TRUSTED_PROXIES  take its X-Forwarded-*
  --accept-older-store   ACCEPT_OLDER_STORE  give lost sessions up

Flags win over the environment. --origin, --host and --trusted-proxy can be
repeated; in the environment their values are separated by commas.`;

/** What was typed cannot be meant. Its message says what to type. */
export class UsageError extends Error {
  override readonly name = 'UsageError';
}

/**
 * Parses the command line; every flag can be given in the environment as well.
 *
 * @throws {UsageError}
 */
export function parseCommand(args: readonly string[], environment: NodeJS.ProcessEnv): Command {
  const { values, positionals } = parse(args);
  if (values.help === true) return { name: 'help' };
  if (values.version === true) return { name: 'version' };
  const [command, app, ...more] = positionals;
  if (command === undefined) return { name: 'help' };
  if (command !== 'serve') throw new UsageError(`unknown command '${command}'; there is only: serve`);
  if (more.length > 0)
    throw new UsageError(`one app.js at most, got '${more.join("', '")}' besides '${app ?? ''}'`);

  const text = (flag: string | undefined, variable: string): string | undefined =>
    flag ?? (environment[variable] === '' ? undefined : environment[variable]);
  const list = (flags: string[] | undefined, variable: string): string[] =>
    flags ??
    (environment[variable] ?? '')
      .split(',')
      .map((entry) => entry.trim())
      .filter((entry) => entry !== '');

  const port = text(values.port, 'PORT');
  const options: ServerOptions = {
    port: port === undefined ? DEFAULT_PORT : parsePort(port),
    ...defined('db', text(values.db, 'DB')),
    ...defined('root', text(values.root, 'ROOT')),
    ...defined('hostname', text(values.listen, 'LISTEN')),
    ...defined('path', text(values.path, 'WS_PATH')),
    ...defined('publicUrl', text(values['public-url'], 'PUBLIC_URL')),
    ...defined('keyFile', text(values.key, 'KEY_FILE')),
    origins: list(values.origin, 'ORIGIN'),
    hosts: list(values.host, 'HOSTS'),
  };
  const allow = values['allow-no-origin'] ?? parseSwitch(environment['ALLOW_NO_ORIGIN'], 'ALLOW_NO_ORIGIN');
  if (allow !== undefined) options.allowNoOrigin = allow;
  const trusted = list(values['trusted-proxy'], 'TRUSTED_PROXIES');
  if (trusted.length > 0) options.trustedProxies = trusted;
  const accept =
    values['accept-older-store'] ?? parseSwitch(environment['ACCEPT_OLDER_STORE'], 'ACCEPT_OLDER_STORE');
  if (accept !== undefined) options.acceptOlderStore = accept;
  const sealed = values.sealed ?? parseSwitch(environment['SEALED'], 'SEALED');
  if (sealed !== undefined) options.sealed = sealed;
  if (values.repair === true) options.repair = true;
  if (values['accept-loss'] === true) options.acceptLoss = true;
  return { name: 'serve', app, options, ...defined('backups', text(values.backups, 'BACKUPS')) };
}

function parse(args: readonly string[]) {
  try {
    return parseArgs({ args: [...args], options: FLAGS, allowPositionals: true, strict: true });
  } catch (error) {
    // Node's own sentence names the flag; what it goes on with is about the rare case of a file called --x.
    const [sentence] = (error instanceof Error ? error.message : String(error)).split('. ');
    throw new UsageError(sentence);
  }
}

function parsePort(text: string): number {
  const port = Number(text);
  if (/^\d+$/.test(text) && port <= 65_535) return port;
  throw new UsageError(`--port must be a number from 0 to 65535, got '${text}'`);
}

function parseSwitch(text: string | undefined, name: string): boolean | undefined {
  switch (text) {
    case undefined:
    case '':
      return undefined;
    case '1':
    case 'true':
      return true;
    case '0':
    case 'false':
      return false;
    default:
      throw new UsageError(`${name} must be 1 or 0, got '${text}'`);
  }
}

function defined<K extends string>(key: K, value: string | undefined): Partial<Record<K, string>> {
  return value === undefined ? {} : ({ [key]: value } as Record<K, string>);
}

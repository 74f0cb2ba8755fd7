/** What an upgrade request says about where it comes from and where it went. */
export interface Approach {
  /** The `Host` header; `undefined` when there is none, or more than one. */
  host: string | undefined;
  /** The `Origin` header; `undefined` when there is none. */
  origin: string | undefined;
  /** TLS ends in this process. */
  isSecure: boolean;
  /** The server's end of the socket is a loopback address: nothing but this machine can have sent it. */
  isLocal: boolean;
}

/** What the operator has configured. */
export interface OriginOptions {
  /**
   * Origins of pages that may use this server besides its own, exactly as browsers send them:
   * `https://app.example`. Default none.
   */
  origins?: readonly string[];
  /**
   * Names that this server answers to, exactly as they stand in `Host`: `app.example`, `app.example:8443`.
   * Default: every name when asked from elsewhere, loopback names when asked from this machine.
   */
  hosts?: readonly string[];
  /**
   * Address that browsers use when a proxy in front of this server rewrites `Host`: `https://app.example`. Its
   * origin may use the server, and requests to names that are not in `hosts` count as sent to it.
   */
  publicUrl?: string;
  /**
   * Takes clients that send no `Origin`, which are never browsers. Default: only those that ask a loopback
   * name from this machine.
   */
  allowNoOrigin?: boolean;
}

/** `OriginOptions`, checked. */
export interface OriginPolicy {
  readonly origins: ReadonlySet<string>;
  readonly hosts: ReadonlySet<string>;
  readonly publicOrigin: string | undefined;
  readonly publicAuthority: string | undefined;
  readonly allowNoOrigin: boolean | undefined;
}

export type OriginDecision =
  | {
      name: 'accepted';
      /** The view of the handshake: the `Origin` header, "" when none was sent. */
      origin: string;
      /** The view of the handshake: what the client has in its address. */
      authority: string;
      /** A page of another loopback port, taken because both ends are on this machine. */
      isOtherLoopback: boolean;
    }
  | {
      name: 'refused';
      /** One sentence for the log and for whoever was refused, with the line to add where there is one. */
      reason: string;
    };

const LOOPBACK_NAMES: ReadonlySet<string> = new Set(['localhost', '127.0.0.1', '[::1]']);
/** Longest origin and authority: what a transcript holds of each. */
const MAX_VIEW_LENGTH = 256;

/**
 * Checks the configured lists.
 *
 * @throws {TypeError} when an entry is not what a browser would send, with the entry that was probably meant.
 */
export function parseOriginPolicy(options: OriginOptions): OriginPolicy {
  const publicUrl = options.publicUrl === undefined ? undefined : parsePublicUrl(options.publicUrl);
  return {
    origins: new Set((options.origins ?? []).map(parseOriginEntry)),
    hosts: new Set((options.hosts ?? []).map(parseHostEntry)),
    publicOrigin: publicUrl?.origin,
    publicAuthority: publicUrl?.host,
    allowNoOrigin: options.allowNoOrigin,
  };
}

/**
 * Decides whether an upgrade may go on. Pure; runs before anything is said to the client.
 *
 * A page may use the server when its origin has the server's own host, or is listed, or when both ends are on
 * this machine. Browsers send both headers by themselves, and scripts cannot change them.
 *
 * @see https://www.rfc-editor.org/rfc/rfc6455#section-10.2
 */
export function decideOrigin(approach: Approach, policy: OriginPolicy): OriginDecision {
  const isSecure = approach.isSecure || policy.publicOrigin?.startsWith('https:') === true;
  const host = approach.host === undefined ? undefined : normalHost(approach.host, approach.isSecure);
  if (host === undefined)
    return refused('a request must have one Host header with a host name, and a port at most');
  const authority = authorityOf(host, approach.isLocal, policy);
  if (authority === undefined) {
    return refused(`this server does not answer to the name ${host}. To let it: hosts: ['${host}']`);
  }
  const isLoopback = isLoopbackAuthority(authority);

  if (approach.origin === undefined) {
    if (policy.allowNoOrigin ?? (isLoopback && approach.isLocal)) return accepted('', authority);
    return refused('a client that sends no Origin is not taken. To allow that: allowNoOrigin: true');
  }
  const { origin } = approach;
  const url = parseOrigin(origin);
  if (url === undefined) {
    return refused(
      "an Origin of that kind cannot be allowed: pages without an address ('null') share it with everybody",
    );
  }
  if (policy.origins.has(origin) || origin === policy.publicOrigin) return accepted(origin, authority);
  const isWeb = url.protocol === 'https:' || (url.protocol === 'http:' && !isSecure);
  if (isWeb && url.host === authority) return accepted(origin, authority);
  if (isLoopback && isHttp(url) && LOOPBACK_NAMES.has(url.hostname)) return accepted(origin, authority, true);
  return refused(`pages of ${origin} may not use this server. To let them: origins: ['${origin}']`);
}

/** Whether an IP address, as sockets give it, is one of this machine's own. */
export function isLoopbackAddress(address: string | undefined): boolean {
  return address !== undefined && /^(::1|(::ffff:)?127\.\d+\.\d+\.\d+)$/i.test(address);
}

/** Whether an authority names this machine, at whatever port. */
export function isLoopbackAuthority(authority: string): boolean {
  return LOOPBACK_NAMES.has(authority.replace(/:\d+$/, ''));
}

function authorityOf(host: string, isLocal: boolean, policy: OriginPolicy): string | undefined {
  if (policy.hosts.has(host)) return host;
  if (policy.publicAuthority !== undefined) return policy.publicAuthority;
  if (policy.hosts.size > 0) return undefined;
  // A page whose name was made to point at this machine (DNS rebinding) comes under that name.
  if (isLocal && !isLoopbackAuthority(host)) return undefined;
  return host;
}

function accepted(origin: string, authority: string, isOtherLoopback = false): OriginDecision {
  return { name: 'accepted', origin, authority, isOtherLoopback };
}

function refused(reason: string): OriginDecision {
  return { name: 'refused', reason };
}

function isHttp(url: URL): boolean {
  return url.protocol === 'http:' || url.protocol === 'https:';
}

/**
 * The `Host` header as browsers have it in their address: lower case, default port removed.
 *
 * @returns `undefined` for what is not spelled the way that browsers spell it.
 */
function normalHost(header: string, isSecure: boolean): string | undefined {
  const host = header.toLowerCase();
  if (host.length > MAX_VIEW_LENGTH || !/^(\[[0-9a-f:.]+\]|[a-z0-9_-][a-z0-9._-]*)(:\d{1,5})?$/.test(host)) {
    return undefined;
  }
  const defaultPort = isSecure ? ':443' : ':80';
  const withoutDefault = host.endsWith(defaultPort) ? host.slice(0, -defaultPort.length) : host;
  const url = parseURL(`${isSecure ? 'https' : 'http'}://${host}`);
  return url?.host === withoutDefault ? withoutDefault : undefined;
}

/** @returns `undefined` unless it is a scheme, a host, perhaps a port, and nothing else. */
function parseOrigin(origin: string): URL | undefined {
  if (origin.length > MAX_VIEW_LENGTH || !/^[a-z][a-z0-9+.-]*:\/\/[^\s/?#@\\'"<>]+$/.test(origin))
    return undefined;
  const url = parseURL(origin);
  return url !== undefined && isHttp(url) && url.origin !== origin ? undefined : url;
}

function parseURL(text: string): URL | undefined {
  return URL.canParse(text) ? new URL(text) : undefined;
}

function parseOriginEntry(entry: string): string {
  if (parseOrigin(entry) !== undefined) return entry;
  const meant = parseURL(entry);
  const hint =
    meant !== undefined && isHttp(meant) ? `; write '${meant.origin}'` : " such as 'https://app.example'";
  throw new TypeError(`'origins' must hold origins as browsers send them, got '${entry}'${hint}`);
}

function parseHostEntry(entry: string): string {
  if (normalHost(entry, false) === entry || normalHost(entry, true) === entry) return entry;
  throw new TypeError(`'hosts' must hold names such as 'app.example' or 'app.example:8443', got '${entry}'`);
}

function parsePublicUrl(text: string): URL {
  const url = parseURL(text);
  if (url === undefined || !isHttp(url)) {
    throw new TypeError(`'publicUrl' must be an address such as 'https://app.example', got '${text}'`);
  }
  return url;
}

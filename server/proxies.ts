import type { IncomingMessage } from 'node:http';
import { BlockList, isIP } from 'node:net';
import { TLSSocket } from 'node:tls';
import { isLoopbackAddress, type Approach } from './origins.ts';

/** The other end of a request, behind the proxies that are trusted. */
export interface Peer extends Approach {
  /** IP address of the client, which limits count by. */
  ip: string;
  /** 0 when a proxy does not say. */
  port: number;
}

/** Longest `X-Forwarded-For` that is looked at, in addresses. */
const MAX_HOPS = 20;

/**
 * Says where requests come from. Only what a trusted proxy says of others is taken: anybody else can write the same
 * headers.
 */
export class TrustedProxies {
  readonly #list = new BlockList();
  readonly #isEmpty: boolean;

  /**
   * @param entries IP addresses such as `10.0.0.1`, and ranges such as `10.0.0.0/8` or `2001:db8::/32`.
   * @throws {TypeError} for anything else.
   */
  constructor(entries: readonly string[] = []) {
    this.#isEmpty = entries.length === 0;
    for (const entry of entries) this.#add(entry);
  }

  #add(entry: string): void {
    const [address = '', bits, ...rest] = entry.split('/');
    const family = familyOf(address);
    const prefix = bits === undefined ? undefined : Number(bits);
    const isPrefix =
      prefix === undefined || (/^\d{1,3}$/.test(bits ?? '') && prefix <= (family === 'ipv4' ? 32 : 128));
    if (family === undefined || !isPrefix || rest.length > 0) {
      const example = "an address such as '10.0.0.1' or a range such as '10.0.0.0/8'";
      throw new TypeError(`'trustedProxies' must hold ${example}, got '${entry}'`);
    }
    if (prefix === undefined) this.#list.addAddress(address, family);
    else this.#list.addSubnet(address, prefix, family);
  }

  #trusts(ip: string): boolean {
    const family = familyOf(ip);
    return !this.#isEmpty && family !== undefined && this.#list.check(ip, family);
  }

  /** Returns what a request says of where it comes from and where it went. */
  peerOf(req: IncomingMessage): Peer {
    const { headersDistinct, socket } = req;
    const { host, origin } = headersDistinct;
    const direct: Peer = {
      ip: socket.remoteAddress ?? '',
      port: socket.remotePort ?? 0,
      host: host?.length === 1 ? host[0] : undefined,
      origin: origin?.join(', '),
      isSecure: socket instanceof TLSSocket,
      isLocal: isLoopbackAddress(socket.localAddress),
    };
    if (!this.#trusts(plain(direct.ip))) return direct;

    const forwardedFor = listOf(headersDistinct['x-forwarded-for']);
    const forwardedHost = listOf(headersDistinct['x-forwarded-host']);
    const proto = listOf(headersDistinct['x-forwarded-proto']).at(-1)?.toLowerCase();
    const ip = this.#clientIn(forwardedFor, direct.ip);
    return {
      ip,
      port: ip === direct.ip ? direct.port : 0,
      // More than one: nobody knows which of them the client has in its address.
      host: forwardedHost.length > 1 ? undefined : (forwardedHost[0] ?? direct.host),
      origin: direct.origin,
      isSecure: proto === undefined ? direct.isSecure : proto === 'https' || proto === 'wss',
      // The proxy is on this machine, its clients are where they are.
      isLocal: direct.isLocal && isLoopbackAddress(ip),
    };
  }

  /** From the end, where the proxy next to us has written: the first that is none of our proxies. */
  #clientIn(forwardedFor: readonly string[], proxy: string): string {
    let client = proxy;
    for (const entry of forwardedFor.slice(-MAX_HOPS).reverse()) {
      const ip = ipOf(entry);
      // What the last proxy that is trusted did not understand tells nothing.
      if (ip === undefined) return client;
      client = ip;
      if (!this.#trusts(ip)) return client;
    }
    return client;
  }
}

function familyOf(address: string): 'ipv4' | 'ipv6' | undefined {
  const version = isIP(address);
  return version === 0 ? undefined : version === 4 ? 'ipv4' : 'ipv6';
}

function listOf(headers: readonly string[] | undefined): string[] {
  return (headers ?? [])
    .join(',')
    .split(',')
    .map((entry) => entry.trim())
    .filter((entry) => entry !== '');
}

/** An address in `X-Forwarded-For`; some proxies write a port behind it. */
function ipOf(entry: string): string | undefined {
  const bare = /^\[([^\]]*)\](?::\d+)?$/.exec(entry)?.[1] ?? /^([\d.]+):\d+$/.exec(entry)?.[1] ?? entry;
  return isIP(bare) === 0 ? undefined : plain(bare);
}

/** An IPv4 address in IPv6 clothes is that IPv4 address. */
function plain(ip: string): string {
  return /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(ip)?.[1] ?? ip;
}

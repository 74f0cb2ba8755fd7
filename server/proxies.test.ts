import type { IncomingMessage } from 'node:http';
import { describe, expect, test } from 'vitest';
import { TrustedProxies } from './proxies.ts';

type Headers = Record<string, string | string[]>;

function request(remoteAddress: string, headers: Headers, localAddress = '10.0.0.9'): IncomingMessage {
  const headersDistinct = Object.fromEntries(
    Object.entries({ host: 'backend:5678', ...headers }).map(([name, value]) => [name, [value].flat()]),
  );
  return {
    headersDistinct,
    socket: { remoteAddress, remotePort: 7, localAddress },
  } as unknown as IncomingMessage;
}

const FORWARDED: Headers = {
  'x-forwarded-for': '203.0.113.5',
  'x-forwarded-proto': 'https',
  'x-forwarded-host': 'app.example',
};

function ipBehind(trusted: string[], remoteAddress: string, forwardedFor: string | string[]): string {
  return new TrustedProxies(trusted).peerOf(request(remoteAddress, { 'x-forwarded-for': forwardedFor })).ip;
}

test.each([
  ['nobody', [], '10.0.0.1'],
  ['others', ['10.0.0.2', '10.1.0.0/16', '::1'], '10.0.0.1'],
  ['others of IPv6', ['2001:db8::1', '2001:db8:1::/48'], '2001:db8::2'],
])('of a peer that is not trusted (%s) nothing is taken', (_who, trusted, address) => {
  expect(new TrustedProxies(trusted).peerOf(request(address, FORWARDED))).toEqual({
    ip: address,
    port: 7,
    host: 'backend:5678',
    origin: undefined,
    isSecure: false,
    isLocal: false,
  });
});

test.each([
  ['by its address', ['10.0.0.1'], '10.0.0.1'],
  ['by its range', ['10.0.0.0/8'], '10.200.0.1'],
  ['in IPv6 clothes', ['10.0.0.1'], '::ffff:10.0.0.1'],
  ['of IPv6', ['2001:db8::/32'], '2001:db8:5::1'],
  ['of IPv6, spelled in another way', ['2001:db8:0:0::1'], '2001:db8::1'],
])('of a peer that is trusted %s all is taken', (_how, trusted, address) => {
  expect(new TrustedProxies(trusted).peerOf(request(address, FORWARDED))).toEqual({
    ip: '203.0.113.5',
    port: 0,
    host: 'app.example',
    origin: undefined,
    isSecure: true,
    isLocal: false,
  });
});

describe('X-Forwarded-For is read from its end', () => {
  test.each([
    ['what the client wrote itself is left out', ['10.0.0.1'], '1.2.3.4, 203.0.113.5', '203.0.113.5'],
    ['over proxies of ours', ['10.0.0.0/8'], '203.0.113.5, 10.0.0.3, 10.0.0.2', '203.0.113.5'],
    ['over several headers', ['10.0.0.0/8'], ['1.1.1.1', '203.0.113.5, 10.0.0.2'], '203.0.113.5'],
    ['with a port', ['10.0.0.1'], '203.0.113.5:4711', '203.0.113.5'],
    ['with IPv6', ['10.0.0.1'], '2001:db8::9', '2001:db8::9'],
    ['with IPv6 and a port', ['10.0.0.1'], '[2001:db8::9]:4711', '2001:db8::9'],
    ['in IPv6 clothes', ['10.0.0.1'], '::ffff:203.0.113.5', '203.0.113.5'],
    ['what is no address ends it', ['10.0.0.0/8'], '203.0.113.5, unknown, 10.0.0.2', '10.0.0.2'],
    ['nothing but rubbish', ['10.0.0.1'], 'rubbish', '10.0.0.1'],
    ['nothing but our own', ['10.0.0.0/8'], '10.0.0.3', '10.0.0.3'],
    ['an empty one', ['10.0.0.1'], '', '10.0.0.1'],
  ])('%s', (_what, trusted, header, expected) => {
    expect(ipBehind(trusted, '10.0.0.1', header)).toBe(expected);
  });

  test('and not further than 20 addresses', () => {
    const long = Array.from({ length: 50_000 }, () => '10.0.0.1').join(',');
    expect(ipBehind(['10.0.0.0/8'], '10.0.0.1', `203.0.113.5,${long}`)).toBe('10.0.0.1');
  });
});

describe('a trusted proxy', () => {
  const at = (headers: Headers, local?: string) =>
    new TrustedProxies(['10.0.0.1', '127.0.0.1']).peerOf(request('127.0.0.1', headers, local));

  test('on this machine does not make its clients local', () => {
    expect(at(FORWARDED, '127.0.0.1').isLocal).toBe(false);
    expect(at({ 'x-forwarded-for': '127.0.0.1' }, '127.0.0.1').isLocal).toBe(true);
    expect(at({}, '127.0.0.1').isLocal).toBe(true);
  });

  test('that says http when a client of it said https before is believed', () => {
    expect(at({ 'x-forwarded-proto': 'https, http' }).isSecure).toBe(false);
    expect(at({ 'x-forwarded-proto': 'http, HTTPS' }).isSecure).toBe(true);
  });

  test('that names two hosts names none', () => {
    expect(at({ 'x-forwarded-host': 'evil.example, app.example' }).host).toBeUndefined();
    expect(at({ 'x-forwarded-host': ['evil.example', 'app.example'] }).host).toBeUndefined();
  });

  test('that says nothing leaves Host as it is', () => {
    expect(at({}).host).toBe('backend:5678');
  });
});

test.each([
  '',
  'localhost',
  '10.0.0.1/33',
  '10.0.0.0/',
  '10.0.0.0/8/8',
  '2001:db8::/129',
  '10.0.0.0/-1',
  '*',
  '10.0.0',
])("the entry '%s' is refused", (entry) => {
  expect(() => new TrustedProxies([entry])).toThrow("'trustedProxies' must hold");
});

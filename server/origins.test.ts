import { describe, expect, test } from 'vitest';
import {
  decideOrigin,
  isLoopbackAddress,
  parseOriginPolicy,
  type Approach,
  type OriginOptions,
} from './origins.ts';

type Row = [what: string, approach: Partial<Approach>, options: OriginOptions, expected: string];

const ELSEWHERE: Approach = {
  host: 'app.example',
  origin: 'https://app.example',
  isSecure: false,
  isLocal: false,
};
const HERE: Approach = {
  host: 'localhost:5678',
  origin: 'http://localhost:5678',
  isSecure: false,
  isLocal: true,
};

function decide(approach: Approach, options: OriginOptions): string {
  const decision = decideOrigin(approach, parseOriginPolicy(options));
  return decision.name === 'accepted' ? decision.authority : `refused: ${decision.reason}`;
}

const LINE = /refused: .*origins: \['https:\/\/evil\.example'\]$/;

describe('a server that is asked from elsewhere', () => {
  const accepted: Row[] = [
    ['a page of the same host', {}, {}, 'app.example'],
    [
      'the same host at another port than the default',
      { host: 'app.example:8443', origin: 'https://app.example:8443' },
      {},
      'app.example:8443',
    ],
    ['a Host in capitals', { host: 'APP.example' }, {}, 'app.example'],
    [
      'a Host with the default port of http',
      { host: 'app.example:80', origin: 'http://app.example' },
      {},
      'app.example',
    ],
    ['a Host with the default port of https', { host: 'app.example:443', isSecure: true }, {}, 'app.example'],
    [
      'an origin in the list',
      { origin: 'https://other.example' },
      { origins: ['https://other.example'] },
      'app.example',
    ],
    [
      'an app with a scheme of its own in the list',
      { origin: 'capacitor://localhost' },
      { origins: ['capacitor://localhost'] },
      'app.example',
    ],
    ['a host in the list', {}, { hosts: ['app.example'] }, 'app.example'],
    [
      'the public address behind a proxy that rewrites Host',
      { host: 'backend:5678' },
      { publicUrl: 'https://app.example/' },
      'app.example',
    ],
    ['no Origin when that is allowed', { origin: undefined }, { allowNoOrigin: true }, 'app.example'],
    [
      'an IPv6 address',
      { host: '[2001:db8::1]:5678', origin: 'http://[2001:db8::1]:5678' },
      {},
      '[2001:db8::1]:5678',
    ],
    [
      'localhost, as in a container with a forwarded port',
      { host: 'localhost:5678', origin: 'http://localhost:5173' },
      {},
      'localhost:5678',
    ],
  ];
  test.each(accepted)('takes %s', (_what, approach, options, authority) => {
    expect(decide({ ...ELSEWHERE, ...approach }, options)).toBe(authority);
  });

  const refused: [what: string, approach: Partial<Approach>, options: OriginOptions, reason: RegExp][] = [
    ['a page of another host', { origin: 'https://evil.example' }, {}, LINE],
    [
      'a page of another host though some are listed',
      { origin: 'https://evil.example' },
      { origins: ['https://good.example'] },
      LINE,
    ],
    [
      'an origin that begins like one in the list',
      { origin: 'https://good.example.evil.example' },
      { origins: ['https://good.example'] },
      /refused/,
    ],
    ['an origin that ends like the host', { origin: 'https://evilapp.example' }, {}, /refused/],
    ['the same host at another port', { origin: 'https://app.example:8443' }, {}, /refused/],
    ['an http page when TLS ends here', { origin: 'http://app.example', isSecure: true }, {}, /refused/],
    [
      'an http page when the public address is https',
      { origin: 'http://app.example' },
      { publicUrl: 'https://app.example' },
      /refused/,
    ],
    [
      'a page of the name that a proxy put into Host',
      { host: 'evil.example', origin: 'https://evil.example' },
      { publicUrl: 'https://app.example' },
      LINE,
    ],
    [
      'a host that is not in the list',
      { host: 'evil.example', origin: 'https://evil.example' },
      { hosts: ['app.example'] },
      /hosts: \['evil\.example'\]/,
    ],
    [
      'a host at another port than in the list',
      { host: 'app.example:8443' },
      { hosts: ['app.example'] },
      /hosts: \['app\.example:8443'\]/,
    ],
    ['no Origin', { origin: undefined }, {}, /allowNoOrigin: true/],
    [
      'no Origin when that is forbidden',
      { ...HERE, origin: undefined },
      { allowNoOrigin: false },
      /allowNoOrigin/,
    ],
    ['the origin of a sandboxed frame', { origin: 'null' }, {}, /'null'/],
    ['two origins', { origin: 'https://app.example, https://evil.example' }, {}, /refused/],
    ['an origin with a path', { origin: 'https://app.example/' }, {}, /refused/],
    ['an origin with a user', { origin: 'https://app.example@evil.example' }, {}, /refused/],
    ['an empty origin', { origin: '' }, {}, /refused/],
    ['an origin of 300 characters', { origin: `https://${'a'.repeat(300)}.example` }, {}, /refused/],
    ['no Host', { host: undefined }, {}, /Host/],
    ['a Host with a path', { host: 'app.example/x' }, {}, /Host/],
    ['a Host with a user', { host: 'x@app.example' }, {}, /Host/],
    [
      'a Host that browsers would spell in another way',
      { host: '127.1:5678', origin: 'http://127.0.0.1:5678' },
      {},
      /Host/,
    ],
    ['a page of this machine', { origin: 'http://localhost:3000' }, {}, /localhost:3000/],
  ];
  test.each(refused)('refuses %s', (_what, approach, options, reason) => {
    expect(decide({ ...ELSEWHERE, ...approach }, options)).toMatch(reason);
  });
});

describe('a server that is asked from its own machine', () => {
  test.each([
    'http://localhost:5678',
    'http://localhost:3000',
    'http://127.0.0.1:8080',
    'http://[::1]',
    'https://localhost',
  ])('takes the page %s', (origin) => {
    expect(decide({ ...HERE, origin }, {})).toBe('localhost:5678');
  });

  test('takes a client that is no browser', () => {
    expect(decide({ ...HERE, origin: undefined }, {})).toBe('localhost:5678');
  });

  test('says which pages it took only because of that', () => {
    const policy = parseOriginPolicy({});
    expect(decideOrigin({ ...HERE, origin: 'http://localhost:3000' }, policy)).toMatchObject({
      isOtherLoopback: true,
    });
    expect(decideOrigin(HERE, policy)).toMatchObject({ isOtherLoopback: false });
  });

  test.each([
    ['a name that was made to point here', { host: 'evil.example:5678', origin: 'http://evil.example:5678' }],
    ['such a name without Origin', { host: 'evil.example:5678', origin: undefined }],
    [
      'a name that begins with localhost',
      { host: 'localhost.evil.example', origin: 'http://localhost.evil.example' },
    ],
    [
      'an address that looks like this machine',
      { host: '127.0.0.1.evil.example', origin: 'http://127.0.0.1.evil.example' },
    ],
  ])('refuses %s', (_what, approach) => {
    expect(decide({ ...HERE, ...approach }, {})).toMatch(/hosts: \['/);
  });

  test('refuses a page of elsewhere', () => {
    expect(decide({ ...HERE, origin: 'https://evil.example' }, {})).toMatch(LINE);
  });

  test('takes a listed name, as behind a proxy on this machine', () => {
    const proxied = { ...HERE, host: 'app.example', origin: 'https://app.example' };
    expect(decide(proxied, { hosts: ['app.example'] })).toBe('app.example');
    expect(decide({ ...proxied, origin: 'http://localhost:3000' }, { hosts: ['app.example'] })).toMatch(
      /^refused/,
    );
  });
});

describe('the configured lists', () => {
  test.each([
    [{ origins: ['https://app.example/'] }, "write 'https://app.example'"],
    [{ origins: ['https://APP.example'] }, "write 'https://app.example'"],
    [{ origins: ['https://app.example:443'] }, "write 'https://app.example'"],
    [{ origins: ['app.example'] }, 'https://app.example'],
    [{ origins: ['*'] }, "'origins' must hold"],
    [{ origins: ['null'] }, "'origins' must hold"],
    [{ hosts: ['https://app.example'] }, "'hosts' must hold"],
    [{ hosts: ['App.example'] }, "'hosts' must hold"],
    [{ publicUrl: 'app.example' }, "'publicUrl' must be"],
  ])('refuses %j', (options, message) => {
    expect(() => parseOriginPolicy(options)).toThrow(message);
  });
});

test.each([
  ['127.0.0.1', true],
  ['127.4.5.6', true],
  ['::1', true],
  ['::ffff:127.0.0.1', true],
  ['10.0.0.1', false],
  ['::ffff:10.0.0.1', false],
  [undefined, false],
])('%s is a loopback address: %s', (address, expected) => {
  expect(isLoopbackAddress(address)).toBe(expected);
});

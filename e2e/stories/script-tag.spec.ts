import { readFileSync } from 'node:fs';
import path from 'node:path';
import type { BrowserContext, Page } from '@playwright/test';
import { stateOf, statsOf, waitForSession, waitForState } from '../kit/page.ts';
import { ROOT } from '../kit/readme.ts';
import { expect, test } from '../kit/test.ts';
import type { TestServer } from '../kit/test-server.ts';

const FOLDER = '/.well-known/webgram/';
const TAG = tag(`${FOLDER}webgram.js`);

/** What `npm run build` says of each script. */
const integrity = JSON.parse(readFileSync(path.join(ROOT, 'dist/browser/integrity.json'), 'utf8')) as Record<
  string,
  string
>;

test.use({ serverOptions: { ownPage: true } });

// Every browser asks for it, and would complain.
test.beforeEach(({ server }) => server.write('favicon.ico', ''));

function tag(src: string, attributes = ''): string {
  return `<!doctype html><title>x</title><script src="${src}" ${attributes} defer></script>`;
}

/** @returns The name under which a script has a hash. */
function hashed(name: string): string {
  return Object.keys(integrity).find((file) => file.startsWith(`${name}-`))!;
}

interface Watched {
  page: Page;
  /** What the browser complains of. */
  troubles: string[];
}

async function watch(context: BrowserContext): Promise<Watched> {
  const page = await context.newPage();
  const troubles: string[] = [];
  page.on('console', (message) => troubles.push(message.text()));
  page.on('pageerror', (error) => troubles.push(error.message));
  return { page, troubles };
}

function incr(page: Page, x: number): Promise<number> {
  return page.evaluate((x) => webgram.client!.ask('incr', x) as Promise<number>, x);
}

async function hostOf(page: Page): Promise<string> {
  return page.evaluate(async () => (await webgram.client!.waitForHost()).kind);
}

async function restart(server: TestServer, ...flags: string[]): Promise<void> {
  await server.stop();
  await server.start(flags);
}

test('a page with the tag and nothing else is in session', async ({ context, server, wire, host }) => {
  await server.write('bare.html', TAG);
  const { page, troubles } = await watch(context);
  await page.goto(`${wire.url}bare.html`);
  expect(await waitForSession(page)).toMatchObject({ sessionID: 1 });
  expect(await hostOf(page)).toBe(host);
  expect(await incr(page, 1)).toBe(2);
  expect(troubles).toEqual([]);
});

test('a module without a bundler speaks over the same host and session', async ({
  context,
  server,
  wire,
  host,
}) => {
  await server.write('module.html', '<!doctype html><script type="module" src="module.js"></script>');
  await server.write(
    'module.js',
    `import { AskError, Client } from '${FOLDER}client.js';
    const client = new Client();
    globalThis.webgram = { client, AskError };`,
  );
  await server.write('bare.html', TAG);
  const first = await watch(context);
  const second = await watch(context);
  await first.page.goto(`${wire.url}module.html`);
  await second.page.goto(`${wire.url}bare.html`);
  for (const { page, troubles } of [first, second]) {
    expect(await waitForSession(page)).toMatchObject({ sessionID: 1 });
    expect(await hostOf(page)).toBe(host);
    expect(await incr(page, 1)).toBe(2);
    expect(troubles).toEqual([]);
  }
  expect(wire.openWebSockets).toBe(1);
});

test.describe('data-manual', () => {
  test('nothing happens until the page makes a client', async ({ context, server, wire }) => {
    await server.write('manual.html', tag(`${FOLDER}webgram.js`, 'data-manual'));
    const page = await context.newPage();
    await page.goto(`${wire.url}manual.html`);
    expect(await page.evaluate(() => [typeof webgram.client, typeof webgram.Client])).toEqual([
      'undefined',
      'function',
    ]);
    await page.evaluate(() => webgram.ready);
    expect(wire.webSockets).toHaveLength(0);
    await page.evaluate(() => (webgram.client = new webgram.Client()));
    expect(await waitForSession(page)).toMatchObject({ sessionID: 1 });
  });
});

test.describe('data-url', () => {
  test.use({ serverOptions: { ownPage: true, flags: ['--path', '/live/socket'] } });

  test('is where the socket is, relative to the page', async ({ context, server, wire, host }) => {
    await server.write('live/page.html', tag(`${FOLDER}webgram.js`, 'data-url="socket"'));
    const page = await context.newPage();
    await page.goto(`${wire.url}live/page.html`);
    expect(await waitForSession(page)).toMatchObject({ sessionID: 1 });
    expect(await hostOf(page)).toBe(host);
  });

  test('may be of another server, while the files come from the page’s own', async ({
    context,
    server,
    startFront,
    host,
  }) => {
    const browser = path.join(ROOT, 'dist/browser');
    const names = Object.keys(integrity);
    const pages = Object.fromEntries(
      names.map((name) => [`/vendor/${name}`, readFileSync(path.join(browser, name), 'utf8')]),
    );
    const url = `ws://127.0.0.1:${server.port}/live/socket`;
    pages['/'] = tag('/vendor/webgram.js', `data-url="${url}"`);
    const policy = `default-src 'self'; connect-src ${url}`;
    const front = await startFront({ pages, policy });
    await restart(server, '--origin', new URL(front.strangeUrl).origin);
    const page = await context.newPage();
    await page.goto(front.strangeUrl);
    expect(await waitForSession(page)).toMatchObject({ sessionID: 1 });
    expect(await hostOf(page)).toBe(host);
  });
});

test.describe('Trusted Types', () => {
  const POLICY = "default-src 'self'; require-trusted-types-for 'script'";

  test.describe('with our policy named', () => {
    test.use({ serverOptions: { ownPage: true, policy: `${POLICY}; trusted-types webgram` } });

    test('the tag, a module beside it and durable messages work', async ({ context, server, wire, host }) => {
      await server.write('both.html', `${TAG}<script type="module" src="module.js"></script>`);
      await server.write(
        'module.js',
        `import { Client } from '${FOLDER}client.js';
        globalThis.other = new Client();`,
      );
      const { page, troubles } = await watch(context);
      await page.goto(`${wire.url}both.html`);
      expect(await waitForSession(page)).toMatchObject({ sessionID: 1 });
      expect(await hostOf(page)).toBe(host);
      await page.evaluate(() => webgram.client!.durable.send('note', 1));
      await expect.poll(() => page.evaluate(() => webgram.client!.ask('data'))).toMatchObject({ notes: [1] });
      expect(
        await page.evaluate(async () => {
          const other = Reflect.get(globalThis, 'other') as NonNullable<typeof webgram.client>;
          return [(await other.waitForHost()).kind, await other.ask('incr', 1)];
        }),
      ).toEqual([host, 2]);
      expect(troubles).toEqual([]);
    });

    test('the policy lets nothing through but what lies beside the script @shared-worker', async ({
      context,
      server,
      wire,
    }) => {
      await server.write('bare.html', TAG);
      const { page } = await watch(context);
      await page.goto(`${wire.url}bare.html`);
      await waitForSession(page);
      const passed = await page.evaluate((folder) => {
        const { webgram: policy } = Reflect.get(globalThis, 'trustedTypes') as {
          webgram: { createScriptURL: (address: string) => URL };
        };
        const here = location.origin;
        return [
          ...[`${here}${folder}worker-x.js`, `${here}${folder}../webgram/x.js`],
          ...[`${here}/x.js`, `${here}${folder}../x.js`, `${here}${folder}more/x.js`],
          ...[`https://evil.example${folder}x.js`, `${here}${folder}%2e%2e/x.js`],
          ...['data:text/javascript,0', 'x.js', '', `javascript:0`, `blob:${here}/x`],
        ].map((address) => {
          try {
            return String(policy.createScriptURL(address)) === address;
          } catch {
            return false;
          }
        });
      }, FOLDER);
      expect(passed).toEqual([true, true, ...Array.from({ length: 10 }, () => false)]);
    });
  });

  test.describe('without our policy', () => {
    test.use({ serverOptions: { ownPage: true, policy: `${POLICY}; trusted-types other` } });

    test('a tab is the host, and says why @shared-worker', async ({ context, server, wire }) => {
      await server.write('bare.html', TAG);
      const { page } = await watch(context);
      await page.goto(`${wire.url}bare.html`);
      await waitForSession(page);
      const { kind, why } = await page.evaluate(() => webgram.client!.host!);
      expect(kind).toBe('leader-tab');
      expect(why).toMatch(/worker-.+\.js .*(Trusted|CSP)/);
    });
  });
});

test.describe('from a page of another origin', () => {
  /** A page that has the tag of our server, and lets it be used. */
  function foreignPage(server: TestServer, name = 'webgram.js', attributes = '') {
    const api = `http://127.0.0.1:${server.port}`;
    return {
      pages: { '/': tag(`${api}${FOLDER}${name}`, attributes) },
      policy: `default-src 'self' ${api} ${api.replace('http', 'ws')}; require-trusted-types-for 'script'; trusted-types webgram`,
    };
  }

  test('the server that the tag names is the one, with a tab as the host', async ({
    context,
    server,
    startFront,
  }) => {
    const front = await startFront(foreignPage(server));
    await restart(server, '--origin', new URL(front.strangeUrl).origin);
    const page = await context.newPage();
    await page.goto(front.strangeUrl);
    expect(await waitForSession(page)).toMatchObject({ sessionID: 1 });
    expect(await hostOf(page)).toBe('leader-tab');
    expect(await incr(page, 1)).toBe(2);
    await page.evaluate(() => webgram.client!.durable.send('note', 1));
    await expect.poll(() => page.evaluate(() => webgram.client!.ask('data'))).toMatchObject({ notes: [1] });
    const second = await context.newPage();
    await second.goto(front.strangeUrl);
    expect(await waitForSession(second)).toMatchObject({ sessionID: 1 });
    expect(await statsOf(second)).toEqual({ sockets: 1, sessions: 1, conns: 2 });
  });

  test('the tag may have an integrity attribute', async ({ context, server, startFront }) => {
    const name = hashed('webgram');
    const front = await startFront(
      foreignPage(server, name, `integrity="${integrity[name]!}" crossorigin="anonymous"`),
    );
    await restart(server, '--origin', new URL(front.strangeUrl).origin);
    const page = await context.newPage();
    await page.goto(front.strangeUrl);
    expect(await waitForSession(page)).toMatchObject({ sessionID: 1 });
  });

  test('an origin that is not listed is refused, and both ends say what to list', async ({
    context,
    server,
    startFront,
  }) => {
    const front = await startFront(foreignPage(server));
    const page = await context.newPage();
    await page.goto(front.strangeUrl);
    const line = `origins: ['${new URL(front.strangeUrl).origin}']`;
    expect((await waitForState(page, 'waiting')).reason).toContain(line);
    expect(server.output).toContain(line);
    await restart(server, '--origin', new URL(front.strangeUrl).origin);
    expect(await waitForSession(page)).toMatchObject({ sessionID: 1 });
    expect(await stateOf(page)).toEqual({ name: 'active' });
  });
});

test.describe('below a path', () => {
  test.describe('that the server knows', () => {
    test.use({ serverOptions: { ownPage: true, flags: ['--path', '/app/'] } });

    test('the tag alone is enough', async ({ context, server, wire, host }) => {
      await server.write('app/page.html', tag(`/app${FOLDER}webgram.js`));
      await onlyBelow('/app/', context, `${wire.url}app/page.html`, host);
    });
  });

  test('that a proxy takes away, the tag alone is enough', async ({ context, server, startFront, host }) => {
    await server.write('page.html', tag(`.${FOLDER}webgram.js`));
    const front = await startFront({ prefix: '/app/', target: () => server.port });
    await onlyBelow('/app/', context, `${front.url}app/page.html`, host);
  });

  test('that a proxy takes away, a module finds the server that it came from', async ({
    context,
    server,
    startFront,
    host,
  }) => {
    await server.write('page.html', '<!doctype html><script type="module" src="module.js"></script>');
    await server.write(
      'module.js',
      `import { Client } from '.${FOLDER}client.js';
      globalThis.webgram = { client: new Client() };`,
    );
    const front = await startFront({ prefix: '/app/', target: () => server.port });
    await onlyBelow('/app/', context, `${front.url}app/page.html`, host);
  });

  /** The page works with the worker, or the tab, that it is to have, and asks for nothing elsewhere. */
  async function onlyBelow(path: string, context: BrowserContext, url: string, host: string): Promise<void> {
    const page = await context.newPage();
    const asked: string[] = [];
    page.on('request', (request) => asked.push(new URL(request.url()).pathname));
    await page.goto(url);
    expect(await waitForSession(page)).toMatchObject({ sessionID: 1 });
    expect(await hostOf(page)).toBe(host);
    expect(await incr(page, 1)).toBe(2);
    await page.evaluate(() => webgram.client!.durable.send('note', 1));
    await expect.poll(() => page.evaluate(() => webgram.client!.ask('data'))).toMatchObject({ notes: [1] });
    expect(asked.filter((asked) => !asked.startsWith(path) && asked !== '/favicon.ico')).toEqual([]);
  }
});

test.describe('integrity', () => {
  test('the right one is taken, of script and module', async ({ context, server, wire }) => {
    const script = hashed('webgram');
    const module = hashed('client');
    await server.write('right.html', tag(FOLDER + script, `integrity="${integrity[script]!}"`));
    await server.write(
      'module.html',
      `<!doctype html>
      <script type="module" src="${FOLDER}${module}" integrity="${integrity[module]!}"></script>
      <script type="module" src="module.js"></script>`,
    );
    await server.write(
      'module.js',
      `import { Client } from '${FOLDER}${module}';
      globalThis.webgram = { client: new Client() };`,
    );
    const { page, troubles } = await watch(context);
    for (const name of ['right.html', 'module.html']) {
      await page.goto(wire.url + name);
      expect(await waitForSession(page)).toMatchObject({ sessionID: 1 });
    }
    expect(troubles).toEqual([]);
  });

  test('with a wrong one the script does not run', async ({ context, server, wire }) => {
    const name = hashed('webgram');
    const worker = hashed('worker');
    await server.write('wrong.html', tag(FOLDER + name, `integrity="${integrity[worker]!}"`));
    const { page, troubles } = await watch(context);
    await page.goto(`${wire.url}wrong.html`);
    expect(await page.evaluate(() => typeof globalThis.webgram)).toBe('undefined');
    expect(wire.webSockets).toHaveLength(0);
    await expect.poll(() => troubles.join()).toMatch(/integrity/i);
  });
});

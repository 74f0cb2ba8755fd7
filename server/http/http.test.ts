import { createServer, request, type IncomingMessage, type Server as HttpServer } from 'node:http';
import { mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { connect as connectTcp } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { brotliDecompressSync, gunzipSync } from 'node:zlib';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { WebSocket, WebSocketServer } from 'ws';
import { attach } from '../attach.ts';
import { NodeSigningKey } from '../node-crypto.ts';
import { Server } from '../server.ts';
import { MemoryStore } from '../store/memory-store.ts';
import { TestLink, UpgradeRefused } from '../testing/test-client.ts';

const SCRIPT = 'console.log("script")';
const WORKER = 'console.log("worker")';

let folder: string;
let root: string;
let browserFolder: string;
let server: Server;
let http: HttpServer | undefined;

beforeEach(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'webgram-http-'));
  root = path.join(folder, 'public');
  browserFolder = path.join(folder, 'browser');
  await mkdir(path.join(root, 'docs'), { recursive: true });
  await mkdir(browserFolder);
  await writeFile(path.join(root, 'index.html'), '<title>home</title>');
  await writeFile(path.join(root, 'docs/index.html'), '<title>docs</title>');
  await writeFile(path.join(root, 'app.js'), '0123456789');
  await writeFile(path.join(root, '.env'), 'secret');
  await writeFile(path.join(root, 'a b.txt'), 'a b');
  await writeFile(path.join(folder, 'outside.txt'), 'secret');
  await writeFile(path.join(folder, 'public.txt'), 'secret');
  await writeFile(path.join(browserFolder, 'webgram.js'), SCRIPT);
  await writeFile(path.join(browserFolder, 'webgram-test.js'), SCRIPT);
  await writeFile(path.join(browserFolder, 'client.js'), SCRIPT);
  await writeFile(path.join(browserFolder, 'devices.js'), SCRIPT);
  await writeFile(path.join(browserFolder, 'worker-test.js'), WORKER);
  await writeFile(path.join(browserFolder, 'worker-test.js.map'), '{}');
  http = undefined;
});

afterEach(async () => {
  await server.close();
  await new Promise<void>((resolve) => {
    if (http === undefined) resolve();
    else http.close(() => resolve());
    http?.closeAllConnections();
  });
  await rm(folder, { recursive: true, force: true });
});

interface Got {
  status: number;
  headers: IncomingMessage['headers'];
  body: Buffer;
  text: string;
}

/** Unlike `fetch` it sends the path as it is. */
function get(target: string, headers: Record<string, string> = {}, method = 'GET'): Promise<Got> {
  return new Promise((resolve, reject) => {
    const options = {
      port: server.port,
      host: 'localhost',
      path: target,
      headers,
      method,
      agent: false as const,
    };
    const req = request(options, (res) => {
      const chunks: Buffer[] = [];
      res.on('data', (chunk: Buffer) => chunks.push(chunk));
      res.on('end', () => {
        const body = Buffer.concat(chunks);
        resolve({ status: res.statusCode ?? 0, headers: res.headers, body, text: body.toString() });
      });
      res.on('error', reject);
    });
    req.on('error', reject);
    req.end();
  });
}

async function startOwn(): Promise<void> {
  server = new Server({ port: 0, store: new MemoryStore(), root, browserFolder, manualStart: true });
  await server.start();
}

async function startAttached(
  listener?: (req: IncomingMessage, res: import('node:http').ServerResponse) => void,
  options: Parameters<typeof attach>[1] = {},
): Promise<HttpServer> {
  http = createServer(listener);
  server = attach(http, { store: new MemoryStore(), browserFolder, manualStart: true, ...options });
  await server.start();
  await new Promise<void>((resolve) => http?.listen(0, resolve));
  return http;
}

function openLink(): Promise<TestLink> {
  return TestLink.open({ address: `ws://localhost:${server.port}/`, WebSocket });
}

describe('the files that pages load', () => {
  beforeEach(startOwn);

  test('the discovery document names socket, worker and script', async () => {
    const { status, headers, text } = await get('/.well-known/webgram.json');
    expect(status).toBe(200);
    expect(headers).toMatchObject({
      'content-type': 'application/json',
      'access-control-allow-origin': '*',
      'cache-control': 'no-store',
    });
    expect(JSON.parse(text)).toEqual({
      wsAddress: server.address,
      worker: 'webgram/worker-test.js',
      script: 'webgram/webgram.js',
    });
  });

  test('the discovery document tells a page of another origin why it would be refused', async () => {
    const { text } = await get('/.well-known/webgram.json', { Origin: 'https://other.example' });
    expect(JSON.parse(text)).toMatchObject({
      refused: expect.stringContaining("origins: ['https://other.example']"),
    });
  });

  test('the worker has a JavaScript type and may be kept for ever', async () => {
    const { status, headers, text } = await get('/.well-known/webgram/worker-test.js?v=1');
    expect([status, text]).toEqual([200, WORKER]);
    expect(headers).toMatchObject({
      'content-type': 'text/javascript; charset=utf-8',
      'cache-control': 'public, max-age=31536000, immutable',
      'x-content-type-options': 'nosniff',
    });
  });

  test.each([
    ['webgram.js', 'no-cache'],
    ['client.js', 'no-cache'],
    ['devices.js', 'no-cache'],
    ['webgram-test.js', 'public, max-age=31536000, immutable'],
  ])('pages of other origins may load %s, and keep it as %s says', async (name, cache) => {
    const { status, headers } = await get(`/.well-known/webgram/${name}`, {
      Origin: 'https://other.example',
    });
    expect(status).toBe(200);
    expect(headers).toMatchObject({
      'access-control-allow-origin': '*',
      'cross-origin-resource-policy': 'cross-origin',
      'cache-control': cache,
    });
  });

  test('the page script is asked for each time, and not sent again', async () => {
    const first = await get('/.well-known/webgram/webgram.js');
    expect([first.status, first.text]).toEqual([200, SCRIPT]);
    expect(first.headers['cache-control']).toBe('no-cache');
    const second = await get('/.well-known/webgram/webgram.js', {
      'If-None-Match': `W/${first.headers.etag}`,
    });
    expect([second.status, second.text]).toEqual([304, '']);
  });

  test.each([
    ['webgram.js', 'no-cache'],
    ['devices.js', 'no-cache'],
    ['accounts-define.js', 'no-cache'],
    ['devices-element.js', 'no-cache'],
    ['accounts-B7Dtqy8F.js', 'public, max-age=31536000, immutable'],
    ['elements-79YGq914.js', 'public, max-age=31536000, immutable'],
  ])('%s is kept as %s', async (name, cache) => {
    await writeFile(path.join(browserFolder, name), SCRIPT);
    const { status, headers } = await get(`/.well-known/webgram/${name}`);
    expect([status, headers['cache-control']]).toEqual([200, cache]);
  });

  test('a page script that has changed is served anew', async () => {
    const first = await get('/.well-known/webgram/webgram.js');
    await writeFile(path.join(browserFolder, 'webgram.js'), 'changed!');
    const { status, text } = await get('/.well-known/webgram/webgram.js', {
      'If-None-Match': first.headers.etag ?? '',
    });
    expect([status, text]).toEqual([200, 'changed!']);
  });

  test.each([
    'worker-other.js',
    'worker-test.js.map',
    '',
    'x',
    '../outside.txt',
    '..%2foutside.txt',
    'worker-/../../outside.js',
  ])('there is no /.well-known/webgram/%s', async (name) => {
    expect((await get(`/.well-known/webgram/${name}`)).status).toBe(404);
  });

  test.each([
    ['gzip, deflate, br', 'br', brotliDecompressSync],
    ['gzip, deflate', 'gzip', gunzipSync],
    ['br;q=0, gzip;q=0.5', 'gzip', gunzipSync],
    ['deflate', undefined, undefined],
    ['x;q=2;;, ,', undefined, undefined],
  ])("who accepts '%s' is sent %s", async (accepted, coding, decode) => {
    const script = SCRIPT.repeat(100);
    await writeFile(path.join(browserFolder, 'webgram.js'), script);
    const ask = { 'Accept-Encoding': accepted };
    const { status, headers, body } = await get('/.well-known/webgram/webgram.js', ask);
    expect([status, headers['content-encoding'], headers.vary]).toEqual([200, coding, 'Accept-Encoding']);
    expect(headers['content-length']).toBe(String(body.length));
    expect((decode?.(body) ?? body).toString()).toBe(script);
    if (decode) expect(body.length).toBeLessThan(script.length);

    const { etag = '' } = headers;
    const again = await get('/.well-known/webgram/webgram.js', { ...ask, 'If-None-Match': etag });
    expect([again.status, again.headers.etag]).toEqual([304, etag]);
    const plain = await get('/.well-known/webgram/webgram.js', { 'If-None-Match': etag });
    expect(plain.status).toBe(coding === undefined ? 304 : 200);
  });

  test('HEAD has the headers alone; other methods are refused', async () => {
    const head = await get('/.well-known/webgram/webgram.js', {}, 'HEAD');
    expect([head.status, head.text, head.headers['content-length']]).toEqual([
      200,
      '',
      String(SCRIPT.length),
    ]);
    const post = await get('/.well-known/webgram.json', {}, 'POST');
    expect([post.status, post.headers.allow]).toEqual([405, 'GET, HEAD']);
  });
});

describe('static files', () => {
  beforeEach(startOwn);

  test.each([
    ['/', 'text/html;charset=utf-8', '<title>home</title>'],
    ['/index.html?x=1', 'text/html;charset=utf-8', '<title>home</title>'],
    ['/docs/', 'text/html;charset=utf-8', '<title>docs</title>'],
    ['/app.js', 'text/javascript', '0123456789'],
    ['/a%20b.txt', 'text/plain', 'a b'],
  ])('%s is served as %s', async (target, type, body) => {
    const { status, headers, text } = await get(target);
    expect([status, headers['content-type'], text]).toEqual([200, type, body]);
    expect(headers['x-content-type-options']).toBe('nosniff');
  });

  test.each([
    '/no-such-file',
    '/docs/no-such-file.html',
    '/.env',
    '/%2eenv',
    '/docs/../.env',
    '/../outside.txt',
    '/..%2foutside.txt',
    '/%2e%2e/outside.txt',
    '/%2e%2e%2foutside.txt',
    '/..%5coutside.txt',
    '/docs/../../outside.txt',
    '/../public.txt',
    '//outside.txt',
    '/app.js%00.html',
    '/%',
    '/%c0%ae%c0%ae/outside.txt',
    '/.well-known/other',
  ])('%s is not there', async (target) => {
    const { status, text } = await get(target);
    expect(status).toBe(404);
    expect(text).not.toContain('secret');
  });

  test('a part of a file is served, and a part that is none harms nobody', async () => {
    const part = await get('/app.js', { Range: 'bytes=2-4' });
    expect([part.status, part.text]).toEqual([206, '234']);
    expect((await get('/app.js', { Range: 'bytes=99-' })).status).toBe(416);
    for (const range of ['bytes=5-2', 'bytes=-x', 'bytes=-3', 'bytes=0-1,4-5', 'x']) {
      expect((await get('/app.js', { Range: range })).text).toBe('0123456789');
    }
  });

  test('what has not changed is not sent again', async () => {
    const { headers } = await get('/app.js');
    expect((await get('/app.js', { 'If-None-Match': headers.etag ?? '' })).status).toBe(304);
  });

  test('the store and its key must not lie under the root, nor through a link', async () => {
    expect(() => new Server({ root, db: path.join(root, 'sessions'), manualStart: true })).toThrow(
      "'root' must not hold",
    );
    expect(
      () => new Server({ root: folder, keyFile: path.join(folder, 'x.key'), manualStart: true }),
    ).toThrow("'root'");
    await symlink(root, path.join(folder, 'link'));
    expect(() => new Server({ root, db: path.join(folder, 'link/db'), manualStart: true })).toThrow(
      "'root' must not hold",
    );
    expect(
      () => new Server({ root: path.join(folder, 'link'), db: path.join(root, 'db'), manualStart: true }),
    ).toThrow("'root'");
  });
});

describe('attach', () => {
  test('serves its own files and socket, and leaves the rest to the application', async () => {
    await startAttached((req, res) => res.end(`app ${req.url}`));
    expect((await get('/')).text).toBe('app /');
    expect((await get('/.well-known/other')).text).toBe('app /.well-known/other');
    expect((await get('/.well-known/webgram/webgram.js')).text).toBe(SCRIPT);
    const link = await openLink();
    expect(await link.enter({ key: NodeSigningKey.generate() })).toMatchObject({ kind: 'ok' });
  });

  test('works for listeners that are added later', async () => {
    const app = await startAttached();
    app.on('request', (_req, res) => res.end('later'));
    expect((await get('/')).text).toBe('later');
    expect((await get('/.well-known/webgram/webgram.js')).text).toBe(SCRIPT);
  });

  test('leaves other WebSockets of the same server alone, also at the same path', async () => {
    const app = await startAttached();
    const chat = new WebSocketServer({ server: app });
    chat.on('connection', (ws) => ws.send('chat'));
    for (const target of ['/chat', '/']) {
      const ws = new WebSocket(`ws://localhost:${server.port}${target}`, ['vite-hmr']);
      expect(
        await new Promise((resolve) => ws.on('message', (data: Buffer) => resolve(data.toString()))),
      ).toBe('chat');
      ws.terminate();
    }
    const link = await openLink();
    expect(await link.enter({ key: NodeSigningKey.generate() })).toMatchObject({ kind: 'ok' });
    chat.close();
  });

  test('refuses upgrades that nobody else can want', async () => {
    await startAttached();
    const other = TestLink.open({ address: `ws://localhost:${server.port}/chat`, WebSocket });
    await expect(other).rejects.toBeInstanceOf(UpgradeRefused);
  });

  test.each(['/app/', '/app/socket'])('has its files below the path as well, for %s', async (target) => {
    await startAttached((req, res) => res.end(`app ${req.url}`), { path: target });
    for (const base of ['/', '/app/']) {
      expect((await get(`${base}.well-known/webgram/webgram.js`)).text).toBe(SCRIPT);
      const { text } = await get(`${base}.well-known/webgram.json`);
      expect(JSON.parse(text)).toMatchObject({ wsAddress: `ws://localhost:${server.port}${target}` });
      expect((await get(`${base}.well-known/webgram/other.js`)).status).toBe(404);
    }
    for (const other of ['/ap/', '/app/x/', '/x/', '/app']) {
      const { text } = await get(`${other}.well-known/webgram/webgram.js`);
      expect(text).toBe(`app ${other}.well-known/webgram/webgram.js`);
    }
  });

  test('gives the server back when it closes', async () => {
    const app = await startAttached((_req, res) => res.end('app'));
    const { port } = server;
    await server.close();
    expect(Object.hasOwn(app, 'emit')).toBe(false);
    expect(app.listenerCount('upgrade')).toBe(0);
    expect(app.listening).toBe(true);
    const text = await new Promise<string>((resolve) => {
      const socket = connectTcp(port, 'localhost', () =>
        socket.end('GET /.well-known/webgram.json HTTP/1.0\r\n\r\n'),
      );
      let all = '';
      socket.on('data', (chunk) => (all += chunk.toString()));
      socket.on('close', () => resolve(all));
    });
    expect(text).toMatch(/app$/);
  });

  test('takes a Server of ours as it is, and no options that belong to the HTTP server', async () => {
    await startOwn();
    expect(attach(server)).toBe(server);
    expect(() => attach(server, { path: '/x' })).toThrow('constructor of Server');
    expect(() => new Server({ server: createServer(), root, manualStart: true })).toThrow("'root'");
  });
});

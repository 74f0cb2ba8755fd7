import { copyFile, cp, mkdir, readdir, readFile, rename, writeFile } from 'node:fs/promises';
import path from 'node:path';
import type { Page } from '@playwright/test';
import { NextBuild } from '../kit/next-build.ts';
import {
  addOne,
  askEach,
  dataOf,
  identityOf,
  sessionIDOf,
  stateOf,
  statsOf,
  waitForSession,
  waitForState,
} from '../kit/page.ts';
import { ROOT } from '../kit/readme.ts';
import { expect, openTab, test } from '../kit/test.ts';

test.use({ serverOptions: { ownPage: true } });

const BROWSER = path.join(ROOT, 'dist/browser');

/** Puts the page of another build under `next/`. @returns The folder. */
async function deployNext(root: string, browserFolder: string): Promise<string> {
  const next = path.join(root, 'next');
  await cp(path.join(ROOT, 'dist/examples/plus-one'), next, { recursive: true });
  await cp(browserFolder, next, { recursive: true });
  await change(path.join(next, 'webgram.js'), '.well-known/webgram/', 'next/');
  await change(path.join(next, 'index.html'), '/.well-known/webgram/webgram.js', './webgram.js');
  return next;
}

async function change(file: string, from: string, to: string): Promise<void> {
  const text = await readFile(file, 'utf8');
  if (!text.includes(from)) throw new Error(`${file} has no ${from}`);
  await writeFile(file, text.replaceAll(from, to));
}

async function workerIn(folder: string): Promise<string> {
  return (await readdir(folder)).find((file) => /^worker-.+\.js$/.test(file))!;
}

/** Adds one in the first of these tabs, and sees the result in all. */
async function addOneSeenBy([page, ...others]: [Page, ...Page[]], x: number): Promise<void> {
  await addOne(page, x);
  for (const each of [page, ...others]) await expect(each.locator('#result')).toHaveText(String(x + 1));
}

/** All codes of `$notice` from now on. */
async function noticesOf(page: Page): Promise<() => Promise<string[]>> {
  const notices = await page.evaluateHandle(() => {
    const codes: string[] = [];
    webgram.client!.on('$notice', ({ code }) => codes.push(code));
    return codes;
  });
  return () => notices.jsonValue();
}

test('after a deploy the newest build serves the old tabs as well, over one socket @shared-worker', async ({
  context,
  wire,
  server,
}) => {
  const old = await openTab(context, wire.url);
  await addOneSeenBy([old], 1);
  await server.stop();
  // Its worker has another address and another name.
  const deployed = await deployNext(server.root, BROWSER);
  const worker = await workerIn(deployed);
  await rename(path.join(deployed, worker), path.join(deployed, 'worker-next.js'));
  await change(path.join(deployed, 'webgram.js'), worker, 'worker-next.js');
  await server.start();
  await sessionIDOf(old);
  const notices = await noticesOf(old);

  const next = await openTab(context, new URL('next/index.html', wire.url).href);
  expect(await sessionIDOf(next)).toBe(1);
  await addOneSeenBy([next, old], 10);
  await addOneSeenBy([old, next], 20);
  await expect.poll(() => statsOf(old)).toEqual({ sockets: 1, sessions: 1, conns: 2 });
  expect(await stateOf(old)).toEqual({ name: 'active' });
  expect(await notices()).toEqual([]);
  await expect.poll(() => wire.openWebSockets).toBe(1);

  // A tab of the older build starts its worker anew, and that one serves all of them then.
  const late = await openTab(context, wire.url);
  await addOneSeenBy([late, old, next], 30);
  await expect.poll(() => statsOf(old)).toEqual({ sockets: 1, sessions: 1, conns: 3 });
  expect(await notices()).toEqual([]);
});

test.describe('of another port protocol', () => {
  let build: NextBuild;

  test.beforeAll(async () => {
    test.setTimeout(120_000);
    build = await NextBuild.make();
  });

  test.afterAll(async () => {
    await build.dispose();
  });

  test('a newer build takes over from an older one, whose tabs are told to reload', async ({
    context,
    wire,
    server,
  }) => {
    await deployNext(server.root, build.browserFolder);
    const nextUrl = new URL('next/index.html', wire.url).href;
    const [old, other] = [await openTab(context, wire.url), await openTab(context, wire.url)];
    await Promise.all([old, other].map((page) => askEach(page, 'count', 10)));
    // The two lines of docs/deploy.md, in one of them.
    const reloaded = other.waitForURL(nextUrl);
    await other.evaluate((nextUrl) => {
      webgram.client!.on('$state', (state) => {
        if (state.name === 'closed' && state.code === 'WEBGRAM_VERSION_SKEW') location.assign(nextUrl);
      });
    }, nextUrl);

    const next = await openTab(context, nextUrl);
    expect(await sessionIDOf(next)).toBe(1);
    expect(await waitForState(old, 'closed')).toMatchObject({ code: 'WEBGRAM_VERSION_SKEW' });
    const refused = await old.evaluate(() =>
      webgram.client!.ask('count').catch(({ code }: { code: string }) => code),
    );
    expect(refused).toBe('WEBGRAM_VERSION_SKEW');
    await reloaded;
    expect(await sessionIDOf(other)).toBe(1);
    expect(await askEach(other, 'count', 1)).toEqual([21]);
    expect(await askEach(next, 'count', 1)).toEqual([22]);
    await expect.poll(() => statsOf(next)).toEqual({ sockets: 1, sessions: 1, conns: 2 });
    await expect.poll(() => wire.openWebSockets).toBe(1);
  });

  test('an older build that is opened later is told as well, and serves when the newer has gone', async ({
    context,
    wire,
    server,
  }) => {
    await deployNext(server.root, build.browserFolder);
    const next = await openTab(context, new URL('next/index.html', wire.url).href);
    await askEach(next, 'count', 10);
    const notices = await noticesOf(next);

    const old = await context.newPage();
    await old.goto(wire.url);
    expect(await waitForState(old, 'closed')).toMatchObject({ code: 'WEBGRAM_VERSION_SKEW' });
    expect(await askEach(next, 'count', 1)).toEqual([11]);
    await expect.poll(() => statsOf(next)).toEqual({ sockets: 1, sessions: 1, conns: 1 });
    expect(await stateOf(next)).toEqual({ name: 'active' });
    expect(await notices()).toEqual([]);
    await expect.poll(() => wire.openWebSockets).toBe(1);

    await next.close();
    await old.reload();
    expect(await sessionIDOf(old)).toBe(1);
    expect(await dataOf(old)).toEqual({ count: 11 });
  });

  test('an older page whose own worker is gone is told as well @chromium @shared-worker', async ({
    context,
    wire,
    server,
  }) => {
    await deployNext(server.root, build.browserFolder);
    const next = await openTab(context, new URL('next/index.html', wire.url).href);
    await context.route('**/.well-known/webgram/worker-*.js', (route) => route.fulfill({ status: 404 }));
    const old = await context.newPage();
    await old.goto(wire.url);
    expect(await waitForState(old, 'closed')).toMatchObject({ code: 'WEBGRAM_VERSION_SKEW' });
    expect(await askEach(next, 'count', 1)).toEqual([1]);
    await expect.poll(() => statsOf(next)).toEqual({ sockets: 1, sessions: 1, conns: 1 });
  });

  test('a page whose worker is an older file does without it @shared-worker', async ({
    context,
    wire,
    server,
  }) => {
    const next = await deployNext(server.root, build.browserFolder);
    await copyFile(path.join(BROWSER, await workerIn(BROWSER)), path.join(next, await workerIn(next)));
    const page = await openTab(context, new URL('next/index.html', wire.url).href);
    const { kind, why } = await page.evaluate(() => webgram.client!.host!);
    expect(kind).toBe('leader-tab');
    expect(why).toMatch(/is older/);
    expect(await askEach(page, 'count', 2)).toEqual([1, 2]);
  });
});

/** Writes the scripts of another build: those with a hash in their name have another, and the first names are gone. */
async function buildNext(folder: string): Promise<void> {
  const browser = path.join(ROOT, 'dist/browser');
  const names = (await readdir(browser)).filter((name) => name.endsWith('.js'));
  const renamed = new Map(names.map((name) => [name, name.replace(/-[\w-]{8}\.js$/, '-nextnext.js')]));
  await mkdir(folder);
  for (const [name, next] of renamed) {
    let script = await readFile(path.join(browser, name), 'utf8');
    for (const [from, to] of renamed) if (from !== to) script = script.replaceAll(from, to);
    await writeFile(path.join(folder, next), script);
  }
}

test('the server has another build under the same name: old and new tabs share one session and one socket', async ({
  context,
  wire,
  server,
  host,
}) => {
  const old = await openTab(context, wire.url);
  await addOneSeenBy([old], 1);
  const script = new URL('.well-known/webgram/webgram.js', wire.url).href;
  const builds = async (): Promise<string | undefined> =>
    /worker-[\w-]+\.js/.exec(await (await fetch(script)).text())?.[0];
  const first = await builds();

  const folder = path.join(server.folder, 'next');
  await buildNext(folder);
  await server.stop();
  server.deploy(folder);
  await server.start();
  expect(await builds()).toBe('worker-nextnext.js');
  expect((await fetch(new URL(first!, script))).status).toBe(404);

  const next = await openTab(context, wire.url);
  await addOneSeenBy([next, old], 10);
  await addOneSeenBy([old, next], 20);
  await expect.poll(() => statsOf(old)).toEqual({ sockets: 1, sessions: 1, conns: 2 });
  await old.evaluate(() => webgram.client!.durable.send('note', 1));
  await expect.poll(() => next.evaluate(() => webgram.client!.ask('data'))).toMatchObject({ notes: [1] });

  // The old tab gets the new build as well, and no tab has the first one.
  await old.reload();
  expect(await waitForSession(old)).toMatchObject({ sessionID: 1 });
  await addOneSeenBy([old, next], 30);
  for (const page of [old, next]) {
    expect((await identityOf(page))?.sessionID).toBe(1);
    expect(await page.evaluate(() => webgram.client!.host?.kind)).toBe(host);
  }
  await expect.poll(() => statsOf(next)).toEqual({ sockets: 1, sessions: 1, conns: 2 });
});

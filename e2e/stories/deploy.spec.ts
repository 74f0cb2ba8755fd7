import { cp, mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { addOne, identityOf, sessionIDOf, stateOf, statsOf, waitForSession } from '../kit/page.ts';
import { ROOT } from '../kit/readme.ts';
import { expect, openTab, test } from '../kit/test.ts';

test.use({ serverOptions: { ownPage: true } });

/** Puts the page of another build under `next/`: its worker has another address and another name. */
async function deployNext(root: string): Promise<void> {
  const browser = path.join(ROOT, 'dist/browser');
  const worker = (await readdir(browser)).find((file) => /^worker-.+\.js$/.test(file))!;
  const next = path.join(root, 'next');
  await cp(path.join(ROOT, 'dist/examples/plus-one'), next, { recursive: true });
  await cp(path.join(browser, worker), path.join(next, 'worker-next.js'));
  const script = await readFile(path.join(browser, 'webgram.js'), 'utf8');
  await writeFile(
    path.join(next, 'webgram.js'),
    script.replaceAll(worker, 'worker-next.js').replaceAll('/.well-known/webgram/', '/next/'),
  );
  const index = path.join(next, 'index.html');
  const html = await readFile(index, 'utf8');
  await writeFile(index, html.replace('/.well-known/webgram/webgram.js', './webgram.js'));
}

test('after a deploy the newest build serves the old tabs as well, over one socket @shared-worker', async ({
  context,
  wire,
  server,
}) => {
  const old = await openTab(context, wire.url);
  await addOne(old, 1);
  await expect(old.locator('#result')).toHaveText('2');
  await server.stop();
  await deployNext(server.root);
  await server.start();
  await sessionIDOf(old);
  const notices = await old.evaluateHandle(() => {
    const codes: string[] = [];
    webgram.client!.on('$notice', ({ code }) => codes.push(code));
    return codes;
  });

  const next = await openTab(context, new URL('next/index.html', wire.url).href);
  expect(await sessionIDOf(next)).toBe(1);
  await addOne(next, 10);
  await expect(next.locator('#result')).toHaveText('11');
  await expect(old.locator('#result')).toHaveText('11');
  await addOne(old, 20);
  await expect(next.locator('#result')).toHaveText('21');
  await expect.poll(() => statsOf(old)).toEqual({ sockets: 1, sessions: 1, conns: 2 });
  expect(await stateOf(old)).toEqual({ name: 'active' });
  expect(await notices.jsonValue()).toEqual([]);
  expect(wire.openWebSockets).toBe(1);

  // A tab of the older build starts its worker anew, and that one serves all of them then.
  const late = await openTab(context, wire.url);
  await addOne(late, 30);
  for (const page of [old, next, late]) await expect(page.locator('#result')).toHaveText('31');
  await expect.poll(() => statsOf(old)).toEqual({ sockets: 1, sessions: 1, conns: 3 });
  expect(await notices.jsonValue()).toEqual([]);
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
  await addOne(old, 1);
  await expect(old.locator('#result')).toHaveText('2');
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
  await addOne(next, 10);
  await expect(next.locator('#result')).toHaveText('11');
  await expect(old.locator('#result')).toHaveText('11');
  await addOne(old, 20);
  await expect(next.locator('#result')).toHaveText('21');
  await expect.poll(() => statsOf(old)).toEqual({ sockets: 1, sessions: 1, conns: 2 });
  await old.evaluate(() => webgram.client!.durable.send('note', 1));
  await expect.poll(() => next.evaluate(() => webgram.client!.ask('data'))).toMatchObject({ notes: [1] });

  // The old tab gets the new build as well, and no tab has the first one.
  await old.reload();
  expect(await waitForSession(old)).toMatchObject({ sessionID: 1 });
  await addOne(old, 30);
  for (const page of [old, next]) {
    await expect(page.locator('#result')).toHaveText('31');
    expect((await identityOf(page))?.sessionID).toBe(1);
    expect(await page.evaluate(() => webgram.client!.host?.kind)).toBe(host);
  }
  await expect.poll(() => statsOf(next)).toEqual({ sockets: 1, sessions: 1, conns: 2 });
});

import { createECDH } from 'node:crypto';
import { readFile, rename } from 'node:fs/promises';
import { addOne, waitForSession, waitForState } from '../kit/page.ts';
import { expect, openTab, test } from '../kit/test.ts';
import type { TestServer } from '../kit/test-server.ts';

/** What the server prints at a start for pages that pin it. @param start 1 for the first. */
async function printedKey(server: TestServer, start = 1): Promise<string> {
  const keys = () => [...server.output.matchAll(/public key, for pages that pin it, is (\S+)\n/g)];
  await expect.poll(() => keys().length).toBe(start);
  return keys().at(-1)![1]!;
}

test.describe('a server that encrypts its frames', () => {
  test.use({ serverOptions: { attributes: 'data-sealed', flags: ['--sealed'] } });

  test('and a page that asks for it: nothing readable behind the handshake, in either direction @chromium', async ({
    context,
    server,
    wire,
  }) => {
    const pages = [await openTab(context, wire.url), await openTab(context, wire.url)];
    await addOne(pages[0]!, 1_234_567);
    for (const page of pages) await expect(page.locator('#result')).toHaveText('1234568');
    expect(wire.webSockets).toHaveLength(1);
    const { clientMessages, serverMessages, requestHead } = wire.webSockets[0]!;
    expect(requestHead).toMatch(/^sec-websocket-protocol: webgram\.2\.json\.sealed\r$/im);
    const bytes = [...clientMessages.slice(1), ...serverMessages.slice(2)];
    expect(bytes.length).toBeGreaterThan(4);
    for (const { opcode, payload } of bytes) {
      expect([2, 8]).toContain(opcode);
      expect(payload.toString('latin1')).not.toMatch(/add|123456/);
    }
    await server.kill();
    await server.start();
    await addOne(pages[1]!, 7);
    await expect(pages[0]!.locator('#result')).toHaveText('8');

    // A page that does not ask for it is told nothing, and gets no session.
    await server.tag('');
    const plain = await context.browser()!.newContext();
    const page = await plain.newPage();
    await page.goto(server.url);
    await waitForState(page, 'waiting');
    await plain.close();
  });
});

test.describe('a page that was built with the key of its server', () => {
  test.use({ serverOptions: { ownPage: true } });

  test('speaks to no other, from the first visit on, and no click changes that @chromium', async ({
    context,
    server,
    wire,
  }) => {
    const stranger = createECDH('prime256v1').generateKeys('base64url');
    await server.tag(`data-pins="${stranger}"`);
    const page = await context.newPage();
    await page.goto(wire.url);
    expect(await waitForState(page, 'waiting')).toMatchObject({ reason: 'server-key-changed' });
    await page.evaluate(() => {
      webgram.client!.acceptServerKey();
    });
    await page.reload();
    expect(await waitForState(page, 'waiting')).toMatchObject({ reason: 'server-key-changed' });
    for (const { clientMessages } of wire.webSockets) {
      expect(clientMessages.filter(({ opcode }) => opcode !== 8)).toEqual([]);
    }

    // The next build is right, and that of the change of keys names both.
    const key = await printedKey(server);
    await server.tag(`data-pins="${key}"`);
    await page.reload();
    expect(await waitForSession(page)).toMatchObject({ sessionID: 1 });
    await server.kill();
    await rename(server.keyFile, `${server.keyFile}.old`);
    await server.start();
    const next = await printedKey(server, 2);
    expect(next).not.toBe(key);
    expect(await waitForState(page, 'waiting', { leftMs: 10_000 })).toMatchObject({
      reason: 'server-key-changed',
    });
    await server.tag(`data-pins="${key} ${next}"`);
    await page.reload();
    expect(await waitForSession(page)).toMatchObject({ sessionID: 1, resumed: true });
    expect(await readFile(`${server.keyFile}.old`, 'utf8')).toContain('PRIVATE KEY');
  });
});

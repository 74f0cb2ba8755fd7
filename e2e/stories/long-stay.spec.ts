import { sessionIDOf } from '../kit/page.ts';
import { expect, openTab, test } from '../kit/test.ts';

test.describe('links that may live half a second', () => {
  test.use({ serverOptions: { maxLinkMs: 500 } });

  test('follow one another while two tabs talk: nothing is lost or doubled, and no tab notices', async ({
    context,
    wire,
  }) => {
    const tabs = [await openTab(context, wire.url), await openTab(context, wire.url)];
    const talks = tabs.map((tab) =>
      tab.evaluate(async () => {
        const client = webgram.client!;
        const seen: string[] = [];
        client.on('$state', ({ name }) => seen.push(name));
        client.on('$session-active', ({ reason }) => seen.push(reason));
        client.on('$notice', ({ code }) => seen.push(code));
        const answers: Promise<number>[] = [];
        const endMs = performance.now() + 4_000;
        while (performance.now() < endMs) {
          answers.push(client.ask('count') as Promise<number>);
          await new Promise((resolve) => setTimeout(resolve, 20));
        }
        return { answers: await Promise.all(answers), seen };
      }),
    );
    const [first, second] = await Promise.all(talks);
    expect(first!.seen).toEqual([]);
    expect(second!.seen).toEqual([]);
    const all = [...first!.answers, ...second!.answers].sort((a, b) => a - b);
    expect(all).toEqual(Array.from({ length: all.length }, (_, i) => i + 1));
    for (const { answers } of [first!, second!]) expect(answers).toEqual([...answers].sort((a, b) => a - b));
    expect(wire.webSockets.length).toBeGreaterThan(4);
    expect(wire.openWebSockets).toBeLessThanOrEqual(2);
    expect(await sessionIDOf(tabs[0]!)).toBe(1);
  });
});

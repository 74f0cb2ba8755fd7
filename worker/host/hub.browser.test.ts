import { toBase64url } from 'webgram';
import type { UpEnvelope } from 'webgram';
import { expect, test } from 'vitest';
import { PORT_PROTOCOL } from './port-protocol.ts';
import type { HostToTab, TabToHost } from './port-protocol.ts';
import { WorkerCalls } from './testing/worker-calls.ts';

const script = new URL('./testing/hub-worker.ts', import.meta.url);

/** A tab's end of a real port to a hub in a real SharedWorker. */
class PortTab {
  readonly messages: HostToTab[] = [];
  readonly tabID = toBase64url(crypto.getRandomValues(new Uint8Array(16)));
  readonly lock = `tab ${crypto.randomUUID()}`;
  readonly #port: MessagePort;
  readonly #inside: Promise<WorkerCalls>;
  #heard: () => void = () => undefined;
  #release: () => void = () => undefined;

  constructor(worker: string) {
    const { port } = new SharedWorker(script, { type: 'module', name: worker });
    this.#port = port;
    this.#inside = new Promise((resolve) => {
      port.onmessage = ({ data, ports: [inside] }: MessageEvent<HostToTab | 'inside'>) => {
        if (data === 'inside') resolve(new WorkerCalls(inside!));
        else this.messages.push(data);
        this.#heard();
      };
    });
  }

  static async connect(worker: string): Promise<PortTab> {
    const tab = new PortTab(worker);
    await tab.hold();
    tab.post({
      kind: 'hello',
      protocol: PORT_PROTOCOL,
      build: 'test',
      lock: tab.lock,
      address: 'wss://server.example/',
      fresh: false,
      demands: { pins: undefined, sealed: false },
    });
    return tab;
  }

  hold(): Promise<void> {
    return new Promise((held) => {
      void navigator.locks.request(this.lock, () => {
        held();
        return new Promise<void>((release) => {
          this.#release = release;
        });
      });
    });
  }

  /** As the browser does when the tab is gone. */
  die(): void {
    this.#release();
  }

  post(message: TabToHost): void {
    this.#port.postMessage(message);
  }

  attach(link: number): void {
    const received = { life: 0, n: 0 };
    const seen = { timeMs: 0, life: 0, commit: 0 };
    this.post({
      kind: 'up',
      link,
      envelope: { kind: 'attach', tabID: this.tabID, counter: 1, received, oldest: 1, seen, info: {} },
    });
  }

  send(link: number, seq: number, ...args: unknown[]): void {
    this.post({
      kind: 'up',
      link,
      envelope: { kind: 'send', seq, ack: { life: 0, n: 0 }, type: 'hello', args },
    });
  }

  async inside(name: string): Promise<unknown> {
    return (await this.#inside).call(name);
  }

  async hear<K extends HostToTab['kind']>(
    kind: K,
    fits: (message: HostToTab & { kind: K }) => boolean = () => true,
  ): Promise<HostToTab & { kind: K }> {
    for (;;) {
      const found = this.messages.find(
        (message): message is HostToTab & { kind: K } =>
          message.kind === kind && fits(message as HostToTab & { kind: K }),
      );
      if (found !== undefined) return found;
      await new Promise<void>((resolve) => {
        this.#heard = resolve;
      });
    }
  }

  /** Waits for an envelope at the server. */
  async up(fits: (up: UpEnvelope) => boolean): Promise<UpEnvelope> {
    for (;;) {
      const found = ((await this.inside('ups')) as UpEnvelope[]).find(fits);
      if (found !== undefined) return found;
    }
  }
}

function newName(): string {
  return `hub-test-${crypto.randomUUID()}`;
}

test('two tabs on real ports share one socket, one session and one incarnation', async () => {
  const worker = newName();
  const [a, b] = await Promise.all([PortTab.connect(worker), PortTab.connect(worker)]);
  const isActive = ({ state }: { state: { name: string } }): boolean => state.name === 'active';
  const [first, second] = await Promise.all([a.hear('state', isActive), b.hear('state', isActive)]);
  expect(first.identity).toMatchObject({ sessionID: 1, storage: 'persistent' });
  expect(second.identity).toEqual(first.identity);
  expect(await a.inside('sockets')).toBe(1);

  expect(a.messages[0]).toMatchObject({ kind: 'welcome', host: { kind: 'shared-worker' } });
  const incarnations = new Set([...a.messages, ...b.messages].map(({ incarnation }) => incarnation));
  expect(incarnations.size).toBe(1);
  const elsewhere = await PortTab.connect(newName());
  expect((await elsewhere.hear('welcome')).incarnation).not.toBe([...incarnations][0]);
});

test('what a tab sends is handled, and each tab hears of its own', async () => {
  const worker = newName();
  const [a, b] = await Promise.all([PortTab.connect(worker), PortTab.connect(worker)]);
  for (const tab of [a, b]) {
    const { link } = await tab.hear('link');
    tab.attach(link);
    tab.send(link, 1, { when: new Date(7), bytes: Uint8Array.of(1, 2) });
    await tab.hear('down', ({ envelope }) => envelope.kind === 'ack' && envelope.ack === 1);
  }
  const handled = (await a.inside('handled')) as { tabID: string; args: unknown[] }[];
  expect(handled.map(({ tabID }) => tabID)).toEqual([a.tabID, b.tabID]);
  expect(handled[0]?.args).toEqual([{ when: new Date(7), bytes: Uint8Array.of(1, 2) }]);
  expect(a.messages.filter(({ kind }) => kind === 'down')).toHaveLength(2);
});

test('a tab whose Web Lock is free has gone: the host finishes for it', async () => {
  const worker = newName();
  const [stays, goes] = await Promise.all([PortTab.connect(worker), PortTab.connect(worker)]);
  const { link } = await goes.hear('link');
  goes.attach(link);
  goes.send(link, 1);
  goes.die();
  const departed = await stays.up((up) => up.kind === 'attach' && up.info.departed === true);
  expect(departed).toMatchObject({ tabID: goes.tabID });
  await stays.up((up) => up.kind === 'detach');
  expect(await stays.inside('handled')).toHaveLength(1);
});

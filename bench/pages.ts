import type { SwitchTimes, TabTimes } from './subjects.ts';

declare global {
  /** What the page of a tab has noted, when it is linked. */
  var linked: Promise<TabTimes>;
  /** What a page with accounts can do. */
  var accounts: AccountsPage;
}

/** Each resolves to what it took, in ms. */
export interface AccountsPage {
  /** The identity that the browser has had gets its first account. */
  begin(name: string): Promise<unknown>;
  /** Signs in with another account beside those that there are; until the watching tab has heard that this one is nobody's. */
  add(name: string): Promise<number>;
  switchTo(name: string): Promise<SwitchTimes>;
  /** Until the watching tab has the new list. */
  rename(name: string, to: string): Promise<number>;
  /** A message to the watching tab, and its answer. */
  hop(): Promise<number>;
  /** A bare WebSocket: until it is open and has answered. */
  connect(port: number): Promise<number>;
  /** How many WebSockets the server was asked for so far. */
  handshakes(): Promise<number>;
}

/** Pages of tabs that are alike but for what links them to the server. */
export const PAGES = {
  ws: page(`<script>
  const scriptMs = performance.now();
  const socket = new WebSocket(location.href.replace('http', 'ws'));
  linked = new Promise((resolve) => {
    socket.onopen = () => resolve({ linkedMs: performance.now(), scriptMs });
  });
</script>`),
  webgram: page(`<script src="/.well-known/webgram/webgram.js"></script>
<script>
  const [{ responseEnd: scriptMs }] = performance.getEntriesByName(document.scripts[0].src);
  linked = new Promise((resolve) => {
    webgram.client.on('$session-active', () => resolve({ linkedMs: performance.now(), scriptMs }));
  });
</script>`),
  accounts: page(`<script src="/.well-known/webgram/webgram.js"></script>
<script type="module">
  import { Identities } from '/.well-known/webgram/identities.js';
  const { client } = webgram;
  const identities = new Identities(client);
  const channel = new BroadcastChannel('accounts');
  if (location.hash === '#watch') {
    client.on('$switched', () => channel.postMessage({ what: 'switched' }));
    client.on('$session-active', () => channel.postMessage({ what: 'active' }));
    identities.onChange((list) => channel.postMessage({ what: 'list', names: list.map(({ name, account }) => name ?? account) }));
    channel.addEventListener('message', ({ data }) => {
      if (data.what === 'ping') channel.postMessage({ what: 'pong' });
    });
  }
  const told = (isIt) =>
    new Promise((resolve) => {
      channel.addEventListener('message', function hear({ data }) {
        if (!isIt(data)) return;
        channel.removeEventListener('message', hear);
        resolve();
      });
    });
  const toldOf = (what) => told((data) => data.what === what);
  const active = () =>
    new Promise((resolve) => {
      const off = client.on('$session-active', () => resolve(off()));
    });
  const since = (startMs, event) => event.then(() => performance.now() - startMs);
  const idOf = async (name) => (await identities.list()).find(({ account }) => account === name).id;
  globalThis.accounts = {
    begin: (name) => client.ask('login', name),
    async add(name) {
      const settled = Promise.all([toldOf('active'), told(({ names }) => names?.includes(name))]);
      const heard = since(performance.now(), toldOf('switched'));
      await identities.add();
      await client.ask('login', name);
      await settled;
      return heard;
    },
    async switchTo(name) {
      const id = await idOf(name);
      const settled = toldOf('active');
      const startMs = performance.now();
      const times = [since(startMs, active()), since(startMs, toldOf('switched'))];
      await identities.switchTo(id);
      const [activeMs, seenMs] = await Promise.all(times);
      await settled;
      return { activeMs, seenMs };
    },
    async rename(name, to) {
      const id = await idOf(name);
      const heard = since(performance.now(), told(({ names }) => names?.includes(to)));
      await identities.rename(id, to);
      return heard;
    },
    hop() {
      const heard = since(performance.now(), toldOf('pong'));
      channel.postMessage({ what: 'ping' });
      return heard;
    },
    async connect(port) {
      const startMs = performance.now();
      const socket = new WebSocket('ws://127.0.0.1:' + port);
      socket.onopen = () => socket.send('x');
      await new Promise((resolve) => (socket.onmessage = resolve));
      socket.close();
      return performance.now() - startMs;
    },
    handshakes: () => client.ask('handshakes'),
  };
  globalThis.linked = client.waitForSession().then(() => ({ linkedMs: performance.now(), scriptMs: 0 }));
</script>`),
};

function page(scripts: string): string {
  return `<!doctype html>
<meta charset="utf-8">
<title>Tab</title>
<link rel="icon" href="data:,">
<h1>Tab</h1>
${scripts}
`;
}

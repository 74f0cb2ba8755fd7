import type { TabTimes } from './subjects.ts';

declare global {
  /** What the page of a tab has noted, when it is linked. */
  var linked: Promise<TabTimes>;
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

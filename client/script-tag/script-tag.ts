import { Client } from '../index.ts';
import { async, dataset } from './own-address.ts';

/** What the script tag gives the page. */
export interface Webgram {
  /** Made at once, unless the tag has `data-manual`. */
  client: Client | undefined;
  Client: typeof Client;
  /** Resolves when the host is found, rejects when there is none; never waits for the server. */
  ready: Promise<unknown>;
}

declare global {
  var webgram: Webgram;
}

// The page's own scripts come after this one: what arrives before they listen would be lost.
const start = async ? undefined : new Promise((resolve) => addEventListener('DOMContentLoaded', resolve));
const rule = dataset['identity'];
// A rule for addresses has a star where the page's own has the user id.
const identity = rule?.startsWith('/')
  ? decodeURIComponent(location.pathname.match(`^${rule.replace('*', '([^/]+)')}`)?.[1] ?? '')
  : rule;
const options = { start, pins: dataset['pins']?.split(' '), identity, sealed: 'sealed' in dataset };
const client = 'manual' in dataset ? undefined : new Client(dataset['url'], options);
const ready = Promise.resolve(client?.waitForHost());
// Who does not ask is not told twice: the state says it as well.
ready.catch(() => undefined);

globalThis.webgram = { client, Client, ready };

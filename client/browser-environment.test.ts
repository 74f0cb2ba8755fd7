import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { browserEnvironment } from './browser-environment.ts';
import { Client } from './client.ts';
import type { TabEnvironment } from './environment.ts';

const ADDRESS = 'ws://server.test/';

/** A document of which the test knows how often somebody has looked whether it is seen. */
class TestDocument extends EventTarget {
  looked = 0;

  get hidden(): boolean {
    this.looked += 1;
    return true;
  }
}

let page: TestDocument;

beforeEach(() => {
  page = new TestDocument();
  vi.stubGlobal('document', page);
  vi.stubGlobal('addEventListener', () => undefined);
});

afterEach(() => {
  vi.unstubAllGlobals();
});

/** A page's own, but for a host that is never found. */
function environment(): TabEnvironment {
  return {
    ...browserEnvironment(ADDRESS),
    holdLock: () => Promise.resolve(() => undefined),
    findHost: () => new Promise(() => undefined),
  };
}

test('a closed client no longer listens to its page', () => {
  const client = new Client(ADDRESS, {}, environment());
  page.dispatchEvent(new Event('visibilitychange'));
  // Once for the server, and once to find out whether the host is to be woken.
  expect(page.looked).toBe(2);
  client.close();
  page.dispatchEvent(new Event('visibilitychange'));
  expect(page.looked).toBe(2);
});

test('a client with no address does not listen', () => {
  expect(() => new Client('ftp://server.test/', {}, environment())).toThrow(TypeError);
  page.dispatchEvent(new Event('visibilitychange'));
  expect(page.looked).toBe(0);
});

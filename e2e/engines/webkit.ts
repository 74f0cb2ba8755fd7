import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:net';
import { findWebKit } from './find.mjs';

/** How long the driver may take to answer at all, in ms. */
const START_LIMIT_MS = 20_000;
/** How long a script may take in a page, in ms. */
const SCRIPT_LIMIT_MS = 40_000;

/** A window handle of WebDriver. */
type Handle = string;

/**
 * WebKitGTK, which Playwright does not drive: one MiniBrowser under Xvfb, over plain WebDriver.
 *
 * @see https://www.w3.org/TR/webdriver2/
 */
export class WebKit {
  readonly #driver: ChildProcess;
  readonly #address: string;
  #session = '';
  /** WebDriver has one current window, so commands go one after the other. */
  #turn: Promise<unknown> = Promise.resolve();

  private constructor(driver: ChildProcess, address: string) {
    this.#driver = driver;
    this.#address = address;
  }

  /** Starts a browser with an empty profile. */
  static async start(): Promise<WebKit> {
    const found = findWebKit();
    if (found === undefined) throw new Error('there is no WebKitWebDriver here');
    const port = await freePort();
    const args = ['-a', found.driver, `--port=${port}`, '--host=127.0.0.1'];
    // A group of its own: Xvfb and the browser end with it.
    const driver = spawn('xvfb-run', args, { stdio: 'ignore', detached: true });
    const webkit = new WebKit(driver, `http://127.0.0.1:${port}`);
    try {
      await webkit.#open(found.browser);
    } catch (error) {
      await webkit.close();
      throw error;
    }
    return webkit;
  }

  /** Opens a page in a new tab and waits until it is loaded. */
  async open(url: string): Promise<WebKitTab> {
    const { handle } = await this.#command<{ handle: Handle }>('POST', '/window/new', { type: 'tab' });
    const tab = new WebKitTab((method, path, body) => this.#in(handle, method, path, body));
    await tab.goto(url);
    return tab;
  }

  async close(): Promise<void> {
    if (this.#session !== '') await this.#command('DELETE', '').catch(() => undefined);
    if (this.#driver.pid === undefined || this.#driver.exitCode !== null) return;
    const ended = once(this.#driver, 'exit');
    process.kill(-this.#driver.pid, 'SIGTERM');
    await ended;
  }

  async #open(browser: string): Promise<void> {
    const endMs = Date.now() + START_LIMIT_MS;
    const capabilities = {
      alwaysMatch: { 'webkitgtk:browserOptions': { binary: browser, args: ['--automation'] } },
    };
    for (;;) {
      try {
        const { sessionId } = await this.#send<{ sessionId: string }>('POST', '/session', { capabilities });
        this.#session = sessionId;
        break;
      } catch (error) {
        // It does not listen yet.
        if (!(error instanceof TypeError) || Date.now() > endMs) throw error;
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
    }
    await this.#command('POST', '/timeouts', { script: SCRIPT_LIMIT_MS, pageLoad: SCRIPT_LIMIT_MS });
  }

  #in(handle: Handle, method: string, path: string, body?: object): Promise<unknown> {
    const turn = this.#turn.then(async () => {
      await this.#command('POST', '/window', { handle });
      return this.#command(method, path, body);
    });
    this.#turn = turn.catch(() => undefined);
    return turn;
  }

  #command<T>(method: string, path: string, body?: object): Promise<T> {
    return this.#send(method, `/session/${this.#session}${path}`, body);
  }

  async #send<T>(method: string, path: string, body?: object): Promise<T> {
    const response = await fetch(this.#address + path, {
      method,
      ...(method === 'POST' && { body: JSON.stringify(body ?? {}) }),
    });
    const { value } = (await response.json()) as { value: T & { error?: string; message?: string } };
    if (!response.ok) throw new Error(`${value.error ?? ''}: ${value.message ?? ''}`);
    return value;
  }
}

/** A tab of it, with what stories need of Playwright's `Page`. */
export class WebKitTab {
  readonly #command: (method: string, path: string, body?: object) => Promise<unknown>;

  constructor(command: (method: string, path: string, body?: object) => Promise<unknown>) {
    this.#command = command;
  }

  async goto(url: string): Promise<void> {
    await this.#command('POST', '/url', { url });
  }

  async reload(): Promise<void> {
    await this.#command('POST', '/refresh');
  }

  async close(): Promise<void> {
    await this.#command('DELETE', '/window');
  }

  /** Runs a function in the page. It sees nothing of this file. @returns What it returns, as JSON. */
  async evaluate<Arg, Result>(run: (arg: Arg) => Result | Promise<Result>, arg?: Arg): Promise<Result> {
    const script = `
      const done = arguments[arguments.length - 1];
      Promise.resolve().then(() => (${run.toString()})(arguments[0])).then(
        (value) => done({ value }), (error) => done({ error: error.code ?? String(error) }));`;
    const outcome = (await this.#command('POST', '/execute/async', { script, args: [arg ?? null] })) as {
      value: Result;
      error?: string;
    };
    if (outcome.error !== undefined) throw new Error(outcome.error);
    return outcome.value;
  }
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  server.close();
  await once(server, 'close');
  if (address === null || typeof address === 'string') throw new TypeError('a TCP server has a port');
  return address.port;
}

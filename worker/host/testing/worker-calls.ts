/** A function that a test can call in another worker. Arguments and results are structured clones. */
export type Calls = Record<string, (...args: never[]) => unknown>;

/** In the worker: answers calls that come over a port. */
export function answerCalls(port: MessagePort, calls: Calls): void {
  port.onmessage = async ({ data }: MessageEvent<{ id: number; name: string; args: never[] }>) => {
    const { id, name, args } = data;
    try {
      port.postMessage({ id, value: await calls[name]!(...args) });
    } catch (error) {
      port.postMessage({ id, error: String(error) });
    }
  };
}

/** In the page: calls functions of a worker. */
export class WorkerCalls {
  readonly #port: MessagePort;
  readonly #waiting = new Map<
    number,
    { resolve: (value: unknown) => void; reject: (error: Error) => void }
  >();
  #calls = 0;

  constructor(port: MessagePort) {
    this.#port = port;
    port.onmessage = ({ data }: MessageEvent<{ id: number; value?: unknown; error?: string }>) => {
      const call = this.#waiting.get(data.id);
      if (data.error === undefined) call?.resolve(data.value);
      else call?.reject(new Error(data.error));
    };
  }

  call(name: string, ...args: unknown[]): Promise<unknown> {
    return new Promise((resolve, reject) => {
      const id = ++this.#calls;
      this.#waiting.set(id, { resolve, reject });
      this.#port.postMessage({ id, name, args });
    });
  }
}

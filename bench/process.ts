import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';

/** No single step takes longer than this, in ms. */
const LIMIT_MS = 180_000;

export interface ProcessOptions {
  /** Bundled file. */
  file: string;
  /** Core to run on; `undefined` for any. */
  core: number | undefined;
  nodeArgs?: readonly string[];
}

/** A process that answers one message after the other. */
export class Peer {
  readonly #child: ChildProcess;
  readonly #name: string;

  constructor({ file, core, nodeArgs = [] }: ProcessOptions) {
    this.#name = file;
    const node = [process.execPath, ...nodeArgs, file];
    const [command, ...args] = core === undefined ? node : ['taskset', '-c', String(core), ...node];
    this.#child = spawn(command!, args, { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] });
  }

  /** @throws when the process ends, says that it failed, or is silent for too long. */
  async ask<Answer>(message: object): Promise<Answer> {
    const over = new AbortController();
    const signal = AbortSignal.any([over.signal, AbortSignal.timeout(LIMIT_MS)]);
    const ended = once(this.#child, 'exit', { signal }).then(([code]) => {
      throw new Error(`${this.#name} ended with ${String(code)}`);
    });
    const answer = once(this.#child, 'message', { signal });
    this.#child.send(message);
    try {
      const [{ error, value }] = (await Promise.race([answer, ended])) as [{ error?: string; value: Answer }];
      if (error !== undefined) throw new Error(error);
      return value;
    } finally {
      over.abort();
      ended.catch(() => undefined);
    }
  }

  async stop(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const exit = once(this.#child, 'exit');
    this.#child.send({ kind: 'stop' });
    const limit = setTimeout(() => this.#child.kill('SIGKILL'), 10_000);
    await exit;
    clearTimeout(limit);
  }
}

/** Answers the messages of the parent. */
export function serve<Message extends { kind: string }>(
  handle: (message: Exclude<Message, { kind: 'stop' }>) => Promise<unknown>,
  stop: () => Promise<void>,
): void {
  process.on('message', (message: Message) => {
    if (message.kind === 'stop') {
      void stop().finally(() => process.exit(0));
      return;
    }
    handle(message as Exclude<Message, { kind: 'stop' }>).then(
      (value) => process.send?.({ value: value ?? null }),
      (error: unknown) => process.send?.({ error: error instanceof Error ? error.stack : String(error) }),
    );
  });
  // The parent has gone.
  process.on('disconnect', () => process.exit(1));
}

import type { QueueModule } from '../host/queue/durable-queue.ts';

declare const self: SharedWorkerGlobalScope;

/** Loads what keeps durable messages: a file beside the worker's own. */
export function loadQueue(): Promise<QueueModule> {
  const own = self.location.href;
  return import(/* @vite-ignore */ new URL(__WEBGRAM_QUEUE_FILE__, own).href) as Promise<QueueModule>;
}

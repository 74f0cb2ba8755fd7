import type { LaterModule } from '../host/later.ts';

declare const self: SharedWorkerGlobalScope;

/** Loads what is not needed at first: a file beside the worker's own. */
export function loadLater(): Promise<LaterModule> {
  const own = self.location.href;
  return import(/* @vite-ignore */ new URL(__WEBGRAM_QUEUE_FILE__, own).href) as Promise<LaterModule>;
}

import type { LaterModule } from '../host/later.ts';

declare const self: SharedWorkerGlobalScope;

let fragment = '';

/** Loads what is not needed at first: a file beside the worker's own. */
export function loadLater(): Promise<LaterModule> {
  const own = self.location.href;
  const loading = import(/* @vite-ignore */ new URL(__WEBGRAM_QUEUE_FILE__ + fragment, own).href);
  return loading.catch((error: unknown) => {
    // Browsers remember that they could not load a module, under its whole address (whatwg/html#6768).
    fragment += '#';
    throw error;
  }) as Promise<LaterModule>;
}

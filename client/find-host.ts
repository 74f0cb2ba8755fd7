import type { HostAddress, HostToTab } from '../worker/host/port-protocol.ts';
import type { FoundHost } from './environment.ts';

/** How long a worker may take to speak, in ms. Nothing else can serve yet, so a busy machine is given its time. */
export const HOST_TIMEOUT_MS = 10_000;

/** Where servers of ours have the worker's script. */
const WORKER_PATH = '/.well-known/webgram/';

/** File name of the worker's script, which names the build. */
export const BUILD = __WEBGRAM_WORKER_FILE__;

/**
 * Finds the host of this browser: a SharedWorker, whose script comes from the server when that has the page's origin, and
 * from `options.worker` otherwise or when the first cannot be had.
 *
 * @param address WebSocket address of the server.
 * @param worker Where the page has the script.
 * @param moved The worker that serves this browser now, as the one before has said.
 * @throws with the reason, when there is no SharedWorker, or none of the scripts runs and speaks within 10 s.
 */
export async function findHost(
  address: string,
  worker?: string | URL,
  moved?: HostAddress,
): Promise<FoundHost> {
  if (moved !== undefined) return start(new URL(moved.script), moved.build);
  if (typeof SharedWorker === 'undefined') throw new Error('there is no SharedWorker');
  const served = new URL(WORKER_PATH + BUILD, address.replace(/^ws/, 'http'));
  const scripts = served.origin === location.origin ? [served] : [];
  if (worker !== undefined) scripts.push(new URL(worker, location.href));
  let reason = "a server of another origin needs the option 'worker'";
  for (const script of scripts) {
    try {
      return await start(script, BUILD);
    } catch (error) {
      reason = `${script.href} ${(error as Error).message}`;
    }
  }
  throw new Error(reason);
}

function start(script: URL, name: string): Promise<FoundHost> {
  return new Promise((resolve, reject) => {
    // The same options everywhere and always: the browser refuses a worker of the same name with others.
    const options = { name, extendedLifetime: true };
    const worker = new SharedWorker(script, options);
    const { port } = worker;
    const fail = (reason: string): void => {
      clearTimeout(timer);
      port.close();
      reject(new Error(reason));
    };
    const timer = setTimeout(fail, HOST_TIMEOUT_MS, 'is silent');
    worker.onerror = () => {
      fail('cannot be run');
    };
    port.onmessage = ({ data }: MessageEvent<HostToTab>) => {
      if (data.kind !== 'welcome') {
        fail('is no host');
        return;
      }
      clearTimeout(timer);
      resolve({ port, welcome: data, why: 'SharedWorker' });
    };
  });
}

import { PORT_PROTOCOL } from '../worker/host/port-protocol.ts';
import type { HostToTab } from '../worker/host/port-protocol.ts';
import type { FoundHost, TabEnvironment } from './environment.ts';
import { loadLeaderTab, ownFile } from './own-files.ts';
import { trusted } from './trusted-script.ts';

/** How long a worker may take to speak, in seconds. */
const HOST_LIMIT_S = 8;

/** File name of the worker's script, which names the build. */
export const BUILD = __WEBGRAM_WORKER_FILE__;

/**
 * Returns what finds the host of this browser: a SharedWorker, and where that cannot be had, or does not speak within 8 s,
 * one of the tabs, for which more is loaded. It throws with the reason when there is neither.
 *
 * @param address WebSocket address of the server.
 * @param worker Where the page has the worker's script. Default: where the build's other files are.
 * @throws {TypeError} when that is no address.
 */
export function hostFinder(address: string, worker?: string | URL): TabEnvironment['findHost'] {
  const own = new URL(worker ?? ownFile(BUILD, address), document.baseURI);
  return async (moved) => {
    let reason = moved?.why;
    if (moved?.script) return start(trusted(moved.script, own), moved.build);
    if (reason === undefined) {
      try {
        return await start(trusted(own, own), BUILD);
      } catch (error) {
        reason = `${String(own)} ${(error as Error).message}`;
      }
    }
    return (await loadLeaderTab()).findLeader(reason, BUILD);
  };
}

function start(script: string | URL, name: string): Promise<FoundHost> {
  return new Promise((resolve, reject) => {
    // The same options everywhere and always: the browser refuses a worker of the same name with others.
    const options = { name, extendedLifetime: true };
    const worker = new SharedWorker(script, options);
    const { port } = worker;
    let seconds = 0;
    // Counted, because a page that was busy itself has not yet seen what has come meanwhile.
    const timer = setInterval(() => {
      if (++seconds === HOST_LIMIT_S) fail('is silent');
    }, 1000);
    const fail = (reason: string): void => {
      clearInterval(timer);
      port.close();
      reject(new Error(reason));
    };
    worker.onerror = () => {
      fail('cannot be run');
    };
    port.onmessage = ({ data }: MessageEvent<HostToTab>) => {
      if (data.kind !== 'welcome') return;
      if (data.protocol < PORT_PROTOCOL) {
        // The worker of this page's own build takes the storage over.
        fail('is older');
        return;
      }
      clearInterval(timer);
      resolve({ port, welcome: data, why: 'SharedWorker' });
    };
  });
}

/** Address of the server where the application gives none: the root of the page's origin. */
export const HOME = '/';

/**
 * Returns where a file of the build is: in the folder that servers of ours have for them.
 *
 * @param address WebSocket address of the server.
 */
export function ownFile(name: string, address: string): URL {
  return new URL(`.well-known/webgram/${name}`, address.replace(/^ws/, 'http'));
}

/** Loads what a tab needs to be the host, or to follow the one that is. Few pages do. */
export function loadLeaderTab(): Promise<typeof import('./leader-tab/leader-tab.ts')> {
  return import('./leader-tab/leader-tab.ts');
}

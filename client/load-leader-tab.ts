/** Loads what a tab needs to be the host, or to follow the one that is. Few pages do. */
export function loadLeaderTab(): Promise<typeof import('./leader-tab/leader-tab.ts')> {
  return import('./leader-tab/leader-tab.ts');
}

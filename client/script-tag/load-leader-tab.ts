import type * as LeaderTab from '../leader-tab/leader-tab.ts';

// Only while the script runs; the other file is beside it.
const { src } = document.currentScript as HTMLScriptElement;

/** Loads what a tab needs to be the host, or to follow the one that is. Few pages do. */
export function loadLeaderTab(): Promise<typeof LeaderTab> {
  return import(/* @vite-ignore */ new URL(__WEBGRAM_LEADER_FILE__, src).href) as Promise<typeof LeaderTab>;
}

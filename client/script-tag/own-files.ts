import type * as LeaderTab from '../leader-tab/leader-tab.ts';
import { ownAddress } from './own-address.ts';

const [before, behind] = ownAddress.split('.well-known/webgram/');

/** The server that this file came from; the root of the page's origin when it lies elsewhere. */
export const HOME = behind ? before : '/';

/** Returns where a file of the build is: beside this one. */
export function ownFile(name: string): URL {
  return new URL(name, ownAddress);
}

/** Loads what a tab needs to be the host, or to follow the one that is. Few pages do. */
export function loadLeaderTab(): Promise<typeof LeaderTab> {
  return import(/* @vite-ignore */ ownFile(__WEBGRAM_LEADER_FILE__).href) as Promise<typeof LeaderTab>;
}

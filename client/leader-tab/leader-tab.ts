import type { FoundHost } from '../environment.ts';
import { Place } from './place.ts';

export { takeLeft } from './left-pages.ts';

/** Of this page, whatever number of clients it has. */
let place: Place | undefined;

/**
 * Finds the tab that is the host of this browser, where no SharedWorker can be; it may become this one.
 *
 * @param why Why there is no SharedWorker.
 * @param build Names the build.
 * @throws when this tab was to be the host and cannot.
 */
export function findLeader(why: string, build: string): Promise<FoundHost> {
  place ??= new Place(build);
  return place.find(why);
}

import { Hub } from './hub.ts';
import type { PortLike } from './tab-port.ts';
import type { Unfinished } from './unfinished.ts';

/** A host that can be ended, and what it has not finished handed over. A SharedWorker ends on its own. */
export class EndableHub extends Hub {
  /**
   * What is still to be finished for tabs that have gone; another host of this browser can `adopt` it.
   *
   * @param ports Of tabs that go together with this host.
   */
  unfinished(ports: ReadonlySet<PortLike>): Unfinished[] {
    const going = [...this.linkOf.keys()].filter(({ port }) => ports.has(port));
    return [...this.identityLinks].flatMap((identityLink) => {
      const { departures, ownerOf } = identityLink.tabs;
      const copies = going
        .filter((tab) => tab.copy !== undefined && ownerOf.get(tab.copy.tabID) === tab)
        .map(({ copy }) => copy)
        .filter((copy) => copy !== undefined);
      return [...departures.copies, ...copies].map((copy) => identityLink.unfinished(copy));
    });
  }

  /** Says goodbye to every server and closes. */
  close(): void {
    for (const identityLink of this.identityLinks) identityLink.close();
    this.identityLinks.clear();
    this.activeLinks.clear();
  }
}

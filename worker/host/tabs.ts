import type { DownEnvelope, OutcomeReason, TabDown, TabUp, UpEnvelope } from 'webgram';
import { Departures } from './departures.ts';
import type { Identity } from './identity.ts';
import type { IdentityInfo } from './port-protocol.ts';
import { StreamCopy } from './stream-copy.ts';
import { TabNumbers } from './tab-numbers.ts';
import type { TabPort } from './tab-port.ts';

/** What the tabs of an identity need of its link. */
export interface TabLink {
  readonly number: number;
  send(envelope: UpEnvelope): void;
}

/** What takes over the tabs of an identity. */
export type IdentityTabs = Pick<Tabs, 'add' | 'adopt'>;

/**
 * The tabs of one identity, and the departures of those that have gone: carries envelopes between them and the present
 * link, whose tab numbers it gives.
 */
export class Tabs {
  readonly #tabs = new Set<TabPort>();
  /** The port over which a tab has attached last, by tabID. */
  readonly ownerOf = new Map<string, TabPort>();
  readonly departures: Departures;
  readonly #strayed: (copy: StreamCopy) => void;
  #numbers = new TabNumbers();
  #link: TabLink | undefined;
  /** Of the identity that the link proves. */
  #localID = '';
  /** Those in whose place it came here: the server does not know them, or has ended them. */
  readonly #replaced = new Set<string>();

  /**
   * @param departed Called when the departure of a tab is over.
   * @param strayed Called when it is to be finished for another identity.
   */
  constructor(departed: () => void, strayed: (copy: StreamCopy) => void) {
    this.#strayed = strayed;
    this.departures = new Departures(
      (tabID, up) => {
        this.#link?.send({ ...up, tab: this.#numbers.give(tabID) });
      },
      (tabID) => {
        this.#numbers.retire(tabID);
        departed();
      },
      strayed,
    );
  }

  /** Nobody is here, and nobody's departure is under way. */
  get isEmpty(): boolean {
    return this.#tabs.size === 0 && this.departures.count === 0;
  }

  /** Whether the tab is here, or its departure is under way. */
  speaksFor(tabID: string): boolean {
    return this.ownerOf.has(tabID) || this.departures.has(tabID);
  }

  /** Finishes for a tab of a host before this one. */
  adopt(copy: StreamCopy): void {
    if (!this.ownerOf.has(copy.tabID)) this.departures.add(copy);
  }

  add(tab: TabPort): void {
    this.#tabs.add(tab);
    this.#offer(tab);
  }

  /** Which identity it is. Tabs whose streams are of another one, which is used still, are told. */
  identify(localID: string): void {
    if (localID !== this.#localID) this.#replaced.add(this.#localID);
    this.#replaced.delete(localID);
    this.#localID = localID;
    for (const tab of this.#tabs) this.sendElsewhere(tab);
  }

  /** Has a tab begin anew that does not know that another identity was made active. */
  sendElsewhere(tab: TabPort): void {
    if (this.#isElsewhere(tab.of ?? tab.copy?.localID)) tab.post({ kind: 'switch' });
  }

  /** Other tabs of the same identity take over whoever is here. */
  moveTo(other: IdentityTabs): void {
    for (const tab of this.#tabs) other.add(tab);
    this.#tabs.clear();
    for (const copy of this.departures.copies) other.adopt(copy);
  }

  /** Tabs that do not keep to an identity go over to the one that is active. @param to Which that is, if it is known. */
  switchFollowers(to: IdentityInfo | undefined): void {
    for (const tab of this.#tabs) if (tab.pin === undefined) tab.post({ kind: 'switch', to });
  }

  /** Tabs that keep to another identity than this one have to look for it. */
  sendStrangers(isOwn: (name: string) => boolean): void {
    for (const tab of this.#tabs) {
      if (tab.pin !== undefined && !isOwn(tab.pin)) tab.post({ kind: 'switch' });
    }
  }

  /** Tabs that keep to this identity are told that it has ended, and close. */
  denyPinned(reason: string): void {
    const state = { name: 'denied', reason } as const;
    for (const tab of this.#tabs) if (tab.pin !== undefined) tab.post({ kind: 'state', state });
  }

  /**
   * All tabs have to look for another host, and offer there again what they have sent. Those that have gone depart from
   * here, when their last messages have come in.
   */
  dropAll(): void {
    for (const tab of this.#tabs) {
      if (tab.isLeaving) continue;
      tab.close();
      this.#tabs.delete(tab);
      if (tab.copy !== undefined) this.ownerOf.delete(tab.copy.tabID);
    }
  }

  /** Forgets a tab that has to look for another host. */
  drop(tab: TabPort): void {
    this.#tabs.delete(tab);
  }

  /** The tab speaks over another port from now on. */
  replace(older: TabPort, newer: TabPort): void {
    this.#tabs.delete(older);
    newer.copy = older.copy;
    if (newer.copy !== undefined) this.ownerOf.set(newer.copy.tabID, newer);
  }

  /** The tab has gone: what it had handed over is finished for it. */
  depart(tab: TabPort): void {
    this.#tabs.delete(tab);
    const { copy } = tab;
    if (copy === undefined || this.ownerOf.get(copy.tabID) !== tab) return;
    this.ownerOf.delete(copy.tabID);
    if (copy.refusal === 'forgotten') this.#numbers.retire(copy.tabID);
    else if (copy.isOfAnother(this.#localID) && !this.#replaced.has(copy.localID!)) this.#strayed(copy);
    else this.departures.add(copy);
  }

  tell(message: Parameters<TabPort['post']>[0]): void {
    for (const tab of this.#tabs) tab.post(message);
  }

  /** A new link can take envelopes, and proves this identity. */
  linked(link: TabLink, { localID }: Identity): void {
    this.#link = link;
    this.identify(localID);
    this.#numbers = new TabNumbers();
    for (const tab of this.#tabs) this.#offer(tab);
    this.departures.linked(localID);
  }

  /** Whether a stream is of an identity that is used still, and not here. */
  #isElsewhere(of: string | undefined): boolean {
    return of !== undefined && this.#localID !== '' && of !== this.#localID && !this.#replaced.has(of);
  }

  /** Offers the present link to a tab. */
  #offer(tab: TabPort): void {
    if (this.#link !== undefined) tab.post({ kind: 'link', link: this.#link.number });
  }

  unlinked(): void {
    this.#link = undefined;
    this.departures.unlinked();
  }

  /**
   * A server time was heard behind the attaches of these tabs. Whether the server takes them is not known yet, so only
   * those become older by it that would seem to have no age.
   */
  heard(timeMs: number): void {
    for (const { copy } of this.#tabs) {
      // One whose attach is still to come would seem to be as young as this.
      const isOnItsWay = copy !== undefined && this.#numbers.numberOf(copy.tabID) !== undefined;
      if (isOnItsWay && copy.attach.seen.timeMs === 0) copy.heard(timeMs);
    }
  }

  /** Takes what a tab sends, for the link that it knows of. */
  up(tab: TabPort, linkNumber: number, up: TabUp): void {
    if (!this.#tabs.has(tab)) {
      if (tab.copy !== undefined) this.departures.addLate(tab.copy.tabID, up);
      return;
    }
    if (up.kind === 'attach') this.#attach(tab, up);
    else if ('seq' in up) tab.copy?.add(up);

    const { copy } = tab;
    // What was meant for another link comes again behind the attach to this one.
    if (copy === undefined || linkNumber !== this.#link?.number) return;
    if (this.ownerOf.get(copy.tabID) !== tab) return;
    if (copy.isOfAnother(this.#localID)) {
      // Otherwise it is on its way to that identity.
      if (up.kind === 'attach' && !this.#isElsewhere(copy.localID)) this.#forget(tab, copy);
      return;
    }
    const number = up.kind === 'attach' ? this.#numbers.give(copy.tabID) : this.#numbers.numberOf(copy.tabID);
    if (number === undefined) return;
    this.#link.send({ ...(up.kind === 'attach' ? copy.attach : up), tab: number });
  }

  /**
   * Takes an envelope of the server for one of the tabs.
   *
   * @param madeBecause Why this browser had to begin a new session: only it knows.
   * @param linkReason What this link tells in the place of the server's reason.
   */
  down(
    { tab: number, ...rest }: DownEnvelope & { tab: number },
    madeBecause?: OutcomeReason,
    linkReason?: OutcomeReason,
  ): void {
    const tabID = this.#numbers.tabOf(number);
    if (tabID === undefined || this.#link === undefined) return;
    const down = rest as TabDown;
    if (this.departures.has(tabID)) {
      this.departures.receive(tabID, down);
      return;
    }
    const tab = this.ownerOf.get(tabID);
    if (tab?.copy === undefined) return;
    tab.copy.receive(down);
    if (down.kind === 'attached' && typeof down.outcome === 'object') {
      const { outcome } = down;
      tab.copy.localID = this.#localID;
      const isNew = outcome.reason === 'new' || tab.hasLostSession;
      tab.hasLostSession = false;
      const isOther = isNew && madeBecause !== undefined;
      const reason = outcome.reason === 'joined' && !isOther ? undefined : linkReason;
      if (isOther || reason !== undefined) {
        const resumed = outcome.resumed && !isOther;
        down.outcome = { ...outcome, resumed, reason: reason ?? madeBecause ?? outcome.reason };
      }
    }
    tab.post({ kind: 'down', link: this.#link.number, envelope: down });
  }

  /** An envelope of that tab could not be sent. */
  dropped(number: number, code: string, message: string): void {
    const tabID = this.#numbers.tabOf(number);
    if (tabID !== undefined) this.ownerOf.get(tabID)?.post({ kind: 'notice', code, message });
  }

  /**
   * The tab spoke with another session: what it has sent there must not be done again here. It is told as the server
   * tells a tab that it has forgotten, and begins anew.
   */
  #forget(tab: TabPort, copy: StreamCopy): void {
    tab.hasLostSession = true;
    const { counter } = copy.attach;
    const nothing = { received: 0, life: 0, timeMs: 0, lineage: [] };
    const envelope: TabDown = { kind: 'attached', counter, outcome: 'forgotten', ...nothing };
    copy.receive(envelope);
    tab.post({ kind: 'down', link: this.#link!.number, envelope });
  }

  #attach(tab: TabPort, attach: TabUp & { kind: 'attach' }): void {
    const { copy } = tab;
    this.departures.cancel(attach.tabID);
    this.ownerOf.set(attach.tabID, tab);
    if (copy?.tabID === attach.tabID) {
      copy.attachAgain(attach);
      return;
    }
    if (copy !== undefined) {
      // The server had forgotten the tab's stream, and it began anew under another name.
      this.ownerOf.delete(copy.tabID);
      this.#numbers.retire(copy.tabID);
    }
    tab.copy = new StreamCopy(attach, tab.lock!);
    tab.copy.localID = tab.of;
    tab.of = undefined;
  }
}

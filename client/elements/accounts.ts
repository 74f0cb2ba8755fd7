import { html, nothing } from 'lit';
import type { PropertyDeclarations, TemplateResult } from 'lit';
import { repeat } from 'lit/directives/repeat.js';
import { Identities } from '../identities.ts';
import type { IdentitiesOf, IdentityEntry } from '../identities.ts';
import { ACCOUNTS_LABELS, type AccountsLabels } from './accounts-labels.ts';
import { accountsStyles } from './accounts-styles.ts';
import { renderAvatar } from './avatar.ts';
import { BaseElement, type ElementClient } from './base-element.ts';
import { baseStyles } from './base-styles.ts';
import { icons } from './icons.ts';

export type { AccountsLabels, ElementClient, IdentitiesOf, IdentityEntry };

/** Between the panel and what is around it, in px. */
const GAP = 8;
/** The panel opens above the button only where there is less room below, in px. */
const ENOUGH = 360;

/** What the events of `<webgram-accounts>` tell. All bubble, also out of shadow trees. */
export interface AccountsEventMap {
  /** The user wants to sign in with an identity that has no account: show the form. */
  'webgram-add': CustomEvent<{ identity: IdentityEntry }>;
  /** The user has switched this tab to another identity. */
  'webgram-switched': CustomEvent<{ identity: IdentityEntry }>;
  /** The user has signed out of these. */
  'webgram-signed-out': CustomEvent<{ identities: IdentityEntry[] }>;
}

/** `<webgram-accounts>`: the button and the panel by which a user switches, adds, names and leaves accounts. */
export interface AccountsElement extends HTMLElement {
  /** Whose accounts. Default: `webgram.client` of the script tag, as soon as there is one. */
  client: ElementClient | undefined;
  /** The wallet. Default: that of the client. */
  identities: IdentitiesOf | undefined;
  /** Words in place of the English ones. */
  labels: Partial<AccountsLabels>;
  /** Opens the panel. */
  show(): void;
  hide(): void;
}

/**
 * It is a disclosure: a button that unfolds a list. A `menu` may hold commands alone, and this has rows with more than
 * one button, a field, and news to read. Arrow keys go up and down all the same.
 *
 * @see https://www.w3.org/WAI/ARIA/apg/patterns/disclosure/
 */
class Accounts extends BaseElement<AccountsLabels> implements AccountsElement {
  static override styles = [baseStyles, accountsStyles];
  static override properties: PropertyDeclarations = {
    identities: { attribute: false },
    entries: { state: true },
    isOpen: { state: true },
    unfolded: { state: true },
    renaming: { state: true },
  };

  declare identities: IdentitiesOf | undefined;
  /** `undefined` until they are known. */
  declare private entries: IdentityEntry[] | undefined;
  declare private isOpen: boolean;
  /** The one whose options are shown. */
  declare private unfolded: string | undefined;
  /** The unfolded one has the field for its name in place of the options. */
  declare private renaming: boolean;
  protected readonly sources = ['client', 'identities'];
  protected readonly defaults = ACCOUNTS_LABELS;
  #wallet: IdentitiesOf | undefined;
  /** Counts the lists that came by themselves. */
  #changes = 0;
  #stopPlacing = new AbortController();

  constructor() {
    super();
    this.isOpen = false;
    this.renaming = false;
  }

  protected join(client: ElementClient | undefined): () => void {
    const wallet = this.identities ?? (client && new Identities(client));
    this.#wallet = wallet;
    this.entries = undefined;
    if (wallet === undefined) return () => undefined;
    const off = wallet.onChange((entries) => {
      this.#changes += 1;
      this.entries = entries;
    });
    void this.#load(wallet);
    return off;
  }

  protected follow(): void {
    // What is shown of accounts is the same with and without the server.
  }

  async #load(wallet: IdentitiesOf): Promise<void> {
    const changes = this.#changes;
    this.problem = undefined;
    try {
      const entries = await wallet.list();
      // A change that came meanwhile is newer.
      if (wallet === this.#wallet && changes === this.#changes) this.entries = entries;
    } catch (error) {
      if (wallet === this.#wallet) this.fail(error);
    }
  }

  override disconnectedCallback(): void {
    super.disconnectedCallback();
    this.#stopPlacing.abort();
    this.isOpen = false;
  }

  override focus(options?: FocusOptions): void {
    this.#button?.focus(options);
  }

  show(): void {
    const panel = this.#panel;
    if (panel === null || this.isOpen || !this.isConnected) return;
    panel.showPopover();
    this.isOpen = true;
    this.#place();
    this.#stopPlacing = new AbortController();
    const { signal } = this.#stopPlacing;
    addEventListener('resize', () => this.#place(), { signal });
    addEventListener('scroll', () => this.#place(), { signal, capture: true, passive: true });
  }

  hide(): void {
    if (this.isOpen) this.#panel?.hidePopover();
  }

  get #button(): HTMLElement | null {
    return this.shadowRoot?.querySelector<HTMLElement>('#button') ?? null;
  }

  get #panel(): HTMLElement | null {
    return this.shadowRoot?.querySelector<HTMLElement>('#panel') ?? null;
  }

  get #focused(): Element | null {
    return this.shadowRoot?.activeElement ?? null;
  }

  get #current(): IdentityEntry | undefined {
    return this.entries?.find(({ isCurrent }) => isCurrent);
  }

  /** The page may have pinned the tab by another word than the id; it is the one of this tab in any case. */
  #isPinned({ isCurrent }: IdentityEntry): boolean {
    return isCurrent && this.#wallet?.pinned !== undefined;
  }

  /** Those that can be signed out of. */
  get #accounts(): IdentityEntry[] {
    return (this.entries ?? []).filter(({ account }) => account !== undefined);
  }

  #nameOf({ name, label, account }: IdentityEntry): string {
    return name ?? label ?? account ?? this.say('nobody');
  }

  /** Below the button, its end at the end of that, and within the window. */
  #place(): void {
    const [button, panel] = [this.#button, this.#panel];
    if (button === null || panel === null) return;
    const at = button.getBoundingClientRect();
    const { clientWidth } = document.documentElement;
    const isRtl = getComputedStyle(this).direction === 'rtl';
    const wanted = isRtl ? at.left : at.right - panel.offsetWidth;
    const left = Math.max(GAP, Math.min(wanted, clientWidth - panel.offsetWidth - GAP));
    const below = innerHeight - at.bottom - 2 * GAP;
    const above = at.top - 2 * GAP;
    const isAbove = below < Math.min(ENOUGH, above);
    panel.style.setProperty('left', `${left}px`);
    panel.style.setProperty('top', isAbove ? 'auto' : `${at.bottom + GAP}px`);
    panel.style.setProperty('bottom', isAbove ? `${innerHeight - at.top + GAP}px` : 'auto');
    panel.style.setProperty('max-height', `${isAbove ? above : below}px`);
  }

  /** Told before, not after: what is shown is to be right at once. */
  #onToggle({ newState }: ToggleEvent): void {
    if (newState === 'open') return;
    // Focus that is hidden is lost.
    if (this.#panel?.contains(this.#focused)) this.focus();
    this.#stopPlacing.abort();
    this.isOpen = false;
    this.unfolded = undefined;
    this.renaming = false;
  }

  #onButton(event: Event): void {
    // The browser knows by `popovertarget` that the button belongs to the panel; the panel opens in its place.
    event.preventDefault();
    if (this.isOpen) this.hide();
    else if (this.#isLonely) void this.#add();
    else this.show();
  }

  /** Nobody is signed in, and there is nobody to switch to: the one thing to do is to sign in. */
  get #isLonely(): boolean {
    return this.entries !== undefined && this.#accounts.length === 0 && this.problem === undefined;
  }

  #onButtonKey(event: KeyboardEvent): void {
    if (event.key !== 'ArrowDown' || this.#isLonely) return;
    event.preventDefault();
    this.show();
    this.#stops[0]?.focus();
  }

  /** Up and down through the rows and commands, as in a menu; Tab goes through every button. */
  #onPanelKey(event: KeyboardEvent): void {
    const { key, target } = event;
    if (target instanceof HTMLInputElement) return;
    const stops = this.#stops;
    const focused = this.#focused;
    // Of a button beside a row, that row.
    const at = stops.findLastIndex(
      (stop) =>
        focused === stop ||
        (focused !== null && (stop.compareDocumentPosition(focused) & Node.DOCUMENT_POSITION_FOLLOWING) > 0),
    );
    const to = new Map([
      ['ArrowDown', (at + 1) % stops.length],
      ['ArrowUp', (Math.max(at, 0) - 1 + stops.length) % stops.length],
      ['Home', 0],
      ['End', stops.length - 1],
    ]).get(key);
    if (to === undefined) return;
    event.preventDefault();
    stops[to]?.focus();
  }

  get #stops(): HTMLElement[] {
    return [...(this.#panel?.querySelectorAll<HTMLElement>('[data-stop]') ?? [])];
  }

  #tell<T extends keyof AccountsEventMap>(type: T, detail: AccountsEventMap[T]['detail']): void {
    this.dispatchEvent(new CustomEvent(type, { detail, bubbles: true, composed: true }));
  }

  /** Does something with the wallet; what goes wrong shows in the panel. */
  async #do(what: string, action: (wallet: IdentitiesOf) => Promise<string | undefined>): Promise<boolean> {
    const wallet = this.#wallet;
    if (wallet === undefined) return false;
    const isDone = await this.run(what, async () => {
      const said = await action(wallet);
      // Which one this tab has is no change of the list.
      await this.#load(wallet);
      return said;
    });
    if (this.problem !== undefined) this.show();
    return isDone;
  }

  async #add(): Promise<void> {
    let identity: IdentityEntry | undefined;
    await this.#do('add', async (wallet) => {
      identity = await wallet.add();
      return undefined;
    });
    if (identity === undefined) return;
    this.hide();
    this.#tell('webgram-add', { identity });
  }

  async #switchTo(identity: IdentityEntry): Promise<void> {
    if (identity.isCurrent) return this.hide();
    const isDone = await this.#do(`switch ${identity.id}`, async (wallet) => {
      await wallet.switchTo(identity.id);
      return this.say('switched', { name: this.#nameOf(identity) });
    });
    if (!isDone) return;
    this.hide();
    this.#tell('webgram-switched', { identity });
  }

  async #pin(entry: IdentityEntry): Promise<void> {
    const wasPinned = this.#isPinned(entry);
    const identity = wasPinned ? this.entries?.find(({ isActive }) => isActive) : entry;
    const isDone = await this.#do(`pin ${entry.id}`, async (wallet) => {
      await wallet.pin(wasPinned ? undefined : entry.id);
      return wasPinned ? this.say('unpinned') : this.say('pinned', { name: this.#nameOf(entry) });
    });
    if (isDone && identity?.isCurrent === false) this.#tell('webgram-switched', { identity });
  }

  async #rename(entry: IdentityEntry, name: string): Promise<void> {
    const isDone = await this.#do(`rename ${entry.id}`, async (wallet) => {
      await wallet.rename(entry.id, name);
      return this.say('renamed', { name: name || (entry.label ?? entry.account ?? this.say('nobody')) });
    });
    if (isDone) await this.#endRenaming();
  }

  async #startRenaming(): Promise<void> {
    this.renaming = true;
    await this.enterField();
  }

  async #endRenaming(): Promise<void> {
    const hadFocus = this.#focused?.closest('.options') !== null;
    this.renaming = false;
    await this.updateComplete;
    if (hadFocus) this.renderRoot.querySelector<HTMLElement>('.options button')?.focus();
  }

  async #signOut(identity: IdentityEntry): Promise<void> {
    const name = this.#nameOf(identity);
    const isDone = await this.#do(`sign-out ${identity.id}`, async (wallet) => {
      await wallet.signOut(identity.id);
      return this.say(this.isActive ? 'signedOut' : 'signedOutOffline', { name });
    });
    if (!isDone) return;
    if (identity.isCurrent) this.hide();
    this.#tell('webgram-signed-out', { identities: [identity] });
  }

  async #signOutAll(): Promise<void> {
    const identities = this.#accounts;
    this.hide();
    const isSure = await this.confirm({
      title: this.say('signOutAllTitle'),
      text: this.say('signOutAllText', { count: String(identities.length) }),
      action: this.say('signOut'),
    });
    if (!isSure) return;
    const isDone = await this.#do('sign-out-all', async (wallet) => {
      await wallet.signOutAll();
      return this.say('signedOutAll');
    });
    if (isDone) this.#tell('webgram-signed-out', { identities });
  }

  protected override render(): TemplateResult {
    return html`
      ${this.#renderButton()}
      <div
        id="panel"
        part="panel"
        popover
        role="group"
        aria-label=${this.say('accounts')}
        aria-busy=${this.busy === undefined ? nothing : 'true'}
        @beforetoggle=${this.#onToggle}
        @keydown=${this.#onPanelKey}
      >
        <div class="news">
          ${this.renderNotice()} ${this.renderProblem(this.entries === undefined ? this.#retry : undefined)}
        </div>
        <ul part="list" role="list" aria-label=${this.say('accounts')}>
          ${repeat(
            this.entries ?? [],
            ({ id }) => id,
            (entry, index) => this.#renderAccount(entry, index),
          )}
        </ul>
        <div class="commands">${this.#renderCommands()}</div>
      </div>
      ${this.renderAside()}
    `;
  }

  readonly #retry = () => {
    if (this.#wallet !== undefined) void this.#load(this.#wallet);
  };

  #renderButton(): TemplateResult {
    const current = this.#current;
    const isSignedOut = this.entries !== undefined && current?.account === undefined;
    const name = current && this.#nameOf(current);
    const trouble = this.noticeText;
    const face = { name, account: current?.account, picture: current?.picture };
    return html`
      <button
        id="button"
        part="button"
        type="button"
        class=${isSignedOut ? 'words' : ''}
        popovertarget=${this.#isLonely ? nothing : 'panel'}
        aria-controls=${this.#isLonely ? nothing : 'panel'}
        aria-expanded=${this.#isLonely ? nothing : String(this.isOpen)}
        @click=${this.#onButton}
        @keydown=${this.#onButtonKey}
      >
        ${
          isSignedOut
            ? html`${icons.person}<span>${this.say('signIn')}</span>`
            : html`${renderAvatar(face)}<span class="unseen"
                  >${this.say('button', { name: name ?? '…' })}</span
                >`
        }
        ${this.#renderBadge(trouble !== undefined)}
        ${trouble === undefined ? nothing : html`<span class="unseen">${trouble}</span>`}
      </button>
    `;
  }

  #renderBadge(isTrouble: boolean): TemplateResult | typeof nothing {
    if (this.busy !== undefined) return html`<span class="badge busy"><span class="spinner"></span></span>`;
    if (isTrouble) return html`<span part="badge" class="badge">${icons.offline}</span>`;
    if (this.#wallet?.pinned !== undefined) return html`<span part="badge" class="badge">${icons.pin}</span>`;
    return nothing;
  }

  #renderAccount(entry: IdentityEntry, index: number): TemplateResult {
    const name = this.#nameOf(entry);
    const isUnfolded = this.unfolded === entry.id;
    return html`<li part="account" data-key=${entry.id}>
      <div class="line">
        <button
          type="button"
          part="switch"
          class="row"
          data-stop
          aria-current=${entry.isCurrent ? 'true' : nothing}
          aria-disabled=${this.busy === undefined ? nothing : 'true'}
          @click=${() => this.#switchTo(entry)}
        >
          ${renderAvatar({
            name: entry.account === undefined ? undefined : name,
            account: entry.account,
            picture: entry.picture,
          })}
          <span class="words">
            <span part="name" class="name" dir="auto" title=${name}>${name}</span>
            ${this.#renderDetail(entry, name)}
          </span>
          ${
            this.busy === `switch ${entry.id}`
              ? html`<span class="spinner"></span>`
              : entry.isCurrent
                ? icons.check
                : nothing
          }
        </button>
        <button
          type="button"
          part="more"
          class="icon"
          aria-label=${this.say('options', { name })}
          aria-expanded=${String(isUnfolded)}
          aria-controls="options-${index}"
          @click=${() => {
            this.unfolded = isUnfolded ? undefined : entry.id;
            this.renaming = false;
          }}
        >
          ${icons.more}
        </button>
      </div>
      <div id="options-${index}" class="options" ?hidden=${!isUnfolded}>
        ${isUnfolded ? (this.renaming ? this.#renderField(entry) : this.#renderOptions(entry)) : nothing}
      </div>
    </li>`;
  }

  #renderDetail(entry: IdentityEntry, name: string): TemplateResult | typeof nothing {
    const account = entry.account === name ? undefined : entry.account;
    const where =
      this.#wallet?.pinned === undefined
        ? undefined
        : entry.isCurrent
          ? this.say('onlyHere')
          : entry.isActive
            ? this.say('elsewhere')
            : undefined;
    if (account === undefined && where === undefined) return nothing;
    return html`${account === undefined ? nothing : html`<span part="detail" class="detail" dir="auto" title=${account}>${account}</span>`}
    ${where === undefined ? nothing : html`<span part="detail" class="detail">${where}</span>`}`;
  }

  #renderOptions(entry: IdentityEntry): TemplateResult {
    const isSignedIn = entry.account !== undefined;
    const isPinned = this.#isPinned(entry);
    return html`
      ${this.#renderCommand('rename', icons.pen, () => this.#startRenaming())}
      ${this.#renderCommand('pin', icons.pin, () => this.#pin(entry), isPinned)}
      ${
        isSignedIn || !entry.isCurrent
          ? this.#renderCommand(isSignedIn ? 'signOut' : 'remove', icons.signOut, () => this.#signOut(entry))
          : nothing
      }
    `;
  }

  #renderField(entry: IdentityEntry): TemplateResult {
    return this.renderField({
      label: this.say('nameField'),
      value: entry.name ?? '',
      placeholder: entry.label ?? entry.account ?? '',
      save: (name) => void this.#rename(entry, name),
      cancel: () => void this.#endRenaming(),
    });
  }

  #renderCommands(): TemplateResult {
    const isSignedOut = this.#current?.account === undefined;
    const [first, ...others] = this.#accounts;
    return html`
      ${this.#renderCommand(isSignedOut ? 'signIn' : 'add', icons.add, () => this.#add())}
      ${
        first === undefined
          ? nothing
          : others.length > 0
            ? this.#renderCommand('signOutAll', icons.signOut, () => this.#signOutAll())
            : this.#renderCommand('signOut', icons.signOut, () => this.#signOut(first))
      }
    `;
  }

  /** @param isPressed For what is on or off. */
  #renderCommand(
    name: 'add' | 'pin' | 'remove' | 'rename' | 'signIn' | 'signOut' | 'signOutAll',
    icon: TemplateResult,
    act: () => unknown,
    isPressed?: boolean,
  ): TemplateResult {
    return html`<button
      type="button"
      part="command"
      class="command"
      data-stop
      aria-pressed=${isPressed ?? nothing}
      aria-disabled=${this.busy === undefined ? nothing : 'true'}
      @click=${act}
    >
      ${icon}<span>${this.say(name)}</span>${isPressed ? icons.check : nothing}
    </button>`;
  }
}

/** The class, for a tag name of your own; `accounts-define` registers it as `webgram-accounts`. */
export const AccountsElement: new () => AccountsElement = Accounts;

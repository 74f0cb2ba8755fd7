import { html, nothing } from 'lit';
import type { PropertyDeclarations, TemplateResult } from 'lit';
import { repeat } from 'lit/directives/repeat.js';
import { Devices, type Device, type DeviceSession } from '../devices.ts';
import type { ClientState } from '../state.ts';
import { BaseElement, codeOf, type ElementClient, type Question } from './base-element.ts';
import { baseStyles } from './base-styles.ts';
import { DEVICES_LABELS, type DevicesLabels } from './devices-labels.ts';
import { devicesStyles } from './devices-styles.ts';
import { icons } from './icons.ts';
import { StepUpEvent } from './step-up-event.ts';
import { languageOf, sayAgo, sayDate } from './times.ts';

export { StepUpEvent };
export type { DeviceSession, DevicesLabels, ElementClient };

const HANDHELD = /^(android|ios|iphone|ipad)$/i;

/** What `<webgram-devices>` asks: a `Devices`. */
export type DevicesSource = Pick<Devices, 'list' | 'rename' | 'revoke' | 'revokeOthers'>;

/** What the events of `<webgram-devices>` tell. All bubble, also out of shadow trees. */
export interface DevicesEventMap {
  'webgram-step-up': StepUpEvent;
  /** The user has signed these out. */
  'webgram-revoked': CustomEvent<{ devices: DeviceSession[] }>;
}

/** `<webgram-devices>`: where the user is signed in, to name and to end. */
export interface DevicesElement extends HTMLElement {
  /** Whose devices. Default: `webgram.client` of the script tag, as soon as there is one. */
  client: ElementClient | undefined;
  /** What is asked. Default: `new Devices(client)`. */
  devices: DevicesSource | undefined;
  /** Words in place of the English ones. */
  labels: Partial<DevicesLabels>;
  /** Asks for the list again, as it does by itself when the page is seen or connected again. */
  refresh(): Promise<void>;
}

class DevicesList extends BaseElement<DevicesLabels> implements DevicesElement {
  static override styles = [baseStyles, devicesStyles];
  static override properties: PropertyDeclarations = {
    devices: { attribute: false },
    sessions: { state: true },
    renaming: { state: true },
  };

  declare devices: DevicesSource | undefined;
  /** This device first, then as they were used; `undefined` until they are known. */
  declare private sessions: DeviceSession[] | undefined;
  declare private renaming: number | undefined;
  protected readonly sources = ['client', 'devices'];
  protected readonly defaults = DEVICES_LABELS;
  #source: DevicesSource | undefined;
  /** Counts the lists that were asked for: what an earlier one brings is old. */
  #asked = 0;
  /** Why there was no list at the last try. */
  #unlisted: typeof this.problem;
  /** Counts the accounts whose devices were shown: what the user wants of one is not done to another. */
  #accounts = 0;

  protected join(client: ElementClient | undefined): () => void {
    this.#source = this.devices ?? (client && new Devices(client));
    this.#forget();
    void this.refresh();
    const look = () => {
      if (document.visibilityState === 'visible') void this.refresh();
    };
    document.addEventListener('visibilitychange', look);
    const off = client?.on('$switched', () => {
      // They are another account's. Those of this one are asked for when it is in session.
      this.#asked += 1;
      this.#forget();
    });
    return () => {
      document.removeEventListener('visibilitychange', look);
      off?.();
    };
  }

  #forget(): void {
    this.#accounts += 1;
    this.endQuestion();
    this.sessions = this.renaming = this.problem = undefined;
  }

  protected follow({ name }: ClientState): void {
    if (name === 'active') void this.refresh();
  }

  async refresh(): Promise<void> {
    const source = this.#source;
    const asked = ++this.#asked;
    if (source === undefined) return;
    try {
      const sessions = await source.list();
      if (asked !== this.#asked) return;
      this.sessions = sessions.toSorted(
        (a, b) => Number(b.isCurrent) - Number(a.isCurrent) || b.lastUsed.getTime() - a.lastUsed.getTime(),
      );
      if (this.problem === this.#unlisted) this.problem = undefined;
    } catch (error) {
      if (asked !== this.#asked) return;
      this.fail(error);
      this.#unlisted = this.problem;
    }
  }

  override focus(options?: FocusOptions): void {
    this.shadowRoot?.querySelector<HTMLElement>('button')?.focus(options);
  }

  /** The server's own words, which are English, stand in only for what it does not know. */
  #nameOf({ device, label }: DeviceSession): string {
    return device.name || (this.#kindOf(device) ?? label);
  }

  #kindOf({ browser, platform }: Device): string | undefined {
    if (browser === undefined || platform === undefined) return browser ?? platform;
    return this.say('kind', { browser, platform });
  }

  get #others(): DeviceSession[] {
    return (this.sessions ?? []).filter(({ isCurrent }) => !isCurrent);
  }

  /** Nothing can be changed now. */
  get #isIdle(): boolean {
    return this.busy !== undefined || (this.clientState !== undefined && !this.isActive);
  }

  /** Does something with the devices, and shows what they are then. */
  async #do(what: string, action: (source: DevicesSource) => Promise<string | undefined>): Promise<boolean> {
    const source = this.#source;
    if (source === undefined || this.#isIdle) return false;
    return this.run(what, async () => {
      const said = await action(source);
      await this.refresh();
      return said;
    });
  }

  /** Asks the user, unless nothing can be changed. */
  async #isSure(question: Question): Promise<boolean> {
    const account = this.#accounts;
    return !this.#isIdle && (await this.confirm(question)) && account === this.#accounts;
  }

  /**
   * Brings another proof as often as it is wanted.
   *
   * @returns `undefined` when the user gives none, or is another one by then.
   */
  async #withProof<T>(
    action: StepUpEvent['action'],
    sessionID: number | undefined,
    call: (proof?: unknown) => Promise<T>,
  ): Promise<T | undefined> {
    const account = this.#accounts;
    let proof: unknown;
    for (let attempt = 1; ; attempt++) {
      try {
        return await call(proof);
      } catch (error) {
        if (codeOf(error) !== 'WEBGRAM_STEP_UP_REQUIRED') throw error;
        const event = new StepUpEvent(action, sessionID, attempt);
        this.dispatchEvent(event);
        if (event.response === undefined) throw error;
        proof = await event.response;
        if (proof === undefined || proof === null || account !== this.#accounts) return undefined;
      }
    }
  }

  #tell(devices: DeviceSession[]): void {
    const detail: DevicesEventMap['webgram-revoked']['detail'] = { devices };
    this.dispatchEvent(new CustomEvent('webgram-revoked', { detail, bubbles: true, composed: true }));
  }

  async #revoke(device: DeviceSession): Promise<void> {
    const { sessionID } = device;
    const name = this.#nameOf(device);
    const isSure = await this.#isSure({
      title: this.say('revokeTitle', { name }),
      text: this.say('revokeText'),
      action: this.say('revoke'),
    });
    if (!isSure) return;
    let wasThere: boolean | undefined;
    const isDone = await this.#do(`revoke ${sessionID}`, async (source) => {
      wasThere = await this.#withProof('revoke', sessionID, (proof) => source.revoke(sessionID, proof));
      return this.say(wasThere === undefined ? 'kept' : wasThere ? 'revoked' : 'gone', { name });
    });
    if (isDone && wasThere) this.#tell([device]);
  }

  async #revokeOthers(): Promise<void> {
    const devices = this.#others;
    const isSure = await this.#isSure({
      title: this.say('revokeOthersTitle'),
      text: this.say('revokeOthersText', { count: String(devices.length) }),
      action: this.say('revoke'),
    });
    if (!isSure) return;
    let count: number | undefined;
    const isDone = await this.#do('revoke-others', async (source) => {
      count = await this.#withProof('revoke-others', undefined, (proof) => source.revokeOthers(proof));
      return count === undefined ? this.say('kept') : this.say('revokedOthers', { count: String(count) });
    });
    if (isDone && count !== undefined) this.#tell(devices);
  }

  async #startRenaming({ sessionID }: DeviceSession): Promise<void> {
    if (this.#isIdle) return;
    this.renaming = sessionID;
    await this.enterField();
  }

  async #endRenaming(): Promise<void> {
    const item = this.shadowRoot?.activeElement?.closest('li');
    this.renaming = undefined;
    await this.updateComplete;
    item?.querySelector<HTMLElement>('.rename')?.focus();
  }

  async #rename(session: DeviceSession, name: string): Promise<void> {
    const { sessionID } = session;
    const isDone = await this.#do(`rename ${sessionID}`, async (source) => {
      const wasThere = await source.rename(sessionID, name);
      if (!wasThere) return this.say('gone', { name: this.#nameOf(session) });
      return name === '' ? this.say('unnamed') : this.say('renamed', { name });
    });
    if (isDone) await this.#endRenaming();
  }

  protected override render(): TemplateResult {
    const { sessions } = this;
    return html`
      <div class="news">${this.renderProblem(sessions === undefined ? this.#retry : undefined)}</div>
      ${sessions === undefined ? this.#renderLoading() : this.#renderList(sessions)}
      <div class="foot">${this.renderNotice()} ${this.#renderRevokeOthers()}</div>
      ${this.renderAside()}
    `;
  }

  readonly #retry = () => {
    this.problem = undefined;
    void this.refresh();
  };

  /** As high as a list of two, so that little moves when it comes. */
  #renderLoading(): TemplateResult | typeof nothing {
    if (this.problem !== undefined) return nothing;
    const row = html`<div class="device blank"><span class="picture"></span><span class="bars"></span></div>`;
    return html`<div class="list" aria-busy="true">
      <span class="unseen">${this.say('loading')}</span>${row}${row}
    </div>`;
  }

  #renderList(sessions: DeviceSession[]): TemplateResult {
    const language = languageOf(this);
    return html`
      <ul
        part="list"
        class="list"
        role="list"
        aria-label=${this.say('devices')}
        aria-busy=${this.busy === undefined ? nothing : 'true'}
      >
        ${repeat(
          sessions,
          ({ sessionID }) => sessionID,
          (session) => this.#renderDevice(session, language),
        )}
      </ul>
    `;
  }

  #renderRevokeOthers(): TemplateResult | typeof nothing {
    if (this.#others.length === 0) return nothing;
    return html`<button
      type="button"
      part="revoke-others"
      class="plain danger others"
      aria-disabled=${this.#isIdle ? 'true' : nothing}
      @click=${() => this.#revokeOthers()}
    >
      ${this.busy === 'revoke-others' ? html`<span class="spinner"></span>` : nothing}
      <span>${this.say('revokeOthers')}</span>
    </button>`;
  }

  #renderDevice(session: DeviceSession, language: string | undefined): TemplateResult {
    const { sessionID, device, isCurrent, forked } = session;
    const name = this.#nameOf(session);
    return html`<li part="device" class="device">
      <span class="picture">${HANDHELD.test(device.platform ?? '') ? icons.phone : icons.desktop}</span>
      <div class="words">
        <p class="title">
          <bdi part="name" class="name">${name}</bdi>
          ${isCurrent ? html`<span part="badge" class="badge">${this.say('current')}</span>` : nothing}
          ${
            forked
              ? html`<span part="badge" class="badge warning">${icons.warning}${this.say('forked')}</span>`
              : nothing
          }
        </p>
        <p part="detail" class="detail">${this.#renderDetails(session, language)}</p>
      </div>
      ${
        this.renaming === sessionID
          ? this.#renderField(session)
          : html`<div class="actions">
              <button
                type="button"
                part="rename"
                class="icon rename"
                aria-label=${this.say('renameDevice', { name })}
                title=${this.say('rename')}
                aria-disabled=${this.#isIdle ? 'true' : nothing}
                @click=${() => this.#startRenaming(session)}
              >
                ${icons.pen}
              </button>
              ${
                isCurrent
                  ? nothing
                  : html`<button
                      type="button"
                      part="revoke"
                      class="plain"
                      aria-label=${this.say('revokeDevice', { name })}
                      aria-disabled=${this.#isIdle ? 'true' : nothing}
                      @click=${() => this.#revoke(session)}
                    >
                      ${
                        this.busy === `revoke ${sessionID}`
                          ? html`<span class="spinner"></span>`
                          : this.say('revoke')
                      }
                    </button>`
              }
            </div>`
      }
    </li>`;
  }

  #renderDetails(session: DeviceSession, language: string | undefined): TemplateResult[] {
    const { device, lastUsed, created, isOnline } = session;
    const { name, location } = device;
    const kind = name ? this.#kindOf(device) : undefined;
    const place = [location?.city, location?.country].filter(Boolean).join(', ');
    const used = this.say('lastUsed', { when: sayAgo(lastUsed.getTime(), Date.now(), language) });
    const details = [
      isOnline
        ? html`<span class="online">${this.say('online')}</span>`
        : html`<time datetime=${lastUsed.toISOString()}>${used}</time>`,
      kind && html`<span>${kind}</span>`,
      place && html`<span><bdi>${place}</bdi></span>`,
      html`<time datetime=${created.toISOString()}
        >${this.say('since', { when: sayDate(created, language) })}</time
      >`,
    ];
    // The space is for those who hear it, or copy it.
    return details.filter(Boolean).map((detail) => html`${detail} `);
  }

  #renderField(session: DeviceSession): TemplateResult {
    return this.renderField({
      label: this.say('nameField'),
      value: session.device.name ?? '',
      placeholder: this.#nameOf({ ...session, device: { ...session.device, name: '' } }),
      save: (name) => void this.#rename(session, name),
      cancel: () => void this.#endRenaming(),
    });
  }
}

/** The class, for a tag name of your own; `devices-define` registers it as `webgram-devices`. */
export const DevicesElement: new () => DevicesElement = DevicesList;

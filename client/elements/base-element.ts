import { html, LitElement, nothing } from 'lit';
import type { PropertyDeclarations, PropertyValues, TemplateResult } from 'lit';
import type { Asking } from '../devices.ts';
import type { ClientState } from '../state.ts';
import { icons } from './icons.ts';
import type { CommonLabels } from './labels.ts';

/** What the elements need of a client: a `Client` of any application. */
export interface ElementClient extends Asking {
  readonly state: ClientState;
  readonly pinned: string | undefined;
  pin(identity?: string): void;
  on(event: '$state', listener: (state: ClientState) => unknown): () => void;
  on(event: '$identities' | '$switched', listener: () => unknown): () => void;
}

/** What the user is asked before something is done. */
export interface Question {
  title: string;
  text: string;
  /** What the button says that does it. */
  action: string;
}

/** A name that the user can change. */
interface Field {
  label: string;
  value: string;
  placeholder: string;
  save: (name: string) => void;
  cancel: () => void;
}

/** What went wrong, in words and by its code. */
interface Problem {
  text: string;
  code: string;
}

/** Of accounts and of devices. */
const MAX_NAME_LENGTH = 64;

/**
 * What both elements do alike: find their client, follow its state, do one thing at a time, and say how it went.
 *
 * The client is looked for until there is one, so that the element may be there before the script that makes it.
 */
export abstract class BaseElement<L extends CommonLabels> extends LitElement {
  static override properties: PropertyDeclarations = {
    client: { attribute: false },
    labels: { attribute: false },
    clientState: { state: true },
    busy: { state: true },
    problem: { state: true },
    question: { state: true },
    said: { state: true },
  };

  declare client: ElementClient | undefined;
  declare labels: Partial<L>;
  /** Of the client; `undefined` while there is none. */
  declare protected clientState: ClientState | undefined;
  /** What is under way, one thing at a time. */
  declare protected busy: string | undefined;
  declare protected problem: Problem | undefined;
  /** What a screen reader is told of what was done. */
  declare private said: string;
  declare private question: Question | undefined;
  #hasJoined = false;
  /** What has the focus before what is shown changes: an entry of a list and its place there, or anything else. */
  #focused: { holder: Element; index: number | undefined } | undefined;
  #leave: (() => void)[] = [];

  constructor() {
    super();
    this.labels = {};
    this.said = '';
  }

  /** Names of the properties that say whose data is shown. */
  protected abstract readonly sources: readonly string[];
  /** The labels in English. */
  protected abstract readonly defaults: L;
  /** Begins to show what belongs to a client. @returns What ends that. */
  protected abstract join(client: ElementClient | undefined): () => void;
  /** The client's state has changed. */
  protected abstract follow(state: ClientState): void;

  override connectedCallback(): void {
    super.connectedCallback();
    this.requestUpdate();
  }

  override disconnectedCallback(): void {
    super.disconnectedCallback();
    this.#part();
    this.endQuestion();
  }

  protected override willUpdate(changed: PropertyValues): void {
    const focused = this.shadowRoot?.activeElement ?? undefined;
    const item = focused?.closest('li') ?? undefined;
    this.#focused = focused && { holder: item ?? focused, index: item && this.#items.indexOf(item) };
    if (this.isConnected) this.#joinAnew(changed);
  }

  /** What has gone with its focus hands that on to what stands in its place. */
  protected override updated(): void {
    const { holder, index } = this.#focused ?? {};
    this.#focused = undefined;
    if (holder === undefined || holder.isConnected || !this.isConnected) return;
    const items = this.#items;
    const next = index !== undefined && items[Math.min(index, items.length - 1)]?.querySelector('button');
    if (next) next.focus();
    else this.focus();
  }

  get #items(): HTMLLIElement[] {
    return [...this.renderRoot.querySelectorAll('li')];
  }

  #joinAnew(changed: PropertyValues): void {
    if (this.#hasJoined && !this.sources.some((name) => changed.has(name))) return;
    this.#part();
    this.#hasJoined = true;
    const client = this.client ?? clientOfPage();
    if (client === undefined) this.#lookLater();
    else this.#follow(client);
    this.#leave.push(this.join(client));
  }

  #follow(client: ElementClient): void {
    this.clientState = client.state;
    const off = client.on('$state', (state) => {
      this.clientState = state;
      this.follow(state);
    });
    this.#leave.push(off);
  }

  /** Every script that is loaded may be the one that makes the client. */
  #lookLater(): void {
    this.clientState = undefined;
    const look = () => {
      if (clientOfPage() === undefined) return;
      this.#part();
      this.requestUpdate();
    };
    document.addEventListener('load', look, true);
    this.#leave.push(() => document.removeEventListener('load', look, true));
  }

  #part(): void {
    this.#hasJoined = false;
    for (const leave of this.#leave.splice(0)) leave();
  }

  /** A label, with what stands in braces put in. */
  protected say(name: keyof L & string, values: Record<string, string> = {}): string {
    const label: unknown = this.labels[name] ?? this.defaults[name];
    return String(label).replace(/\{(\w+)\}/g, (braces, key: string) => values[key] ?? braces);
  }

  /**
   * Does one thing, unless another is under way, and tells how it went.
   *
   * @param what Names it, so that it shows where it is done.
   * @param action Returns what to tell; nothing when it shows.
   * @returns Whether it was done.
   */
  protected async run(what: string, action: () => Promise<string | undefined>): Promise<boolean> {
    if (this.busy !== undefined) return false;
    this.busy = what;
    this.problem = undefined;
    this.said = '';
    try {
      this.said = (await action()) ?? '';
      return true;
    } catch (error) {
      this.fail(error);
      return false;
    } finally {
      this.busy = undefined;
    }
  }

  protected fail(error: unknown): void {
    const code = codeOf(error);
    const labels = { ...this.defaults.errors, ...this.labels.errors };
    // Errors of the application have words of the application.
    const words = code.startsWith('WEBGRAM_') || !(error instanceof Error) ? '' : error.message;
    this.problem = { code, text: labels[code] ?? (words || this.say('failed')) };
  }

  /** Asks the user, in a modal dialog. @returns Whether it shall be done. */
  protected async confirm(question: Question): Promise<boolean> {
    this.question = question;
    await this.updateComplete;
    const dialog = this.#dialog;
    if (dialog === undefined || !this.isConnected) return false;
    dialog.returnValue = '';
    return new Promise((resolve) => {
      dialog.addEventListener('close', () => resolve(dialog.returnValue === 'yes'), { once: true });
      dialog.showModal();
    });
  }

  /** Who waits for the user's answer gets no. */
  protected endQuestion(): void {
    this.#dialog?.close();
  }

  get #dialog(): HTMLDialogElement | undefined {
    return this.renderRoot?.querySelector('dialog') ?? undefined;
  }

  /** Whether the server can be reached now. */
  protected get isActive(): boolean {
    return this.clientState?.name === 'active';
  }

  /** What the state of the client means for the user; nothing while all is well. */
  protected renderNotice(): TemplateResult | typeof nothing {
    const text = this.noticeText;
    if (text === undefined) return nothing;
    return html`<p part="notice" class="notice">${icons.offline}<span>${text}</span></p>`;
  }

  protected get noticeText(): string | undefined {
    const state = this.clientState;
    switch (state?.name) {
      case 'waiting':
      case 'offline':
        return this.say('offline');
      case 'denied':
        return this.say('ended');
      case 'closed':
        return this.say('closed', { code: state.code });
      default:
        return undefined;
    }
  }

  /** @param again What the button for another try does; without it there is none. */
  protected renderProblem(again?: () => void): TemplateResult {
    return html`<div role="alert">
      ${
        this.problem === undefined
          ? nothing
          : html`<div part="error" class="problem">
              ${icons.warning}
              <p>${this.problem.text} <code>${this.problem.code}</code></p>
              ${
                again === undefined
                  ? nothing
                  : html`<button type="button" class="quiet" @click=${again}>${this.say('retry')}</button>`
              }
              <button
                type="button"
                class="icon"
                aria-label=${this.say('dismiss')}
                @click=${() => (this.problem = undefined)}
              >
                ${icons.close}
              </button>
            </div>`
      }
    </div>`;
  }

  /** The field for a name, with what keeps it and what does not. */
  protected renderField({ label, value, placeholder, save, cancel }: Field): TemplateResult {
    const onSubmit = (event: SubmitEvent) => {
      event.preventDefault();
      const input = (event.target as HTMLFormElement).elements.namedItem('name') as HTMLInputElement;
      save(input.value.trim());
    };
    const onKey = (event: KeyboardEvent) => {
      if (event.key !== 'Escape') return;
      // Ends this, and not what is around it.
      event.preventDefault();
      event.stopPropagation();
      cancel();
    };
    return html`<form class="field" @submit=${onSubmit} @keydown=${onKey}>
      <label for="name">${label}</label>
      <input
        id="name"
        part="input"
        name="name"
        dir="auto"
        autocomplete="off"
        maxlength=${MAX_NAME_LENGTH}
        .value=${value}
        placeholder=${placeholder}
      />
      <div class="buttons">
        <button type="button" part="cancel" class="plain" @click=${cancel}>${this.say('cancel')}</button>
        <button
          part="confirm"
          class="plain primary"
          aria-disabled=${this.busy === undefined ? nothing : 'true'}
        >
          ${this.say('save')}
        </button>
      </div>
    </form>`;
  }

  /** Sets the field's text to be typed over. */
  protected async enterField(): Promise<void> {
    await this.updateComplete;
    this.renderRoot.querySelector('input')?.select();
  }

  /** The live region and the dialog; both stand outside of what can be hidden. */
  protected renderAside(): TemplateResult {
    const { question } = this;
    return html`
      <span role="status" class="unseen">${this.said}</span>
      <dialog part="dialog" aria-labelledby="dialog-title" aria-describedby="dialog-text">
        <form method="dialog">
          <h2 id="dialog-title">${question?.title}</h2>
          <p id="dialog-text">${question?.text}</p>
          <div class="buttons">
            <button part="cancel" class="plain" value="no" autofocus>${this.say('cancel')}</button>
            <button part="confirm" class="plain danger" value="yes">${question?.action}</button>
          </div>
        </form>
      </dialog>
    `;
  }
}

function clientOfPage(): ElementClient | undefined {
  return (globalThis as { webgram?: { client?: ElementClient } }).webgram?.client;
}

/** The code of an error of the library or of an application; else what kind of error it is. */
export function codeOf(error: unknown): string {
  if (error instanceof Error)
    return 'code' in error && typeof error.code === 'string' ? error.code : error.name;
  return typeof error;
}

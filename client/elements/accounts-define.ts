import { AccountsElement, type AccountsEventMap } from './accounts.ts';

declare global {
  interface HTMLElementTagNameMap {
    'webgram-accounts': AccountsElement;
  }
  interface HTMLElementEventMap {
    'webgram-add': AccountsEventMap['webgram-add'];
    'webgram-switched': AccountsEventMap['webgram-switched'];
    'webgram-signed-out': AccountsEventMap['webgram-signed-out'];
  }
}

// The page may have it by its bundler and by a script tag.
if (!customElements.get('webgram-accounts')) customElements.define('webgram-accounts', AccountsElement);

export * from './accounts.ts';

import { DevicesElement, type DevicesEventMap } from './devices.ts';

declare global {
  interface HTMLElementTagNameMap {
    'webgram-devices': DevicesElement;
  }
  interface HTMLElementEventMap {
    'webgram-step-up': DevicesEventMap['webgram-step-up'];
    'webgram-revoked': DevicesEventMap['webgram-revoked'];
  }
}

// The page may have it by its bundler and by a script tag.
if (!customElements.get('webgram-devices')) customElements.define('webgram-devices', DevicesElement);

export * from './devices.ts';

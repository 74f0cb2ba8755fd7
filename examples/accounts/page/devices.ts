import 'webgram-sessions/elements/devices-define';
import { element, make } from './elements.ts';

const place = element('device-list');

/** Shows the list anew. */
export function showDevices(): void {
  place.replaceChildren(make('webgram-devices'));
}

/** What is shown belongs to another user, or to nobody. */
export function forgetDevices(): void {
  place.replaceChildren();
}

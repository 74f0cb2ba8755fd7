import { Devices, type DeviceSession } from 'webgram-sessions/devices';
import { client } from './client.ts';
import { element, make, shortTime, wordsOf, write } from './elements.ts';
import { isSure } from './question.ts';

const devices = new Devices(client);
const others = element<HTMLButtonElement>('revoke-others');

others.addEventListener('click', () => {
  void attempt(async () => {
    const question = 'Log out every other browser? What they have not sent yet is lost.';
    if (await isSure(question, 'Log out')) await devices.revokeOthers();
  });
});

/** Asks for the list anew. */
export async function showDevices(): Promise<void> {
  await attempt(() => Promise.resolve());
}

/** What is shown belongs to another user, or to nobody. */
export function forgetDevices(): void {
  element('device-list').replaceChildren();
  write(element('devices-problem'), '');
}

/** Does something, and shows the list as it is then. */
async function attempt(work: () => Promise<unknown>): Promise<void> {
  const account = client.identity?.account;
  write(element('devices-problem'), '');
  try {
    await work();
    const list = await devices.list();
    if (client.identity?.account !== account) return;
    element('device-list').replaceChildren(...list.map(itemOf));
    others.hidden = list.length < 2;
  } catch (error) {
    write(element('devices-problem'), wordsOf(error));
  }
}

function itemOf({ sessionID, label, device, lastUsed, isOnline, isCurrent }: DeviceSession): HTMLElement {
  const name = make('input', { value: device.name ?? '', placeholder: label, maxLength: 64 });
  name.setAttribute('aria-label', `Name of ${label}`);
  const rename = make('form', {}, name, make('button', { className: 'quiet' }, 'Rename'));
  rename.addEventListener('submit', (event) => {
    event.preventDefault();
    void attempt(() => devices.rename(sessionID, name.value));
  });
  const revoke = make('button', { type: 'button', className: 'quiet' }, 'Log out');
  revoke.setAttribute('aria-label', `Log out ${label}`);
  revoke.addEventListener('click', () => {
    void attempt(async () => {
      const question = `Log out ${isCurrent ? 'this browser' : label}? What it has not sent yet is lost.`;
      if (await isSure(question, 'Log out')) await devices.revoke(sessionID);
    });
  });
  const place = [device.location?.city, device.location?.country].filter(Boolean).join(', ');
  const seen = isOnline ? 'Online now' : `Last used ${shortTime(lastUsed.getTime())}`;
  const words = [isCurrent ? 'This browser' : '', seen, place].filter(Boolean).join(' · ');
  const about = make('div', {}, make('strong', {}, label), make('span', {}, words));
  const item = make('li', {}, about, rename, revoke);
  item.dataset['online'] = String(isOnline);
  return item;
}

import { client } from './client.ts';
import { avatar, element, make, wordsOf } from './elements.ts';

// The place for a switcher of accounts: nothing else of the page knows what stands here.

const place = element('accounts');

export interface MenuEvents {
  /** Waits until what was written in this browser has arrived. @returns Whether to go on. */
  mayLogOut: () => Promise<boolean>;
  failed: (words: string) => void;
}

const out = make('button', { type: 'button', className: 'quiet' }, 'Log out');
const menu = make('details');

export function startMenu({ mayLogOut, failed }: MenuEvents): void {
  out.addEventListener('click', () => {
    void (async () => {
      try {
        // What arrives later would find nobody, or somebody else.
        if (await mayLogOut()) await client.ask('log-out');
      } catch (error) {
        failed(wordsOf(error));
      }
    })();
  });
  place.append(menu);
  document.addEventListener('click', ({ target }) => {
    if (!menu.contains(target as Node) || target instanceof HTMLAnchorElement) menu.open = false;
  });
  menu.addEventListener('keydown', ({ key }) => {
    if (key !== 'Escape' || !menu.open) return;
    menu.open = false;
    menu.querySelector('summary')?.focus();
  });
}

/** @param account Who is logged in; `undefined`: nobody. */
export function showMenu(account: string | undefined): void {
  place.hidden = account === undefined;
  out.disabled = client.state.name !== 'active';
  if (menu.dataset['account'] === account) return;
  menu.dataset['account'] = account;
  menu.open = false;
  if (account === undefined) return menu.replaceChildren();
  menu.replaceChildren(
    make('summary', {}, avatar(account), make('span', {}, account)),
    make('div', {}, make('a', { href: '#devices' }, 'Devices'), out),
  );
}

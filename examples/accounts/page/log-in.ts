import { client } from './client.ts';
import { element, wordsOf, write } from './elements.ts';

const form = element<HTMLFormElement>('log-in-form');
const name = element<HTMLInputElement>('name');
const password = element<HTMLInputElement>('password');

export function startLogIn(): void {
  form.addEventListener('submit', (event) => {
    event.preventDefault();
    void enter('log-in');
  });
  element('sign-up-button').addEventListener('click', () => {
    if (form.reportValidity()) void enter('sign-up');
  });
}

export function focusLogIn(): void {
  name.focus();
}

/** What was typed is for nobody else. */
export function forgetLogIn(): void {
  form.reset();
  write(element('log-in-problem'), '');
}

/** The server tells every tab of the browser who is there from now on, this one too. */
async function enter(how: 'log-in' | 'sign-up'): Promise<void> {
  if (form.ariaBusy === 'true') return;
  form.ariaBusy = 'true';
  write(element('log-in-problem'), '');
  try {
    await client.ask(how, name.value, password.value);
    form.reset();
  } catch (error) {
    write(element('log-in-problem'), wordsOf(error));
    password.select();
  } finally {
    form.ariaBusy = 'false';
  }
}

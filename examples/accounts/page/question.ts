import { element, write } from './elements.ts';

/** Asks the user before something is done that cannot be undone. @param yes What the button says that does it. */
export function isSure(question: string, yes: string): Promise<boolean> {
  const dialog = element<HTMLDialogElement>('question');
  write(element('question-text'), question);
  write(element('question-yes'), yes);
  dialog.returnValue = '';
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener('close', () => resolve(dialog.returnValue === 'yes'), { once: true });
  });
}

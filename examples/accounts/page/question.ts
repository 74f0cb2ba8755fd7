import { element, write } from './elements.ts';

const dialog = element<HTMLDialogElement>('question');

/** Asks the user before something is done that cannot be undone. @param yes What the button says that does it. */
export function isSure(question: string, yes: string): Promise<boolean> {
  write(element('question-text'), question);
  write(element('question-yes'), yes);
  dialog.returnValue = '';
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener(
      'close',
      () => {
        // It may name what is somebody else's by then.
        write(element('question-text'), '');
        resolve(dialog.returnValue === 'yes');
      },
      { once: true },
    );
  });
}

/** Answers no. */
export function endQuestion(): void {
  dialog.close();
}

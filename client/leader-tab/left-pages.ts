import type { Leaving } from '../../worker/host/port-protocol.ts';
import type { AskAboutLeft } from '../environment.ts';

/** How many notes are asked about at once; the others wait for the next page. */
const MAX_NOTES = 64;
/** So often a note is looked at before it is dropped: its session does not come back. */
const MAX_LOOKS = 20;

/** What a page has noted, and behind it how often it was too early to tell what has become of it. */
type Note = [...left: Required<Leaving>, looks?: number];

/**
 * Takes the notes of pages that have gone, so that no other page reports the same, and asks the host what was lost.
 * Those about which it is too early to tell are put back for the next page.
 *
 * @param prefix Of their names in `localStorage`.
 * @returns How many messages are lost. It does not reject when the host cannot say: all are put back then.
 */
export async function takeLeft(prefix: string, ask: AskAboutLeft): Promise<number> {
  const notes = new Map<string, Note>();
  for (const name of Object.keys(localStorage)) {
    if (!name.startsWith(prefix) || notes.size === MAX_NOTES) continue;
    const note = parseNote(localStorage.getItem(name));
    localStorage.removeItem(name);
    if (note !== undefined) notes.set(name, note);
  }
  const putBack = (): void => {
    for (const [name, [tabID, counter, oldest, next, sessionID, looks = 0]] of notes) {
      const note: Note = [tabID, counter, oldest, next, sessionID, looks + 1];
      if (looks + 1 < MAX_LOOKS) localStorage.setItem(name, JSON.stringify(note));
    }
    notes.clear();
  };
  // Nobody has been told yet when this page goes as well.
  addEventListener('pagehide', putBack);
  let sum = 0;
  try {
    const asked = [...notes.keys()];
    const answers = await ask(...[...notes.values()].map((note) => note.slice(0, 5) as Leaving));
    for (const [i, lost] of answers.entries()) {
      // Put back meanwhile.
      if (lost === null || !notes.delete(asked[i]!)) continue;
      sum += lost;
    }
  } catch {
    // The client has ended.
  }
  putBack();
  removeEventListener('pagehide', putBack);
  return sum;
}

/** Every script of the origin can write there. What the host does not understand it answers with 0. */
function parseNote(text: string | null): Note | undefined {
  try {
    const note: unknown = JSON.parse(text ?? '');
    return Array.isArray(note) ? (note as Note) : undefined;
  } catch {
    return undefined;
  }
}

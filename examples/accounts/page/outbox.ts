import type { Edit } from '../messages.ts';
import { client, openClientFor } from './client.ts';
import { wordsOf } from './elements.ts';
import type { Notebook } from './notebook.ts';

/** Edits that the browser has not said yet to have stored, oldest first. */
const storing = new Set<Edit>();

/** Sends what was written: from here on it arrives, whatever becomes of page, browser and server. */
export async function sendEdits(notebook: Notebook): Promise<void> {
  const edits = notebook.takeEdits(() => crypto.randomUUID());
  for (const edit of edits) storing.add(edit);
  await Promise.all(
    edits.map(async (edit) => {
      try {
        await client.durable.send('save-note', edit);
      } catch (error) {
        // Somebody has switched accounts before it was stored, and it was sent by `sendEditsAs` or is to be refused.
        if (storing.has(edit)) refuse(notebook, edit, error);
      } finally {
        storing.delete(edit);
      }
    }),
  );
}

/**
 * Sends what is left of an identity that this tab has been switched away from. What was stored already does no harm: the
 * server knows its revision.
 */
export async function sendEditsAs(identity: string, notebook: Notebook): Promise<void> {
  const edits = [...storing, ...notebook.takeEdits(() => crypto.randomUUID())];
  storing.clear();
  if (edits.length === 0) return;
  const sender = openClientFor(identity);
  await Promise.all(
    edits.map((edit) =>
      sender.durable.send('save-note', edit).catch((error: unknown) => refuse(notebook, edit, error)),
    ),
  );
  sender.close();
}

function refuse(notebook: Notebook, { id, revision }: Edit, error: unknown): void {
  notebook.refuse({ id, revision, message: wordsOf(error) });
}

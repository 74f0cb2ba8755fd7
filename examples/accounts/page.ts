import type { Note, NotesPage, Refusal } from './messages.ts';
import { showMenu, startMenu } from './page/accounts-menu.ts';
import { client } from './page/client.ts';
import { forgetDevices, showDevices } from './page/devices.ts';
import { focusEditor, showEditor, startEditor } from './page/editor.ts';
import { element, wordsOf, write } from './page/elements.ts';
import { startLogIn } from './page/log-in.ts';
import { showList } from './page/note-list.ts';
import { Notebook } from './page/notebook.ts';
import { isSure } from './page/question.ts';
import { showStatus } from './page/status.ts';

type View = 'loading' | 'log-in' | 'notebook' | 'devices' | 'ended';

/** How long after the last key an edit is sent, in ms: out of reach every one takes room in the queue. */
const PAUSE_MS = { online: 400, offline: 1_500 };

/** `undefined`: the server has not said yet who is there; `null`: nobody is. */
let notebook: Notebook | null | undefined;
let sessionID: number | undefined;
/** A note that has been begun and not written to. */
let newNoteID = '';
/** Counts the times that everything was asked for; the last one counts. */
let loads = 0;
/** What was told while everything was asked for: the answer may be older. */
let arrived: ((to: Notebook) => unknown)[] = [];
let pause: ReturnType<typeof setTimeout> | undefined;
/** Called when the queue is empty. */
const whenSent: (() => void)[] = [];

// ---- who is there

startLogIn();

client.on('$session-active', (session) => {
  // Another session is somebody else, of whom nothing here may be seen.
  if (sessionID !== undefined && sessionID !== session.sessionID) forget(undefined);
  sessionID = session.sessionID;
  void load();
});

client.on('account', (account) => {
  if (notebook?.account === account) return;
  forget(account === null ? null : undefined);
  if (account !== null) void load();
});

/** Empties everything that is of one user. */
function forget(next: null | undefined) {
  loads += 1;
  notebook = next;
  newNoteID = '';
  clearTimeout(pause);
  forgetDevices();
  tellNews('');
  if (location.hash !== '') history.replaceState(null, '', location.pathname);
  render();
}

/** Asks for everything there is, and who it is for. */
async function load() {
  const turn = (loads += 1);
  arrived = [];
  try {
    const notes: Note[] = [];
    for (let after: string | undefined = ''; after !== undefined;) {
      const page: NotesPage = await client.ask('notes', after);
      if (turn !== loads) return;
      if (page.account === null) return forget(null);
      if (notebook?.account !== page.account) notebook = new Notebook(page.account);
      notes.push(...page.notes);
      after = page.next;
    }
    notebook?.replace(notes, client.queue.count === 0);
    for (const tell of arrived) if (notebook) tell(notebook);
  } catch (error) {
    if (turn === loads) tellNews(wordsOf(error));
  }
  render();
}

// ---- what the server tells

client.on('note', (note) => told((to) => follow(to.take(note), note.id)));
client.on('note-gone', (id, version) => told((to) => to.remove(id, version)));

function told(tell: (to: Notebook) => unknown) {
  arrived.push(tell);
  if (notebook) tell(notebook);
  render();
}

/** What is being written has become a note of its own: whoever writes it stays with it. */
function follow(from: string | undefined, id: string) {
  if (from !== undefined && openID() === from) history.replaceState(null, '', `#${id}`);
}

client.on('not-kept', (refusal: Refusal) => {
  // It may have been written before a reload, and then its text is not here.
  if (!notebook?.refuse(refusal)) tellNews(`A change was not kept. ${refusal.message}`);
  render();
});

client.on('new-device', (label) => {
  tellNews(`You have logged in on another device: ${label}.`);
  if (viewNow() === 'devices') void showDevices();
});

client.on('$notice', ({ message }) => tellNews(message));

// ---- what is written here

startEditor({
  typed(id, title, text) {
    notebook?.write(id, title, text, Date.now());
    clearTimeout(pause);
    pause = setTimeout(send, client.state.name === 'active' ? PAUSE_MS.online : PAUSE_MS.offline);
    render();
  },
  discarded(id) {
    notebook?.discard(id);
    location.hash = '';
    render();
  },
});

element('new-note').addEventListener('click', () => {
  newNoteID = crypto.randomUUID();
  location.hash = newNoteID;
});

/** From here on it arrives, whatever becomes of page, browser and server. */
function send() {
  clearTimeout(pause);
  const from = notebook;
  for (const edit of from?.takeEdits(() => crypto.randomUUID()) ?? []) {
    client.durable.send('save-note', edit).catch((error: unknown) => {
      from?.refuse({ id: edit.id, revision: edit.revision, message: wordsOf(error) });
      render();
    });
  }
}

document.addEventListener('visibilitychange', send);
addEventListener('pagehide', send);

startMenu({
  async mayLogOut() {
    send();
    await new Promise<void>((resolve) => whenSent.push(resolve));
    const refused = notebook?.list().filter(({ problem }) => problem !== undefined) ?? [];
    if (refused.length === 0) return true;
    return isSure(`What was not kept of ${refused.length} notes is lost then.`, 'Log out');
  },
  failed: tellNews,
});

// ---- what is shown

addEventListener('hashchange', () => {
  send();
  render();
  if (viewNow() === 'devices') void showDevices();
  else if (openID() === newNoteID && newNoteID !== '') focusEditor();
});

element('begin-again').addEventListener('click', () => location.reload());

client.on('$state', render);
// The queue tells nobody when it changes.
setInterval(() => {
  showStatus();
  if (client.queue.count > 0 || notebook?.list().some(({ isWaiting, problem }) => isWaiting && !problem))
    return;
  for (const resolve of whenSent.splice(0)) resolve();
}, 250);
render();

function render() {
  const view = viewNow();
  document.body.dataset['view'] = view;
  for (const main of document.querySelectorAll('main')) main.hidden = main.id !== view;
  showStatus();
  showMenu(view === 'ended' ? undefined : notebook?.account);
  if (view === 'ended') showEnd();
  const id = openID();
  const entry = notebook?.get(id) ?? (id !== '' && id === newNoteID ? emptyEntry(id) : undefined);
  document.body.dataset['open'] = String(entry !== undefined);
  showList(view === 'ended' ? [] : (notebook?.list() ?? []), id);
  showEditor(view === 'ended' ? undefined : entry, notebook?.account ?? '', notebook?.otherTextOf(id));
}

function viewNow(): View {
  const { name } = client.state;
  if (name === 'denied' || name === 'closed') return 'ended';
  if (notebook === undefined) return 'loading';
  if (notebook === null) return 'log-in';
  return location.hash === '#devices' ? 'devices' : 'notebook';
}

function openID(): string {
  return location.hash.slice(1);
}

function emptyEntry(id: string) {
  return { id, title: '', text: '', note: undefined, changedMs: 0, isWaiting: false, problem: undefined };
}

function showEnd() {
  const { state, queue } = client;
  const lost = queue.count === 0 ? '' : ` ${queue.count} changes had not been sent.`;
  const why =
    state.name === 'denied'
      ? 'This browser was logged out from another device.'
      : `This page has no connection any more${state.name === 'closed' ? `: ${state.reason}` : ''}.`;
  write(element('ended-why'), why + lost);
}

/** Something that no part of the page stands for; '' takes it away. */
function tellNews(words: string) {
  element('news').hidden = words === '';
  write(element('news'), words);
}

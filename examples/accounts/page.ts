import 'webgram-sessions/elements/accounts-define';
import { Identities } from 'webgram-sessions/identities';
import type { Note, NotesPage, Refusal } from './messages.ts';
import { client } from './page/client.ts';
import { forgetDevices, showDevices } from './page/devices.ts';
import { focusEditor, showEditor, startEditor } from './page/editor.ts';
import { element, wordsOf, write } from './page/elements.ts';
import { focusLogIn, forgetLogIn, startLogIn } from './page/log-in.ts';
import { showList } from './page/note-list.ts';
import { Notebook } from './page/notebook.ts';
import { sendEdits, sendEditsAs } from './page/outbox.ts';
import { endQuestion } from './page/question.ts';
import { showStatus } from './page/status.ts';

type View = 'loading' | 'log-in' | 'notebook' | 'devices' | 'ended';

/** How long after the last key an edit is sent, in ms: out of reach every one takes room in the queue. */
const PAUSE_MS = { online: 400, offline: 1_500 };

/** `undefined`: the server has not said yet who is there; `null`: nobody is. */
let notebook: Notebook | null | undefined;
let sessionID: number | undefined;
/** A note that has been begun and not written to. */
let newNoteID = '';
/** What was written and is not known to be at the server, by the identity that it was written under, until that is signed out. */
const unfinished = new Map<string, Notebook>();
/** Counts the times that everything was asked for; the last one counts. */
let loads = 0;
/** What was told while everything was asked for: the answer may be older. */
let arrived: ((to: Notebook) => unknown)[] = [];
let pause: ReturnType<typeof setTimeout> | undefined;
/** The user wants to log in with one more account, as soon as the form is there. */
let isLogInWanted = false;

// ---- who is there

startLogIn();

// The tab has gone over to another account of this browser, or to none.
client.on('$switched', ({ from }) => {
  if (from !== undefined && notebook?.list().some(({ isWaiting }) => isWaiting)) {
    unfinished.set(from.id, notebook);
    void sendEditsAs(from.id, notebook);
  }
  forget(undefined);
});

new Identities(client).onChange((identities) => {
  for (const id of unfinished.keys()) if (!identities.some((one) => one.id === id)) unfinished.delete(id);
});

element('accounts').addEventListener('webgram-add', () => {
  isLogInWanted = true;
  render();
});

client.on('$session-active', (session) => {
  // Another session is somebody else, of whom nothing here may be seen.
  if (sessionID !== undefined && sessionID !== session.sessionID) forget(undefined);
  sessionID = session.sessionID;
  void load();
});

client.on('account', (account) => {
  if (notebook?.account === account) return;
  forget(undefined);
  void load();
});

/** Empties everything that is of one user. */
function forget(next: null | undefined) {
  loads += 1;
  notebook = next;
  newNoteID = '';
  clearTimeout(pause);
  forgetDevices();
  forgetLogIn();
  endQuestion();
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
      if (notebook?.account !== page.account) notebook = openNotebook(page.account);
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

/** With what was left in it here, if something was. */
function openNotebook(account: string): Notebook {
  const id = client.identity?.id ?? '';
  const left = unfinished.get(id);
  unfinished.delete(id);
  return left?.account === account ? left : new Notebook(account);
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
  tellNews(`You have signed in on another device: ${label}.`);
  if (viewNow() === 'devices') showDevices();
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

function send() {
  clearTimeout(pause);
  if (notebook) void sendEdits(notebook).then(render);
}

document.addEventListener('visibilitychange', send);
addEventListener('pagehide', send);
// Whoever switches or signs out does something else first, and what was sent before is still handled.
addEventListener('focusout', send);
element('accounts').addEventListener('click', send, { capture: true });

// ---- what is shown

addEventListener('hashchange', () => {
  send();
  render();
  if (viewNow() === 'devices') showDevices();
  else if (openID() === newNoteID && newNoteID !== '') focusEditor();
});

element('begin-again').addEventListener('click', () => {
  // What this tab kept to may be gone.
  client.pin();
  location.reload();
});

client.on('$state', render);
// The queue tells nobody when it changes.
setInterval(showStatus, 250);
render();

function render() {
  const view = viewNow();
  document.body.dataset['view'] = view;
  for (const main of document.querySelectorAll('main')) main.hidden = main.id !== view;
  showStatus();
  element('accounts').hidden = view === 'ended';
  element('devices-link').hidden = view !== 'notebook' && view !== 'devices';
  if (view === 'ended') showEnd();
  const id = openID();
  const entry = notebook?.get(id) ?? (id !== '' && id === newNoteID ? emptyEntry(id) : undefined);
  document.body.dataset['open'] = String(entry !== undefined);
  showList(view === 'ended' ? [] : (notebook?.list() ?? []), id);
  showEditor(view === 'ended' ? undefined : entry, notebook?.account ?? '', notebook?.otherTextOf(id));
  if (view !== 'log-in' || !isLogInWanted) return;
  isLogInWanted = false;
  focusLogIn();
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
  let why = `This page has no connection any more${state.name === 'closed' ? `: ${state.reason}` : ''}.`;
  if (state.name === 'denied')
    why =
      client.pinned === undefined
        ? 'This browser was signed out from another device.'
        : 'The account that this tab was for was signed out.';
  write(element('ended-why'), why + lost);
}

/** Something that no part of the page stands for; '' takes it away. */
function tellNews(words: string) {
  element('news').hidden = words === '';
  write(element('news'), words);
}

import type { AskError, Client } from 'webgram-sessions';
import type { App, Visitor } from './messages.ts';

/** Made by the script tag in index.html. */
declare const webgram: { client: Client<App> };

const { client } = webgram;
const input = element('number') as HTMLInputElement;
/** Stands where a number will be: what is sent or asked while the server is out of reach goes out later. */
const WAITING = '…';

element('form').addEventListener('submit', (event) => {
  event.preventDefault();
  write('result', WAITING);
  client.send('add-one', input.valueAsNumber);
});

client.on('added-one', (result) => show('result', result));

element('ask').addEventListener('click', () => {
  if (input.reportValidity()) void ask(input.valueAsNumber);
});

async function ask(x: number) {
  write('answer', WAITING);
  try {
    show('answer', await client.ask('incr', x));
    write('problem', '');
  } catch (error) {
    // Of the library, or an AskError of the server.
    const { code, message } = error as AskError;
    write('answer', '–');
    write('problem', `No answer: ${message} (${code}).`);
  }
}

client.on('visitor', ({ isRepeat, lastValue }: Visitor) => {
  write('visitor-kind', isRepeat ? 'Repeat' : 'New');
  if (!isRepeat) write('visitor', 'Welcome. This is your first visit.');
  else if (lastValue === undefined) write('visitor', 'Welcome back.');
  else write('visitor', `Welcome back. Your previous result was ${lastValue}.`);
  if (lastValue !== undefined) write('result', lastValue);
});

client.on('tabs', (count) => write('tabs', count));

client.on('$session-active', ({ sessionID }) => write('session', `No. ${sessionID}`));

client.on('$state', showState);
showState();
setInterval(showCountdown, 250);

function showState() {
  const { state, host } = client;
  element('link').dataset['state'] = state.name;
  write('host', host?.kind.replace('-', ' ') ?? '–');
  write('link-state', describeState());
  showCountdown();
  if (state.name === 'closed') write('visitor', `No session here: ${state.reason} (${state.code}).`);
  if (state.name === 'denied') write('visitor', `The server has ended this session (${state.reason}).`);
}

function describeState(): string {
  switch (client.state.name) {
    case 'connecting':
      return 'Connecting';
    case 'active':
      return 'Connected';
    case 'waiting':
      return 'Server out of reach';
    case 'offline':
      return 'Offline';
    case 'denied':
      return 'Ended';
    case 'closed':
      return 'Not connected';
  }
}

/** Stands beside the live region, so that it is not read aloud every second. */
function showCountdown() {
  const { state } = client;
  const left = state.name === 'waiting' ? Math.ceil((state.retryAtMs - Date.now()) / 1000) : 0;
  write('countdown', left > 0 ? `again in ${left} s` : '');
}

/** Shows a number that has just arrived, and lets it be seen that it did. */
function show(id: string, value: number) {
  const output = element(id);
  write(id, value);
  output.classList.remove('new');
  // Without a layout in between the animation would not begin again.
  void output.offsetWidth;
  output.classList.add('new');
}

/** Writes only what has changed: assistive technology reads every write. */
function write(id: string, text: string | number) {
  const target = element(id);
  if (target.textContent !== String(text)) target.textContent = String(text);
}

function element(id: string): HTMLElement {
  const found = document.getElementById(id);
  if (found === null) throw new Error(`index.html must have an element with the id '${id}'`);
  return found;
}

import { client } from './client.ts';
import { element, write } from './elements.ts';

/** Shows how the link stands, and what waits in this browser: all tabs share one queue. */
export function showStatus(): void {
  const link = element('link');
  link.dataset['state'] = client.state.name;
  write(link, describe());
}

function describe(): string {
  const { count } = client.queue;
  switch (client.state.name) {
    case 'active':
      return 'Connected';
    case 'connecting':
    case 'waiting':
    case 'offline': {
      const word = client.state.name === 'connecting' ? 'Connecting' : 'Offline';
      return count === 0 ? word : `${word}, ${count} ${count === 1 ? 'change' : 'changes'} waiting`;
    }
    case 'denied':
      return 'Signed out';
    case 'closed':
      return 'Not connected';
  }
}

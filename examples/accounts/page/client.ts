import type { Client, ClientOptions } from 'webgram-sessions';
import type { App } from '../messages.ts';

/** Made by the script tag in index.html. */
declare const webgram: {
  client: Client<App>;
  Client: new (address: undefined, options: ClientOptions) => Client<App>;
};

export const { client } = webgram;

/** Makes one for an identity that this tab does not have, or has no more. */
export function openClientFor(identity: string): Client<App> {
  return new webgram.Client(undefined, { identity });
}

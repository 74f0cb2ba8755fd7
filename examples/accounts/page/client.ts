import type { Client } from 'webgram-sessions';
import type { App } from '../messages.ts';

/** Made by the script tag in index.html. */
declare const webgram: { client: Client<App> };

export const { client } = webgram;

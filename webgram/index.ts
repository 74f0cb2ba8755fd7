export * from './app.ts';
export * from './backoff.ts';
export * from './close-codes.ts';
export * from './crypto.ts';
export * from './errors.ts';
export * from './limits.ts';
export * from './listeners.ts';
export * from './maybe-promise.ts';
export * from './unreachable.ts';

export * from './wire/base64url.ts';
export * from './wire/bytes.ts';
export * from './wire/close-code-of.ts';
export * from './wire/envelope.ts';
export * from './wire/frame.ts';
export * from './wire/json.ts';
export * from './wire/payload.ts';
export * from './wire/tick-batcher.ts';

export * from './handshake/client-handshake.ts';
export * from './handshake/messages.ts';
export * from './handshake/server-handshake.ts';
export * from './handshake/transcript.ts';
export * from './stream/asks.ts';
export * from './stream/inbox.ts';
export * from './stream/outbox.ts';
export * from './stream/position.ts';
export * from './stream/tab-stream.ts';

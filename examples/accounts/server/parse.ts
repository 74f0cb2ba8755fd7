import { AskError } from 'webgram-sessions/server';
import { LIMITS, type Edit } from '../messages.ts';

// A stranger's browser can send anything at all: what comes is unknown until it was looked at here.

/** User names are also parts of keys. */
const NAME = /^[a-z0-9][a-z0-9._-]{1,31}$/;
const ID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

/** @returns The name in small letters, as it is kept. */
export function parseName(name: unknown): string {
  const small = typeof name === 'string' ? name.slice(0, 100).trim().toLowerCase() : '';
  if (NAME.test(small)) return small;
  throw new AskError('bad-name', 'A name has 2 to 32 letters a to z, digits, dots, dashes or underscores.');
}

export function parsePassword(password: unknown): string {
  const { passwordMin, passwordMax } = LIMITS;
  if (typeof password === 'string' && password.length >= passwordMin && password.length <= passwordMax)
    return password;
  throw new AskError('bad-password', `A password has ${passwordMin} to ${passwordMax} characters.`);
}

/** An id as `crypto.randomUUID()` makes them. */
export function parseID(id: unknown): string {
  if (typeof id === 'string' && ID.test(id)) return id;
  throw new AskError('bad-request', 'That is no id.');
}

/** An id, or '' for none. */
export function parseOptionalID(id: unknown): string {
  return id === '' ? '' : parseID(id);
}

export function parseEdit(edit: unknown): Edit {
  if (typeof edit !== 'object' || edit === null) throw new AskError('bad-request', 'That is no edit.');
  const { account, id, base, revision, title, text } = edit as Record<string, unknown>;
  return {
    account: parseName(account),
    id: parseID(id),
    base: parseOptionalID(base),
    revision: parseID(revision),
    title: parseText(title, LIMITS.title, 'title'),
    text: parseText(text, LIMITS.text, 'text'),
  };
}

function parseText(text: unknown, max: number, what: string): string {
  if (typeof text === 'string' && text.length <= max) return text;
  throw new AskError('too-long', `A ${what} has at most ${max} characters.`);
}

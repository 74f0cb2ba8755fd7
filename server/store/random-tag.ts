import { randomBytes } from 'node:crypto';

/** Makes a version tag for a session's head: 16 random bytes as 22 characters of base64url. */
export function randomTag(): string {
  return randomBytes(16).toString('base64url');
}

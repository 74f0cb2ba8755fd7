import { readFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

export const ROOT = fileURLToPath(new URL('../../', import.meta.url));

/** A block of code of the README. */
export interface Snippet {
  language: string;
  code: string;
}

/** The code blocks of the README, in order. */
export function readmeSnippets(): Snippet[] {
  const text = readFileSync(path.join(ROOT, 'README.md'), 'utf8');
  return [...text.matchAll(/^```(\w+)\n([^]*?)^```$/gm)].map(([, language, code]) => ({
    language: language ?? '',
    code: code ?? '',
  }));
}

/** The block of that language that contains a text. */
export function snippetWith(language: string, part: string): string {
  const found = readmeSnippets().find(
    (snippet) => snippet.language === language && snippet.code.includes(part),
  );
  if (found === undefined) throw new Error(`the README has no ${language} block with ${part}`);
  return found.code;
}

import { createHash } from 'node:crypto';
import { promisify } from 'node:util';
import { brotliCompress, gzip } from 'node:zlib';

/** How a file can go over the wire, the shortest first (RFC 9110 section 8.4.1). */
export const CODINGS = ['br', 'gzip', 'identity'] as const;
export type Coding = (typeof CODINGS)[number];

const ENCODE: Record<Coding, (body: Buffer) => Promise<Buffer>> = {
  br: promisify<Buffer, Buffer>(brotliCompress),
  gzip: (body) => promisify<Buffer, { level: number }, Buffer>(gzip)(body, { level: 9 }),
  identity: (body) => Promise.resolve(body),
};

/** A built script that pages load from this server. */
export class BrowserFile {
  /** Its name has a hash of the content in it. */
  readonly isImmutable: boolean;
  readonly #body: Buffer;
  readonly #hash: string;
  readonly #encoded = new Map<Coding, Promise<Buffer>>();

  constructor(body: Buffer, isImmutable: boolean) {
    this.isImmutable = isImmutable;
    this.#body = body;
    this.#hash = createHash('sha256').update(body).digest('base64url');
  }

  /** Strong, and so another one for each coding (RFC 9110 section 8.8.3.3). */
  etag(coding: Coding): string {
    return coding === 'identity' ? `"${this.#hash}"` : `"${this.#hash}-${coding}"`;
  }

  /** Encoded when it is asked for first, and kept. */
  encoded(coding: Coding): Promise<Buffer> {
    let encoded = this.#encoded.get(coding);
    if (encoded === undefined) {
      encoded = ENCODE[coding](this.#body);
      this.#encoded.set(coding, encoded);
    }
    return encoded;
  }
}

import { STATUS_CODES, type IncomingMessage, type ServerResponse } from 'node:http';

/** Answers with a status and one short text. */
export function respondText(
  res: ServerResponse,
  status: number,
  text = STATUS_CODES[status] ?? '',
  headers: Record<string, string> = {},
): void {
  res.writeHead(status, {
    'Content-Type': 'text/plain; charset=utf-8',
    'Content-Length': Buffer.byteLength(text) + 1,
    'Cache-Control': 'no-store',
    'X-Content-Type-Options': 'nosniff',
    ...headers,
  });
  res.end(`${text}\n`);
}

/** Answers 405 unless it is GET or HEAD. @returns Whether the request may be answered. */
export function isReading(req: IncomingMessage, res: ServerResponse): boolean {
  if (req.method === 'GET' || req.method === 'HEAD') return true;
  respondText(res, 405, undefined, { Allow: 'GET, HEAD' });
  return false;
}

/** The path of a request as it was sent, without the query. */
export function rawPathOf(req: IncomingMessage): string {
  return (req.url ?? '/').split('?', 1)[0] ?? '/';
}

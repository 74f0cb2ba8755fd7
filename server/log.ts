/**
 * A structured logger; the loggers of pino, Fastify and the like fit.
 *
 * Fields never hold a key, a tag, a body or a keyID in the clear.
 */
export interface Logger {
  debug(fields: Record<string, unknown>, message: string): void;
  info(fields: Record<string, unknown>, message: string): void;
  warn(fields: Record<string, unknown>, message: string): void;
  error(fields: Record<string, unknown>, message: string): void;
}

function line(level: string, fields: Record<string, unknown>, message: string): string {
  const { error, ...rest } = fields;
  const details = Object.keys(rest).length > 0 ? ` ${JSON.stringify(rest)}` : '';
  const stack = error instanceof Error ? `\n${error.stack ?? error.message}` : '';
  return `webgram ${level}: ${message}${details}${stack}`;
}

/** Prints warnings and errors to the standard error stream, and nothing else. The default. */
export const quietLogger: Logger = {
  debug: () => undefined,
  info: () => undefined,
  warn: (fields, message) => {
    console.warn(line('warning', fields, message));
  },
  error: (fields, message) => {
    console.error(line('error', fields, message));
  },
};

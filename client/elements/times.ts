const MINUTE_MS = 60_000;

/** From the longest down, in ms. */
const UNITS = [
  ['year', 365 * 24 * 60 * MINUTE_MS],
  ['month', 30 * 24 * 60 * MINUTE_MS],
  ['week', 7 * 24 * 60 * MINUTE_MS],
  ['day', 24 * 60 * MINUTE_MS],
  ['hour', 60 * MINUTE_MS],
  ['minute', MINUTE_MS],
] as const;

/** Says how long ago something was, in the longest unit that is whole: "3 hours ago", "yesterday". */
export function sayAgo(fromMs: number, nowMs: number, language: string | undefined): string {
  // Clocks differ: nothing was in the future.
  const passedMs = Math.max(0, nowMs - fromMs);
  const [unit, unitMs] = UNITS.find(([, ms]) => passedMs >= ms) ?? UNITS[5];
  const format = new Intl.RelativeTimeFormat(language, { numeric: 'auto' });
  return format.format(-Math.floor(passedMs / unitMs), unit);
}

export function sayDate(date: Date, language: string | undefined): string {
  return new Intl.DateTimeFormat(language, { dateStyle: 'medium' }).format(date);
}

/** @returns The language of the page where the element stands, else `undefined`, which is that of the browser. */
export function languageOf(element: Element): string | undefined {
  const language = element.closest<HTMLElement>('[lang]')?.lang;
  try {
    return Intl.getCanonicalLocales(language)[0];
  } catch {
    return undefined; // Not a language that there is.
  }
}

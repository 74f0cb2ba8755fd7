/** Whether this runs in a page; not so where an application renders on its server. */
export function inPage(): boolean {
  return (globalThis.document as Document | undefined) !== undefined;
}

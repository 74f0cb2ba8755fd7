/** Ends a `switch` over a union: a case that is missing there does not compile here. */
export function unreachable(value: never): never {
  throw new TypeError(`unreachable: ${typeof value}`);
}

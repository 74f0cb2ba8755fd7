/** Files that browsers load run nowhere else. */
export function inPage(): boolean {
  return true;
}

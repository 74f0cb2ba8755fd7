/** Lets calls through, unless a test holds them. */
export class Gate {
  /** What a call waits for. */
  opened: Promise<void> = Promise.resolve();

  /** @returns What opens it. */
  close(): () => void {
    let open: () => void = () => undefined;
    this.opened = new Promise((resolve) => (open = resolve));
    return open;
  }
}

import type { PortLike } from '../../../worker/host/tab-port.ts';
import type { Actor, Step } from './actor.ts';

/** One end of a MessagePort: what the other end posts waits here, in order. */
export class Port implements PortLike {
  // eslint-disable-next-line @typescript-eslint/no-explicit-any -- as PortLike has it
  onmessage: ((event: any) => void) | null = null;
  readonly owner: Actor;
  readonly queue: unknown[] = [];
  /** Sees what is posted here. */
  posted: (message: unknown) => void = () => undefined;
  /** Sees what arrives here. */
  delivered: (message: unknown) => void = () => undefined;
  #other: Port | undefined;
  #isOpen = true;
  /** There are as many as messages, so it is made once. */
  #step: Step | undefined;

  private constructor(owner: Actor) {
    this.owner = owner;
  }

  /** Two ends that are entangled. */
  static pair(one: Actor, other: Actor): [Port, Port] {
    const [a, b] = [new Port(one), new Port(other)];
    a.#other = b;
    b.#other = a;
    return [a, b];
  }

  get isOpen(): boolean {
    return this.#isOpen;
  }

  get other(): Port {
    if (this.#other === undefined) throw new TypeError('a port has another end');
    return this.#other;
  }

  postMessage(message: unknown): void {
    if (!this.#isOpen || !this.owner.isAlive) return;
    const clone = cloned(message);
    this.posted(clone);
    if (this.other.#isOpen) this.other.queue.push(clone);
  }

  close(): void {
    this.#isOpen = false;
    this.queue.length = 0;
  }

  /** The next message arrives. */
  step(): Step | undefined {
    const { owner, queue } = this;
    if (queue.length === 0 || !owner.isAlive || owner.isFrozen || this.onmessage === null) return undefined;
    return (this.#step ??= {
      actor: owner,
      what: `hears of ${this.other.owner.name}`,
      content: () => JSON.stringify(queue[0]),
      run: () => {
        const data = queue.shift();
        this.delivered(data);
        this.onmessage?.({ data });
      },
    });
  }
}

/** What `structuredClone` makes of the messages of our schedules, which are plain. */
function cloned(value: unknown): unknown {
  if (typeof value !== 'object' || value === null) return value;
  if (Array.isArray(value)) return value.map(cloned);
  const clone: Record<string, unknown> = {};
  for (const key of Object.keys(value)) clone[key] = cloned((value as Record<string, unknown>)[key]);
  return clone;
}

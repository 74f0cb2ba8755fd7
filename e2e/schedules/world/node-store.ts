import { WebgramError } from 'webgram';
import type { Commit, Store, StoredSession } from '../../../server/store/store.ts';
import type { Actor, Step } from './actor.ts';
import type { Durable } from './durable.ts';

/** The calls whose moment the scheduler chooses; all others are done at once. */
const SLOW = ['commit', 'load', 'claim', 'create'] as const;
type Slow = (typeof SLOW)[number];

interface Operation {
  readonly node: Actor;
  readonly name: Slow;
  readonly args: unknown[];
  /** What came of it, once it has been done or refused. */
  outcome: { value: unknown } | { error: unknown } | undefined;
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: unknown) => void;
}

/**
 * The one real store, as the nodes reach it: each write is made by a step of the store, and its node learns of it by a
 * step of its own. So a node can die, or be overtaken, before a write, between write and answer, or after both.
 */
export class NodeStores implements Actor {
  readonly name = 'store';
  readonly isAlive = true;
  readonly isFrozen = false;
  randoms = 0;
  readonly #store: Store;
  readonly #durable: Durable;
  #operations: Operation[] = [];

  constructor(store: Store, durable: Durable) {
    this.#store = store;
    this.#durable = durable;
  }

  /** The store as that node has it. */
  forNode(node: Actor): Store {
    return new Proxy(this.#store, {
      get: (store, name) => {
        if (isSlow(name)) return (...args: unknown[]) => this.#begin(node, name, args);
        const member: unknown = Reflect.get(store, name, store);
        return typeof member === 'function' ? (member as () => unknown).bind(store) : member;
      },
    });
  }

  /** Commits that could still fail. */
  get commits(): readonly Operation[] {
    return this.#operations.filter(({ name, outcome }) => name === 'commit' && outcome === undefined);
  }

  /** Nodes that do not know yet what has become of a commit. */
  get writing(): readonly Actor[] {
    return this.#operations.filter(({ name }) => name === 'commit').map(({ node }) => node);
  }

  /** The medium fails: nobody knows whether a write that was under way has been made. */
  async fail(operation: Operation, isMade: boolean): Promise<void> {
    if (isMade) await this.#do(operation);
    const error = new WebgramError('WEBGRAM_STORE_FAILED', 'the medium failed', { retryable: true });
    operation.outcome = { error };
  }

  /** A node has died. @param isLost Whether a write is lost that was under way. */
  nodeDied(node: Actor, isLost: () => boolean): void {
    this.#operations = this.#operations.filter(
      (one) => one.node !== node || (one.outcome === undefined && !isLost()),
    );
  }

  get isIdle(): boolean {
    return this.#operations.length === 0;
  }

  addSteps(steps: Step[]): void {
    for (const operation of this.#operations) {
      const { name, node, outcome } = operation;
      if (outcome === undefined) {
        const run = (): void => {
          void this.#do(operation);
        };
        steps.push({ actor: this, what: `does a ${name} of ${node.name}`, run });
      } else if (node.isAlive && !node.isFrozen) {
        const run = (): void => {
          this.#operations = this.#operations.filter((one) => one !== operation);
          if ('error' in outcome) operation.reject(outcome.error);
          else operation.resolve(outcome.value);
        };
        const content = (): string =>
          'error' in outcome ? String(outcome.error) : this.#described(outcome.value);
        steps.push({ actor: node, what: `learns of its ${name}`, content, run });
      }
    }
  }

  #begin(node: Actor, name: Slow, args: unknown[]): Promise<unknown> {
    return new Promise((resolve, reject) => {
      // A dead node's memory may still be settling promises; nothing of it reaches the store.
      if (node.isAlive) this.#operations.push({ node, name, args, outcome: undefined, resolve, reject });
    });
  }

  async #do(operation: Operation): Promise<void> {
    const { name, args, node } = operation;
    // Its outcome is known within this step, as the store is memory.
    operation.outcome = { value: undefined };
    try {
      const call = this.#store[name].bind(this.#store) as (...all: unknown[]) => Promise<unknown>;
      const value = await call(...args);
      operation.outcome = { value };
      if (name === 'commit') this.#durable.committed(args[0] as Commit);
      if (name === 'load') this.#durable.loaded(value as StoredSession | undefined);
    } catch (error) {
      operation.outcome = { error };
    }
    if (!node.isAlive) this.#operations = this.#operations.filter((one) => one !== operation);
  }

  /** Without the random tag. */
  #described(value: unknown): string {
    return JSON.stringify(value, (key, item: unknown) =>
      key === 'tag' ? undefined : item instanceof Map ? [...(item as Map<string, unknown>)] : item,
    );
  }
}

function isSlow(name: string | symbol): name is Slow {
  return SLOW.includes(name as Slow);
}

import type { Profile } from './world/profile.ts';

/** A rule of delivery that is broken on purpose: schedules must find it. */
export interface Mutant {
  name: string;
  /** Each text stands exactly once in the product, in whatever file. */
  changes: readonly { from: string; to: string }[];
  /** Schedules in which it shows more often. */
  profile?: Partial<Profile>;
}

/** The rules of the delivery model that exist in the code, each turned off. */
export const MUTANTS: readonly Mutant[] = [
  {
    name: 'acknowledges before the commit',
    changes: [
      {
        from: 'while (this.#acks[0] !== undefined && this.#acks[0].barrier <= confirmed) {',
        to: 'while (this.#acks[0] !== undefined) {',
      },
    ],
  },
  {
    name: 'lets replies out before the commit',
    changes: [
      {
        from: 'while (end < kept.length && kept[end]!.message.barrier <= confirmed) end += 1;',
        to: 'end = kept.length;',
      },
    ],
  },
  {
    name: 'does not look for duplicates',
    changes: [
      {
        from: "if (seq <= this.#received) return 'duplicate';",
        to: "if (seq <= this.#received) return 'take';",
      },
    ],
  },
  {
    name: 'looks for duplicates without the handled set',
    changes: [{ from: "if (!this.#ahead.has(seq)) return 'take';", to: "return 'take';" }],
    profile: { kinds: ['concurrent', 'save', 'fire', 'pure'], waits: 2 },
  },
  {
    name: 'writes the marks, then the data',
    changes: [
      {
        from: 'await this.#context.store.commit(commit);',
        to: `const { data, ...marks } = commit;
          const between = data === undefined ? commit.tag : commit.tag + '-1';
          await this.#context.store.commit({ ...marks, tag: between });
          if (data !== undefined)
            await this.#context.store.commit({ ...commit, expectedTag: between, streams: new Map() });`,
      },
    ],
  },
  {
    name: 'writes the data, then the marks',
    changes: [
      {
        from: 'await this.#context.store.commit(commit);',
        to: `const { data, ...marks } = commit;
          const between = data === undefined ? commit.expectedTag : commit.tag + '-1';
          if (data !== undefined)
            await this.#context.store.commit({ ...commit, tag: between, streams: new Map() });
          await this.#context.store.commit({ ...marks, expectedTag: between });`,
      },
    ],
  },
  {
    name: 'marks what was received',
    changes: [
      {
        from: 'const { handled, ahead } = this.inbox.marks;',
        to: 'const { ahead } = this.inbox.marks; const handled = this.inbox.received;',
      },
    ],
  },
  {
    name: 'has one watermark for concurrent handlers',
    changes: [
      {
        from: 'this.#ahead.add(seq);',
        to: 'this.#handled = Math.max(this.#handled, seq);',
      },
    ],
    profile: { kinds: ['concurrent', 'save', 'fire', 'pure'], waits: 2 },
  },
  {
    name: 'rolls back to the last commit',
    changes: [
      {
        from: 'this.#nextText = this.#context.data.encode();\n    this.#isWanted = true;',
        to: 'this.#context.data.saved = this.#nextText = this.#context.data.encode();\n    this.#isWanted = true;',
      },
      {
        from: 'const text = this.encode();\n      return () => {',
        to: 'return () => { const text = this.saved ?? this.#loadedText;',
      },
    ],
  },
  {
    name: 'changes data for a concurrent handler in the middle of another',
    changes: [
      { from: 'if (run !== undefined && !run.isConcurrent) {', to: 'if (run !== undefined) {' },
      { from: 'const isShared = currentRun(this)?.isConcurrent === true;', to: 'const isShared = false;' },
    ],
    profile: { kinds: ['share', 'throw', 'pure'], waits: 2, tabs: 2 },
  },
  {
    name: 'sends what a handler sent that threw',
    changes: [{ from: 'run.sent.length = run.afterwards.length = 0;', to: '' }],
  },
  {
    name: 'writes unsaved data with any commit',
    changes: [
      {
        from: 'wantWithoutData(): void {',
        to: 'wantWithoutData(): void { this.#nextText = this.#context.data.encode();',
      },
    ],
  },
  {
    name: 'takes the data in the middle of a handler',
    changes: [
      { from: '|| (isHandling && !this.#isForced)', to: '' },
      {
        from: 'const text = this.#nextText;',
        to: 'const text = this.#nextText === undefined ? undefined : this.#context.data.encode();',
      },
    ],
    profile: { waits: 2 },
  },
  {
    name: 'saves at once outside of handlers',
    changes: [
      {
        from: 'if (run === undefined || (now && run.isConcurrent)) return this.update(() => undefined);',
        to: `if (run === undefined) {
          this.#committer.want();
          const barrier = this.#committer.lastBarrier;
          this.#committer.commitNow();
          return new Promise((resolve, reject) => {
            this.#committer.whenConfirmed(barrier, (error) => (error === undefined ? resolve() : reject(error)));
          });
        }`,
      },
    ],
    profile: { outsideRate: 0.1, waits: 2 },
  },
  {
    name: 'does not commit for a handler that only sends',
    changes: [
      {
        from: 'if (run.sendsCommit && run.sent.length + run.afterwards.length > 0) committer.wantWithoutData();',
        to: '',
      },
    ],
  },
  {
    name: 'answers without waiting for earlier commits',
    changes: [
      {
        from: 'const touched = this.#release(run);\n    const barrier = committer.lastBarrier;',
        to: `const isPure = !run.wantsCommit && run.sent.length === 0;
          const touched = this.#release(run);
          const barrier = isPure ? 0 : committer.lastBarrier;`,
      },
    ],
    profile: { kinds: ['save', 'pure'], storeDelay: 0.8 },
  },
  {
    name: 'stores the replies of saving handlers only',
    changes: [
      {
        from: "tabs.push(stream, { kind: 'answer', asked: message.seq, body }, barrier);",
        to: `const isPure = !run.wantsCommit && run.sent.length === 0;
          tabs.push(stream, { kind: 'answer', asked: message.seq, body, isPure }, barrier);`,
      },
      {
        from: 'downs: kept.map(',
        to: 'downs: kept.filter(({ message }) => !message.isPure).map(',
      },
    ],
  },
  {
    name: 'acknowledges before it replies',
    changes: [
      {
        from: 'let end = this.#left;',
        to: `if (this.#releasedAck > this.#toldAck) {
            this.#toldAck = this.#releasedAck;
            link.send({ kind: 'ack', tab, ack: this.#releasedAck, com: commit, timeMs });
          }
          let end = this.#left;`,
      },
    ],
    profile: { kinds: ['pure', 'unsaved', 'throw'], frameBytes: 60, tabs: 2, messages: 4 },
  },
  {
    name: 'does not compare and set',
    changes: [
      { from: 'session?.tag === undefined || session.tag !== expectedTag', to: 'session?.tag === undefined' },
    ],
    profile: { nodes: 2, kinds: ['save', 'fire', 'pure', 'unsaved'], storeDelay: 0.8 },
  },
  {
    // Either of the two would do.
    name: 'fences neither at a load nor at a claim',
    changes: [
      { from: 'const tag = (session.tag = randomTag());', to: 'const tag = (session.tag ??= randomTag());' },
      { from: 'if (session.generation > generation) {', to: 'if (false) {' },
    ],
    profile: {
      nodes: 2,
      tabs: 1,
      messages: 6,
      kinds: ['save', 'fire'],
      faults: ['cut'],
      faultRate: 0.04,
      timeRate: 0.05,
      outsideRate: 0.3,
      storeDelay: 0.8,
      steps: 300,
    },
  },
  {
    name: 'goes on after a refused commit',
    changes: [
      {
        from: 'if (this.#ended === undefined) this.#context.refused(error);',
        to: 'this.#confirmed = number; this.#context.confirmed([]);',
      },
    ],
  },
  {
    name: 'takes an unknown stream of any age',
    changes: [
      {
        from: 'return clock() - timeMs > retention.streamRetentionMs / 2;',
        to: 'return false;',
      },
    ],
    profile: { faults: ['cut', 'half-open', 'freeze tab', 'crash node', 'sleep'], faultRate: 0.08 },
  },
  {
    name: 'lets the stream of a tab grow old while the tab is there',
    changes: [{ from: 'this.#renewRows(nowMs);', to: '' }],
    // Nothing but time passes, and now and then the other node has the link.
    profile: {
      nodes: 2,
      tabs: 1,
      messages: 1,
      kinds: ['fire'],
      faults: ['cut'],
      faultRate: 0.005,
      timeRate: 0,
      outsideRate: 0,
      steps: 1_500,
    },
  },
  {
    name: 'takes up a stream that has ended',
    changes: [{ from: ': stream.hasEnded && !isDeparted;', to: ': false;' }],
  },
  {
    name: 'forgets at once a stream that has ended',
    changes: [
      {
        from: 'if (stream.isStored) committer.wantWithoutData();\n',
        to: 'if (stream.isStored) committer.wantWithoutData(); else this.#streams.delete(stream.tabID);\n',
      },
    ],
    profile: {
      faults: ['hide tab', 'kill host', 'cut'],
      faultRate: 0.08,
      kinds: ['unsaved', 'save'],
      outsideRate: 0.1,
    },
  },
  {
    name: 'host: does not finish for tabs that have gone',
    changes: [{ from: 'else this.departures.add(copy);', to: '' }],
  },
  {
    name: 'host: detaches before all is acknowledged',
    changes: [{ from: 'if (!isSettled && refusal === undefined) return;', to: '' }],
  },
  {
    name: 'host: gives the number of a tab again',
    changes: [
      {
        from: 'const number = this.#next++;',
        to: 'let number = 1; while (this.#byNumber.has(number)) number += 1;',
      },
    ],
  },
  {
    name: 'tab: frees what the server has received',
    changes: [
      { from: '#onAttached({ outcome, life,', to: '#onAttached({ received, outcome, life,' },
      {
        from: 'this.#listener.attached(outcome);',
        to: 'this.#listener.attached(outcome); this.#outbox.acknowledge(received);',
      },
    ],
    profile: {
      nodes: 1,
      tabs: 1,
      kinds: ['save'],
      faults: ['cut', 'crash node'],
      faultRate: 0.04,
      timeRate: 0.05,
      waits: 2,
      flushesAtOnce: true,
      frameBytes: 32_768,
      storeDelay: 0.8,
      handlerDelay: 0.9,
      steps: 160,
    },
  },
  {
    name: 'tab: hands over only when there is a link',
    changes: [
      {
        from: "this.#host?.post({ kind: 'up', link, envelope });",
        to: "if (link > 0) this.#host?.post({ kind: 'up', link, envelope });",
      },
    ],
  },
  {
    name: 'tab: does not offer again what is not acknowledged',
    changes: [
      {
        from: 'for (const { message } of kept) this.#post({ ...message, ack: this.#received });',
        to: '',
      },
    ],
  },
  {
    name: 'tab: begins anew as old as it was',
    changes: [
      {
        from: 'this.#seenTimeMs = Math.max(this.#seenTimeMs, timeMs);\n    this.#seenLife = life;',
        to: "if (outcome !== 'forgotten') this.#seenTimeMs = Math.max(this.#seenTimeMs, timeMs);\n    this.#seenLife = life;",
      },
    ],
    profile: { faults: ['cut', 'half-open', 'freeze tab', 'crash node', 'sleep'], faultRate: 0.08 },
  },
];

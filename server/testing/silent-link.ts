import { jsonCodec } from 'webgram';
import type { WriteKey } from '../link-renewal.ts';
import type { SessionLink } from '../session-link.ts';

/** A link that nobody is at the other end of. */
export class SilentLink implements SessionLink {
  readonly address = ['127.0.0.1', 1] as const;
  readonly codec = jsonCodec;
  readonly isFirst = true;
  readonly isRenewing = false;
  readonly supersededBy = undefined;
  readonly hasAnswered = false;
  readonly generation: number;
  readonly #answered: () => void;

  /** @param answered An ask was answered over it. */
  constructor(generation: number, answered: () => void = () => undefined) {
    this.generation = generation;
    this.#answered = answered;
  }
  sendMessage(kind: 'send' | 'ask' | 'answer'): boolean {
    if (kind === 'answer') this.#answered();
    return true;
  }
  probe(): void {}
  send(): void {}
  end(): void {}
  pause(): void {}
  resume(): void {}
  renew(_write: WriteKey): Promise<void> {
    return Promise.reject(new Error('nobody brings a key'));
  }
}

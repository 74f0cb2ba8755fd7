/**
 * What every platform we run on has besides the language: page, worker, service worker and Node.
 *
 * Only the program of this folder sees this file; elsewhere the platform's own types stand for these names.
 * Nothing is added here that one of the platforms lacks or does otherwise.
 */

interface AbortSignal {
  readonly aborted: boolean;
  readonly reason: unknown;
  addEventListener(type: 'abort', listener: () => void, options?: { once?: boolean }): void;
  removeEventListener(type: 'abort', listener: () => void): void;
  throwIfAborted(): void;
}

interface AbortController {
  readonly signal: AbortSignal;
  abort(reason?: unknown): void;
}
declare const AbortController: { new (): AbortController };

interface TextEncoder {
  encode(input?: string): Uint8Array<ArrayBuffer>;
  encodeInto(source: string, destination: Uint8Array): { read: number; written: number };
}
declare const TextEncoder: { new (): TextEncoder };

interface TextDecoder {
  decode(input?: Uint8Array | ArrayBuffer, options?: { stream?: boolean }): string;
}
declare const TextDecoder: {
  new (label?: string, options?: { fatal?: boolean; ignoreBOM?: boolean }): TextDecoder;
};

/** A number in browsers, an object in Node; write `ReturnType<typeof setTimeout>`. */
declare const timer: unique symbol;
interface Timer {
  readonly [timer]: never;
}
declare function setTimeout(callback: () => void, delayMs?: number): Timer;
declare function clearTimeout(timer: Timer | undefined): void;

declare function queueMicrotask(callback: () => void): void;
declare function structuredClone<T>(value: T): T;
declare const performance: { now(): number };

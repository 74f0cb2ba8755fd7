/**
 * The messages of one application, imported by both sides.
 *
 * ```ts
 * export interface App {
 *   server: { 'add-one'(x: number): void; incr(x: number): number } // void: send or ask; a result: ask only
 *   page: { 'added-one'(x: number): void }
 *   data: { lastValue?: number } // conn.sessionData
 * }
 * ```
 */
export interface AppShape {
  /** What pages send and ask. */
  server?: object;
  /** What the server sends and asks. */
  page?: object;
  /** `conn.sessionData`. */
  data?: object;
}

// eslint-disable-next-line @typescript-eslint/no-explicit-any -- what an untyped application may pass and return
type AnyFunction = (...args: any[]) => any;

/** The application of a `Client` or `Server` without a type argument: everything is allowed. */
export interface AnyApp {
  server: Record<string, AnyFunction>;
  page: Record<string, AnyFunction>;
  // eslint-disable-next-line @typescript-eslint/no-explicit-any -- see above
  data: Record<string, any>;
}

type Part<A extends AppShape, Key extends keyof AppShape> = A[Key] extends object
  ? A[Key]
  : Record<never, never>;

/** What pages send and ask. */
export type ServerMessages<A extends AppShape> = Part<A, 'server'>;
/** What the server sends and asks. */
export type PageMessages<A extends AppShape> = Part<A, 'page'>;
/** What `conn.sessionData` holds. */
export type DataOf<A extends AppShape> = Part<A, 'data'>;

/** The types of messages in a map. */
export type TypeOf<Messages> = keyof Messages & string;
/** The arguments of one message. */
export type ArgsOf<Messages, Type extends keyof Messages> = Messages[Type] extends (
  ...args: infer Args
) => unknown
  ? Args
  : never;
/** What the answer to one message holds. */
export type ResultOf<Messages, Type extends keyof Messages> = Messages[Type] extends (
  ...args: never[]
) => infer Result
  ? Awaited<Result>
  : never;
/** The types of messages that can be sent: those without a result. */
export type SendTypeOf<Messages> = {
  [Type in TypeOf<Messages>]: Messages[Type] extends (...args: never[]) => infer Result
    ? [Awaited<Result>] extends [void]
      ? Type
      : 0 extends 1 & Result
        ? Type
        : never
    : never;
}[TypeOf<Messages>];

import { WebgramError, type WireError } from '../errors.ts';
import { unreachable } from '../unreachable.ts';
import { isPlainObject } from './json.ts';

/** First element of every envelope on the wire. PROTOCOL.md, "Envelopes". */
export const KIND = {
  attach: 0,
  attached: 1,
  send: 2,
  ask: 3,
  answer: 4,
  cancel: 5,
  volatile: 6,
  ack: 7,
  detach: 8,
  ping: 9,
  pong: 10,
  identity: 11,
  bye: 12,
} as const;

/** Longest message type, in UTF-16 units. */
export const MAX_TYPE_LENGTH = 256;

/**
 * Number of a down. Downs of a later life come after all of an earlier one; within a life they are
 * numbered 1, 2, 3 … per tab. `{life: 0, n: 0}` stands for none.
 */
export interface Position {
  life: number;
  n: number;
}

/** The newest that a tab has heard of its session, of whatever server. */
export interface Seen {
  /** Server time in ms; of the `session-ok` behind which the tab first attached when it knows nothing newer. */
  timeMs: number;
  /** Newest life; 0 for none. */
  life: number;
  /** Highest commit of that life that the tab was told of; 0 for none. */
  commit: number;
}

/** What a tab says of itself. Names that a server does not know are ignored. */
export interface AttachInfo {
  /** The tab is gone and its host attaches to finish for it. */
  departed?: true;
}

/** Why a session or stream begins the way it does. */
export const OUTCOME_REASONS = [
  'new',
  'joined',
  'resumed',
  'expired',
  'revoked',
  'key-lost',
  'store-lost',
  'overflow',
  'retention',
  'server-key-changed',
] as const;

export type OutcomeReason = (typeof OUTCOME_REASONS)[number];

export interface Outcome {
  resumed: boolean;
  reason: OutcomeReason;
  /** Messages known lost: of those the tab sent, and of those it should have received. */
  gap: { sent: number; received: number };
}

/** `stale`: a later attach of that tab has come. `forgotten`: the stream is unknown or has ended; begin anew. */
export type AttachRefusal = 'stale' | 'forgotten';

/** The last commit number of a life. */
export type LineageEntry = [life: number, commit: number];

/** This tab speaks over this link under this tab number. Up only. */
export interface AttachEnvelope {
  kind: 'attach';
  tab: number;
  /** 16 random bytes, 22 characters base64url. */
  tabID: string;
  /** Grows with every attach of this tab. */
  counter: number;
  /** The last down that the tab has received in order. */
  received: Position;
  /** Lowest seq that the tab still holds; its next seq when it holds none. */
  oldest: number;
  seen: Seen;
  info: AttachInfo;
}

/** Answers an attach. Down only. */
export interface AttachedEnvelope {
  kind: 'attached';
  tab: number;
  /** That of the attach which is answered. */
  counter: number;
  /** Highest up that the server has received in order; frees nothing. 0 in a refusal. */
  received: number;
  outcome: Outcome | AttachRefusal;
  life: number;
  timeMs: number;
  /** Lives that committed, ascending, each with its last commit. */
  lineage: LineageEntry[];
}

/** Fires a message. */
export interface SendOf<Seq, Ack> {
  kind: 'send';
  tab: number;
  seq: Seq;
  ack: Ack;
  type: string;
  args: unknown[];
}

/** A message that expects one answer; its seq is its id. */
export interface AskOf<Seq, Ack> {
  kind: 'ask';
  tab: number;
  seq: Seq;
  ack: Ack;
  type: string;
  args: unknown[];
}

/** Answers an ask of the other side. */
export interface AnswerOf<Seq, Ack, Asked> {
  kind: 'answer';
  tab: number;
  seq: Seq;
  ack: Ack;
  /** The seq of the ask. */
  asked: Asked;
  error: WireError | null;
  /** `null` beside an error. */
  value: unknown;
}

/** The asker no longer waits. */
export interface CancelOf<Asked> {
  kind: 'cancel';
  tab: number;
  /** The seq of the ask, as its asker numbered it. */
  asked: Asked;
}

/** Best effort: no number, dropped while the link is down. */
export interface VolatileEnvelope {
  kind: 'volatile';
  tab: number;
  type: string;
  args: unknown[];
}

/** What the tab has received when no message is going up. */
export interface UpAckEnvelope {
  kind: 'ack';
  tab: number;
  ack: Position;
}

/** What the server has handled for good, and where it stands. */
export interface DownAckEnvelope {
  kind: 'ack';
  tab: number;
  /** All ups up to this one; 0 for none. */
  ack: number;
  /** Newest commit of the session that is known durable; `null` when there was none yet. */
  com: LineageEntry | null;
  /** Server time. */
  timeMs: number;
}

/** The tab was closed (up), or was closed by the server (down). Takes effect after what was sent before it. */
export interface DetachEnvelope {
  kind: 'detach';
  tab: number;
  /** Of the attach that it ends; one of another attach is ignored. */
  counter: number;
  why: string;
}

export interface PingEnvelope {
  kind: 'ping';
  n: number;
}

/** Answers the ping with the same `n`. */
export interface PongEnvelope {
  kind: 'pong';
  n: number;
}

/** Concerns the identity, not a tab: renewal, profile, revocation. */
export interface IdentityEnvelope {
  kind: 'identity';
  what: string;
  args: unknown[];
}

/** Clean end of the link: nothing is read after it. */
export interface ByeEnvelope {
  kind: 'bye';
  reason: string;
  args: unknown[];
}

type EitherWay =
  VolatileEnvelope | DetachEnvelope | PingEnvelope | PongEnvelope | IdentityEnvelope | ByeEnvelope;

/** From the tab to the server: ups are numbered by integers and acknowledge positions. */
export type UpEnvelope =
  | AttachEnvelope
  | SendOf<number, Position>
  | AskOf<number, Position>
  | AnswerOf<number, Position, Position>
  | CancelOf<number>
  | UpAckEnvelope
  | EitherWay;

/** From the server to the tab: downs are numbered by positions and acknowledge integers. */
export type DownEnvelope =
  | AttachedEnvelope
  | SendOf<Position, number>
  | AskOf<Position, number>
  | AnswerOf<Position, number, number>
  | CancelOf<Position>
  | DownAckEnvelope
  | EitherWay;

export type Envelope = UpEnvelope | DownEnvelope;

/** Returns the list that stands for an envelope on the wire. Arguments are not copied. */
export function toWire(envelope: Envelope): unknown[] {
  switch (envelope.kind) {
    case 'attach': {
      const { tab, tabID, counter, received, oldest, seen, info } = envelope;
      const { timeMs, life, commit } = seen;
      return [KIND.attach, tab, tabID, counter, order(received), oldest, [timeMs, life, commit], info];
    }
    case 'attached': {
      const { tab, counter, received, outcome, life, timeMs, lineage } = envelope;
      return [KIND.attached, tab, counter, received, outcomeToWire(outcome), life, timeMs, lineage];
    }
    case 'send':
    case 'ask': {
      const { kind, tab, seq, ack, type, args } = envelope;
      return [KIND[kind], tab, order(seq), order(ack), type, ...args];
    }
    case 'answer': {
      const { tab, seq, ack, asked, error, value } = envelope;
      return [KIND.answer, tab, order(seq), order(ack), order(asked), error, error === null ? value : null];
    }
    case 'cancel':
      return [KIND.cancel, envelope.tab, order(envelope.asked)];
    case 'volatile':
      return [KIND.volatile, envelope.tab, envelope.type, ...envelope.args];
    case 'ack':
      return 'com' in envelope
        ? [KIND.ack, envelope.tab, envelope.ack, envelope.com, envelope.timeMs]
        : [KIND.ack, envelope.tab, order(envelope.ack)];
    case 'detach':
      return [KIND.detach, envelope.tab, envelope.counter, envelope.why];
    case 'ping':
    case 'pong':
      return [KIND[envelope.kind], envelope.n];
    case 'identity':
      return [KIND.identity, envelope.what, ...envelope.args];
    case 'bye':
      return [KIND.bye, envelope.reason, ...envelope.args];
    default:
      return unreachable(envelope);
  }
}

function order(number: number | Position): unknown {
  return typeof number === 'number' ? number : [number.life, number.n];
}

function outcomeToWire(outcome: Outcome | AttachRefusal): unknown {
  if (typeof outcome === 'string') return outcome;
  return [outcome.resumed, outcome.reason, outcome.gap.sent, outcome.gap.received];
}

/** Names a place in a wire list the way the caller of `send` knows it: `args[0].x`. */
export function describeWirePath(wire: readonly unknown[], path: readonly (string | number)[]): string {
  const [index, ...rest] = path;
  if (typeof index !== 'number') return 'envelope';
  const inside = rest.map((key) => (typeof key === 'number' ? `[${key}]` : `.${key}`)).join('');
  const first = firstArg(wire[0]);
  if (first !== undefined && index >= first) return `args[${index - first}]${inside}`;
  if (wire[0] === KIND.answer && index === 5) return `error${inside}`;
  if (wire[0] === KIND.answer && index === 6) return `value${inside}`;
  return `envelope[${index}]${inside}`;
}

function firstArg(kind: unknown): number | undefined {
  const shape = UPS.get(kind);
  return shape?.hasArgs ? shape.fields.length + 1 : undefined;
}

/**
 * Parses one envelope that went from a tab to the server.
 *
 * @throws {WebgramError} `WEBGRAM_BAD_FRAME` for an unknown kind or any other shape than the one of its kind.
 */
export function parseUp(wire: unknown): UpEnvelope {
  return parseAs(UPS, wire) as UpEnvelope;
}

/**
 * Parses one envelope that went from the server to a tab.
 *
 * @throws {WebgramError} `WEBGRAM_BAD_FRAME` for an unknown kind or any other shape than the one of its kind.
 */
export function parseDown(wire: unknown): DownEnvelope {
  return parseAs(DOWNS, wire) as DownEnvelope;
}

function parseAs(shapes: ReadonlyMap<unknown, Shape>, wire: unknown): unknown {
  const list = parseList(wire, 'envelope');
  const shape = shapes.get(list[0]);
  if (shape === undefined) throw bad('an envelope must begin with a kind that goes this way');
  const { kind, fields, hasArgs } = shape;
  const length = fields.length + 1;
  if (list.length < length || (list.length > length && !hasArgs)) {
    throw bad(`an envelope of this kind must have ${length} elements, got ${list.length}`);
  }
  const envelope: Record<string, unknown> = { kind };
  let i = 0;
  for (const [name, parse] of fields) envelope[name] = parse(list[++i], name, envelope);
  if (hasArgs) envelope['args'] = list.slice(length);
  return envelope;
}

function bad(message: string): WebgramError {
  return new WebgramError('WEBGRAM_BAD_FRAME', message);
}

function parseList(value: unknown, name: string): readonly unknown[] {
  if (!Array.isArray(value)) throw bad(`'${name}' must be a list, got ${typeof value}`);
  return value as readonly unknown[];
}

function parseInteger(value: unknown, min: number, name: string): number {
  if (!Number.isSafeInteger(value) || (value as number) < min) {
    throw bad(`'${name}' must be an integer from ${min} up, got ${typeof value}`);
  }
  return value as number;
}

function parseCount(value: unknown, name: string): number {
  return parseInteger(value, 0, name);
}

function parseNumber(value: unknown, name: string): number {
  return parseInteger(value, 1, name);
}

function parseString(value: unknown, min: number, name: string): string {
  if (typeof value !== 'string' || value.length < min || value.length > MAX_TYPE_LENGTH) {
    throw bad(`'${name}' must be a string of ${min} to ${MAX_TYPE_LENGTH} characters, got ${typeof value}`);
  }
  return value;
}

function parseText(value: unknown, name: string): string {
  return parseString(value, 0, name);
}

function parseWord(value: unknown, name: string): string {
  return parseString(value, 1, name);
}

const UNKNOWN_RESERVED = /^\$(?!(devices|too-large|visible)$)/;

/**
 * Parses the type of a message.
 *
 * @throws {WebgramError} `WEBGRAM_BAD_FRAME` unless it is a string of 1 to 256 characters that does not begin
 * with `$`, which is kept for the library: for its events, and for the few messages of its own.
 */
export function parseMessageType(value: unknown): string {
  const type = parseString(value, 1, 'type');
  if (UNKNOWN_RESERVED.test(type)) throw bad("'type' must not begin with $");
  return type;
}

// 22 characters hold 132 bits: the four spare ones are zero in the only spelling that is taken.
const TAB_ID = /^[A-Za-z0-9_-]{21}[AQgw]$/;

function parseTabID(value: unknown): string {
  if (typeof value !== 'string' || !TAB_ID.test(value)) throw bad("'tabID' must be 16 bytes in base64url");
  return value;
}

function parsePair(value: unknown, name: string): readonly unknown[] {
  const pair = parseList(value, name);
  if (pair.length !== 2) throw bad(`'${name}' must have 2 elements, got ${pair.length}`);
  return pair;
}

function parsePosition(value: unknown, name: string): Position {
  const [life, n] = parsePair(value, name);
  return { life: parseInteger(life, 1, name), n: parseInteger(n, 1, name) };
}

/** A position, or [0, 0] for none. */
function parseReceived(value: unknown, name: string): Position {
  const [life, n] = parsePair(value, name);
  return life === 0 && n === 0 ? { life, n } : parsePosition(value, name);
}

function parseSeen(value: unknown): Seen {
  const [timeMs, life, commit, ...more] = parseList(value, 'seen');
  if (more.length > 0) throw bad("'seen' must have 3 elements");
  return {
    timeMs: parseInteger(timeMs, 0, 'seen'),
    life: parseInteger(life, 0, 'seen'),
    commit: parseInteger(commit, 0, 'seen'),
  };
}

function parseInfo(value: unknown): AttachInfo {
  if (!isPlainObject(value)) throw bad(`'info' must be an object, got ${typeof value}`);
  if (!Object.hasOwn(value, 'departed')) return {};
  if (value['departed'] !== true) throw bad("'info.departed' must be true when it is there");
  return { departed: true };
}

function parseOutcome(value: unknown): Outcome | AttachRefusal {
  if (value === 'stale' || value === 'forgotten') return value;
  const [resumed, reason, sent, received, ...more] = parseList(value, 'outcome');
  if (typeof resumed !== 'boolean' || more.length > 0)
    throw bad("'outcome' must be [resumed, reason, sent, received]");
  if (!isReason(reason)) throw bad("'outcome' must name a known reason");
  const gap = { sent: parseInteger(sent, 0, 'outcome'), received: parseInteger(received, 0, 'outcome') };
  return { resumed, reason, gap };
}

function isReason(value: unknown): value is OutcomeReason {
  return (OUTCOME_REASONS as readonly unknown[]).includes(value);
}

function parseLineage(value: unknown): LineageEntry[] {
  const lineage = parseList(value, 'lineage').map(parseLineageEntry);
  if (lineage.some(([life], i) => i > 0 && life <= lineage[i - 1]![0])) throw bad("'lineage' must ascend");
  return lineage;
}

function parseLineageEntry(value: unknown): LineageEntry {
  const [life, commit] = parsePair(value, 'lineage');
  return [parseInteger(life, 1, 'lineage'), parseInteger(commit, 1, 'lineage')];
}

function parseCommit(value: unknown): LineageEntry | null {
  return value === null ? null : parseLineageEntry(value);
}

function parseError(error: unknown): WireError | null {
  if (error === null) return null;
  if (!isPlainObject(error)) throw bad(`'error' must be an object or null, got ${typeof error}`);
  const message = error['message'];
  if (typeof message !== 'string') throw bad(`'error.message' must be a string, got ${typeof message}`);
  const parsed: WireError = { code: parseString(error['code'], 1, 'error.code'), message };
  if (Object.hasOwn(error, 'data')) parsed.data = error['data'];
  return parsed;
}

function parseValue(
  value: unknown,
  _name: string,
  { error }: Partial<Envelope & { kind: 'answer' }>,
): unknown {
  if (error !== null && value !== null) throw bad("'value' must be null beside an error");
  return value;
}

/** Parses an element that is called `name`, behind those that are parsed already. */
type Parse<T> = (value: unknown, name: string, envelope: Record<string, unknown>) => T;

/** What the list of an envelope has behind its kind, in that order. `args` are all that follow. */
type Fields<E> = {
  [Name in Exclude<keyof E, 'kind'>]: Name extends 'args' ? null : Parse<E[Name]>;
};
type Kinds<E extends Envelope> = { [Kind in E['kind']]: Fields<Extract<E, { kind: Kind }>> };

/** The same of one kind, ready to be gone through. */
interface Shape {
  kind: string;
  fields: [name: string, parse: Parse<unknown>][];
  hasArgs: boolean;
}

const eitherWay: Kinds<EitherWay> = {
  volatile: { tab: parseCount, type: parseMessageType, args: null },
  detach: { tab: parseCount, counter: parseNumber, why: parseText },
  ping: { n: parseCount },
  pong: { n: parseCount },
  identity: { what: parseWord, args: null },
  bye: { reason: parseWord, args: null },
};

const sendUp: Fields<UpEnvelope & { kind: 'send' }> = {
  tab: parseCount,
  seq: parseNumber,
  ack: parseReceived,
  type: parseMessageType,
  args: null,
};

const UPS = shapesOf<UpEnvelope>({
  attach: {
    tab: parseCount,
    tabID: parseTabID,
    counter: parseNumber,
    received: parseReceived,
    oldest: parseNumber,
    seen: parseSeen,
    info: parseInfo,
  },
  send: sendUp,
  ask: sendUp,
  answer: {
    tab: parseCount,
    seq: parseNumber,
    ack: parseReceived,
    asked: parsePosition,
    error: parseError,
    value: parseValue,
  },
  cancel: { tab: parseCount, asked: parseNumber },
  ack: { tab: parseCount, ack: parseReceived },
  ...eitherWay,
});

const sendDown: Fields<DownEnvelope & { kind: 'send' }> = {
  tab: parseCount,
  seq: parsePosition,
  ack: parseCount,
  type: parseMessageType,
  args: null,
};

const DOWNS = shapesOf<DownEnvelope>({
  attached: {
    tab: parseCount,
    counter: parseNumber,
    received: parseCount,
    outcome: parseOutcome,
    life: parseNumber,
    timeMs: parseCount,
    lineage: parseLineage,
  },
  send: sendDown,
  ask: sendDown,
  answer: {
    tab: parseCount,
    seq: parsePosition,
    ack: parseCount,
    asked: parseNumber,
    error: parseError,
    value: parseValue,
  },
  cancel: { tab: parseCount, asked: parsePosition },
  ack: { tab: parseCount, ack: parseCount, com: parseCommit, timeMs: parseCount },
  ...eitherWay,
});

/** @returns By the first element of the list. */
function shapesOf<E extends Envelope>(kinds: Kinds<E>): ReadonlyMap<unknown, Shape> {
  const shapes = new Map<unknown, Shape>();
  for (const [kind, elements] of Object.entries<object>(kinds)) {
    const fields = Object.entries(elements) as Shape['fields'];
    const hasArgs = 'args' in elements;
    if (hasArgs) fields.pop();
    shapes.set(KIND[kind as keyof typeof KIND], { kind, fields, hasArgs });
  }
  return shapes;
}

import { MAX_DEVICE_NAME_LENGTH, type Device, type DeviceSession } from 'webgram';
import type { SessionSummary } from './store/store.ts';

type Location = NonNullable<Device['location']>;

/** What `$new-device` listeners are given: what a mail to the account's user may say. */
export interface NewDevice {
  account: string;
  sessionID: number;
  /** As in the list of devices. */
  label: string;
  device: Readonly<Device>;
  /** Of the browser that has logged in. */
  address: readonly [ip: string, port: number];
  /** No other session belongs to the account, so nobody need be warned. */
  isFirst: boolean;
}

/** Tells where an address is, as coarsely as is right to keep and show. */
export type Locate = (ip: string) => Location | undefined | Promise<Location | undefined>;

/** The first that matches counts: browsers name those they descend from. */
const BROWSERS: readonly (readonly [pattern: RegExp, name: string])[] = [
  [/\bEdg(e|A|iOS)?\//, 'Edge'],
  [/\b(OPR|OPT|Opera)\//, 'Opera'],
  [/\bSamsungBrowser\//, 'Samsung Internet'],
  [/\b(Firefox|FxiOS)\//, 'Firefox'],
  [/\b(Chrome|CriOS|Chromium|HeadlessChrome)\//, 'Chrome'],
  [/\bSafari\//, 'Safari'],
];
const PLATFORMS: readonly (readonly [pattern: RegExp, name: string])[] = [
  [/\bAndroid\b/, 'Android'],
  [/\b(iPhone|iPod)\b/, 'iOS'],
  [/\biPad\b/, 'iPadOS'],
  [/\bWindows\b/, 'Windows'],
  [/\bMac OS X\b/, 'macOS'],
  [/\bCrOS\b/, 'ChromeOS'],
  [/\bLinux\b/, 'Linux'],
];

/** Reads platform and browser from a `User-Agent`, without their versions; nothing else of it is kept. */
export function deviceOf(userAgent = ''): Device {
  const nameIn = (names: typeof BROWSERS): string | undefined =>
    names.find(([pattern]) => pattern.test(userAgent))?.[1];
  const platform = nameIn(PLATFORMS);
  const browser = nameIn(BROWSERS);
  return { ...(platform === undefined ? {} : { platform }), ...(browser === undefined ? {} : { browser }) };
}

/** Adds the name that `fromClient.device` gives, if it gives one. */
export function namedDevice(device: Device, fromClient: unknown): Device {
  const name = (fromClient as { device?: unknown } | null | undefined)?.device;
  if (typeof name !== 'string' || name.trim() === '') return device;
  return { ...device, name: name.trim().slice(0, MAX_DEVICE_NAME_LENGTH) };
}

/**
 * Checks the name that a user gives to a device.
 *
 * @returns `undefined` for one of spaces only, which takes the name away.
 * @throws {TypeError | RangeError}
 */
export function parseDeviceName(name: unknown): string | undefined {
  if (typeof name !== 'string') throw new TypeError(`a device's name must be a string, got ${typeof name}`);
  const trimmed = name.trim();
  if (trimmed.length > MAX_DEVICE_NAME_LENGTH) {
    throw new RangeError(`a device's name must have at most ${MAX_DEVICE_NAME_LENGTH} characters`);
  }
  return trimmed === '' ? undefined : trimmed;
}

/** Keeps city and country of what the application said, and nothing else. */
export function parseLocation(location: Location | undefined): Location | undefined {
  const { city, country } = location ?? {};
  const kept: Location = {};
  if (typeof city === 'string') kept.city = city.slice(0, MAX_DEVICE_NAME_LENGTH);
  if (typeof country === 'string') kept.country = country.slice(0, MAX_DEVICE_NAME_LENGTH);
  return Object.keys(kept).length === 0 ? undefined : kept;
}

/** What to call a device before people. */
export function labelOf({ name, browser, platform }: Device): string {
  if (name !== undefined) return name;
  if (browser !== undefined && platform !== undefined) return `${browser} on ${platform}`;
  return browser ?? platform ?? 'Unknown device';
}

/** @param currentID The session that asks. */
export function deviceSession(
  { sessionID, account, createdMs, lastUsedMs, device, forked }: SessionSummary,
  { isOnline, nowMs, currentID }: { isOnline: boolean; nowMs: number; currentID: number | undefined },
): DeviceSession {
  return {
    sessionID,
    ...(account === undefined ? {} : { account }),
    created: new Date(createdMs),
    lastUsed: new Date(isOnline ? nowMs : lastUsedMs),
    label: labelOf(device),
    device,
    isOnline,
    isCurrent: sessionID === currentID,
    forked,
  };
}

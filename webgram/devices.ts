/** Longest name of a device and of a place, in UTF-16 units. */
export const MAX_DEVICE_NAME_LENGTH = 64;

/** What is kept of the browser that holds a session's key: coarse, for lists of devices. */
export interface Device {
  /** Such as `Windows` or `Android`. */
  platform?: string;
  /** Such as `Firefox`. */
  browser?: string;
  /** Given by the user or by the application. */
  name?: string;
  /** As coarsely as the application tells it. */
  location?: { city?: string; country?: string };
}

/** A session of an account, as a list of devices shows it. */
export interface DeviceSession {
  sessionID: number;
  /** User id it is bound to; absent without one. */
  account?: string;
  created: Date;
  /** Start of the newest visit or link, which is to the hour; now while it is online. */
  lastUsed: Date;
  /** For people: the name it was given, else browser and platform. */
  label: string;
  device: Device;
  /** A browser has it open now. */
  isOnline: boolean;
  /** It is the one that asks. */
  isCurrent: boolean;
  /** A copy of its key is in use, until the key is renewed by a login or logout. */
  forked: boolean;
}

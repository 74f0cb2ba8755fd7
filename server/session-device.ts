import type { Device } from 'webgram';
import { parseLocation } from './device.ts';
import type { SessionContext } from './session-context.ts';
import { changedDevice } from './store/changed-device.ts';
import type { DeviceChange, StoredSession } from './store/store.ts';

/** What is kept of the browser that a session lives in, as far as this node knows. */
export class SessionDevice {
  readonly #sessionID: number;
  readonly #context: Pick<SessionContext, 'store' | 'log' | 'locate'>;
  #device: Device;
  /** Where it was looked for last. */
  #ip: string | undefined;

  constructor(
    { sessionID, device }: StoredSession,
    context: Pick<SessionContext, 'store' | 'log' | 'locate'>,
  ) {
    this.#sessionID = sessionID;
    this.#device = device;
    this.#context = context;
  }

  get present(): Readonly<Device> {
    return this.#device;
  }

  /** It was written by another way. */
  changed(change: DeviceChange): void {
    this.#device = changedDevice(this.#device, change);
  }

  /** A link has come from there: writes where that is, when the application can tell and it is another place. */
  async locate(ip: string): Promise<void> {
    const { locate, store, log } = this.#context;
    if (locate === undefined || ip === this.#ip) return;
    this.#ip = ip;
    try {
      const location = parseLocation(await locate(ip));
      const before = this.#device.location;
      if (location?.city === before?.city && location?.country === before?.country) return;
      await store.updateDevice(this.#sessionID, { location });
      this.changed({ location });
    } catch (error) {
      log.warn({ sessionID: this.#sessionID, error }, 'where a device is could not be told or stored');
    }
  }
}

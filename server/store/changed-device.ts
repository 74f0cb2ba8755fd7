import type { Device } from 'webgram';
import type { DeviceChange } from './store.ts';

/** Returns the device with what was changed, and without what was taken away. */
export function changedDevice(device: Device, change: DeviceChange): Device {
  const { platform, browser, name, location } = { ...device, ...change };
  return {
    ...(platform === undefined ? {} : { platform }),
    ...(browser === undefined ? {} : { browser }),
    ...(name === undefined ? {} : { name }),
    ...(location === undefined ? {} : { location }),
  };
}

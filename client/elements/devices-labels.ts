import { COMMON_LABELS, type CommonLabels } from './labels.ts';

/** What `<webgram-devices>` says. Words in braces are put in, where the label has them. */
export interface DevicesLabels extends CommonLabels {
  /** The list. */
  devices: string;
  /** The device that it is shown on. */
  current: string;
  online: string;
  /** The server has found that a copy of its key is in use. */
  forked: string;
  /** `{when}`, such as "3 hours ago". */
  lastUsed: string;
  /** `{when}`, a date. */
  since: string;
  /** `{browser}` and `{platform}` of a device that has a name of its own. */
  kind: string;
  /** `{name}` */
  renameDevice: string;
  nameField: string;
  revoke: string;
  /** `{name}` */
  revokeDevice: string;
  revokeTitle: string;
  revokeText: string;
  revokeOthers: string;
  revokeOthersTitle: string;
  /** `{count}` */
  revokeOthersText: string;
  /** Told when it is done. `{name}` */
  renamed: string;
  unnamed: string;
  revoked: string;
  /** Somebody else was faster. */
  gone: string;
  /** `{count}` */
  revokedOthers: string;
  /** The user did not give another proof. */
  kept: string;
}

export const DEVICES_LABELS: DevicesLabels = {
  ...COMMON_LABELS,
  devices: 'Devices',
  current: 'This device',
  online: 'Active now',
  forked: 'A copy is in use',
  lastUsed: 'Last used {when}',
  since: 'Since {when}',
  kind: '{browser} on {platform}',
  renameDevice: 'Rename {name}',
  nameField: 'Name of this device',
  revoke: 'Sign out',
  revokeDevice: 'Sign out {name}',
  revokeTitle: 'Sign out {name}?',
  revokeText: 'Its tabs are signed out at once. To come back, somebody has to sign in there again.',
  revokeOthers: 'Sign out all other devices',
  revokeOthersTitle: 'Sign out all other devices?',
  revokeOthersText: 'You stay signed in here, and nowhere else. Devices that are signed out: {count}.',
  renamed: 'Renamed to {name}.',
  unnamed: 'The name is gone.',
  revoked: '{name} is signed out.',
  gone: '{name} was signed out already.',
  revokedOthers: 'Devices signed out: {count}.',
  kept: 'Nothing has changed.',
};

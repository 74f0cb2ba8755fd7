import { COMMON_LABELS, type CommonLabels } from './labels.ts';

/** What `<webgram-accounts>` says. Words in braces are put in, where the label has them. */
export interface AccountsLabels extends CommonLabels {
  /** The list. */
  accounts: string;
  /** The button, while somebody is signed in. `{name}` */
  button: string;
  signIn: string;
  add: string;
  /** Shown in place of a name. */
  nobody: string;
  /** The button that unfolds what can be done with an account. `{name}` */
  options: string;
  /** Of an account that this tab is pinned to. */
  onlyHere: string;
  /** Of the account that the other tabs use, while this one is pinned. */
  elsewhere: string;
  pin: string;
  signOut: string;
  /** Of an identity without an account: ends it. */
  remove: string;
  signOutAll: string;
  signOutAllTitle: string;
  signOutAllText: string;
  /** The field for a name. */
  nameField: string;
  /** Told when it is done. `{name}` */
  switched: string;
  pinned: string;
  unpinned: string;
  renamed: string;
  signedOut: string;
  /** While the server cannot be reached. */
  signedOutOffline: string;
  signedOutAll: string;
}

export const ACCOUNTS_LABELS: AccountsLabels = {
  ...COMMON_LABELS,
  accounts: 'Accounts',
  button: 'Account: {name}',
  signIn: 'Sign in',
  add: 'Add account',
  nobody: 'Not signed in',
  options: 'Options for {name}',
  onlyHere: 'Only in this tab',
  elsewhere: 'In the other tabs',
  pin: 'Use in this tab only',
  signOut: 'Sign out',
  remove: 'Remove',
  signOutAll: 'Sign out of all accounts',
  signOutAllTitle: 'Sign out of all accounts?',
  signOutAllText: 'Every tab of this browser is signed out of all {count} accounts.',
  nameField: 'Name in this browser',
  switched: 'This is {name} now.',
  pinned: 'This tab stays with {name}.',
  unpinned: 'This tab goes with the others.',
  renamed: 'Renamed to {name}.',
  signedOut: 'Signed out of {name}.',
  signedOutOffline: 'Signed out of {name} here. The server is told as soon as it can be reached.',
  signedOutAll: 'Signed out of all accounts.',
};

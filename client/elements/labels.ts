/** What both elements say. */
export interface CommonLabels {
  cancel: string;
  /** Of an error: takes it away. */
  dismiss: string;
  /** Of an error: tries again. */
  retry: string;
  rename: string;
  save: string;
  loading: string;
  /** The server cannot be reached now. */
  offline: string;
  /** The server has ended the session. */
  ended: string;
  /** The client has ended; `{code}` says why. */
  closed: string;
  /** What is said of an error that `errors` does not name. */
  failed: string;
  /** By code. */
  errors: Record<string, string>;
}

export const COMMON_LABELS: CommonLabels = {
  cancel: 'Cancel',
  dismiss: 'Dismiss',
  retry: 'Try again',
  rename: 'Rename',
  save: 'Save',
  loading: 'Loading…',
  offline: 'The server cannot be reached.',
  ended: 'The server has ended this session.',
  closed: 'Not connected ({code}).',
  failed: 'That did not work.',
  errors: {
    WEBGRAM_BAD_REQUEST: 'The name is too long: at most 64 characters.',
    WEBGRAM_CLOSED: 'This page is no longer connected. Reload it and try again.',
    WEBGRAM_DENIED: 'The server has ended this session.',
    WEBGRAM_HANDLER_FAILED: 'The server could not do that.',
    WEBGRAM_NO_HOST: 'This page cannot hold a session in this browser.',
    WEBGRAM_STEP_UP_REQUIRED: 'That needs another confirmation that it is you.',
    WEBGRAM_STORAGE_FAILED: 'The storage of this browser failed.',
    WEBGRAM_SWITCHED: 'The account was switched meanwhile.',
    WEBGRAM_TIMEOUT: 'The server did not answer in time.',
    WEBGRAM_UNKNOWN_IDENTITY: 'That account is no longer in this browser.',
  },
};

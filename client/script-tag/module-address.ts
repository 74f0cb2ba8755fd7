/** Where this file came from. */
export const ownAddress = import.meta.url;

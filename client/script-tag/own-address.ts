// Only a classic script has it, and only while it runs.
/** Where this file came from. */
export const { src: ownAddress } = document.currentScript as HTMLScriptElement;

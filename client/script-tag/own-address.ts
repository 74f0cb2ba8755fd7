// Only a classic script has it, and only while it runs.
/** Where this file came from, and how the tag says that it is to be used. */
export const { src: ownAddress, async, dataset } = document.currentScript as HTMLScriptElement;

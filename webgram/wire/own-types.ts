/** Ask by which pages see and end the sessions of their account. PROTOCOL.md, section 6, as the others here. */
export const DEVICES = '$devices';

/** Volatile by which a tab says whether anybody sees it. */
export const VISIBLE = '$visible';

/** Message in place of one that no frame can hold. */
export const TOO_LARGE = '$too-large';

/** Reports what a function of the application has thrown, as if nobody had called it, and goes on. */
export const report = reportError;

/** What pages and server of this example say to each other. */
export interface App {
  /** From a page. */
  server: {
    /** Keeps `x + 1` for the session; every tab of it gets `added-one`. */
    'add-one'(x: number): void;
    /** Answers the one tab that asks. */
    incr(x: number): number;
  };
  /** From the server. */
  page: {
    'added-one'(result: number): void;
    visitor(visitor: Visitor): void;
    /** How many tabs share the session now. */
    tabs(count: number): void;
  };
  /** `conn.sessionData`. */
  data: { lastValue?: number };
}

/** Who has come, told to each tab when it does. */
export interface Visitor {
  /** This browser has been here before. */
  isRepeat: boolean;
  /** The previous result, if there is one. */
  lastValue?: number | undefined;
}

import fc from 'fast-check';

/** Any value that can be sent and comes back equal. */
export const anything: fc.Arbitrary<unknown> = fc.letrec((tie) => ({
  value: fc.oneof(
    { depthSize: 'small', withCrossShrink: true },
    fc.string({ unit: 'binary' }),
    fc.double(),
    fc.maxSafeInteger(),
    fc.boolean(),
    fc.constantFrom(null, undefined, -0),
    fc.bigInt(),
    fc.date({ noInvalidDate: true }),
    fc.uint8Array().map((bytes) => Uint8Array.from(bytes)),
    fc.array(tie('value')),
    fc.dictionary(
      fc.oneof(
        fc.string(),
        fc.constantFrom('__proto__', 'constructor', '$date', '$object', '$map', '$', 'toJSON'),
      ),
      tie('value').filter((value) => value !== undefined),
      { noNullPrototype: true, maxKeys: 4 },
    ),
    fc.array(fc.tuple(fc.oneof(fc.string(), fc.integer()), tie('value'))).map((entries) => new Map(entries)),
    fc
      .uniqueArray(fc.oneof(fc.string(), fc.integer(), fc.constant(undefined)))
      .map((items) => new Set(items)),
  ),
})).value;

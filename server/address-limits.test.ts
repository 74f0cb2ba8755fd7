import { describe, expect, test } from 'vitest';
import { AddressLimits, DEFAULT_ADDRESS_RATES } from './address-limits.ts';

function limits(rates: Partial<typeof DEFAULT_ADDRESS_RATES>): AddressLimits {
  return new AddressLimits({ ...DEFAULT_ADDRESS_RATES, ...rates });
}

describe('addresses count as one', () => {
  test.each([
    ['10.0.0.1', '::ffff:10.0.0.1'],
    ['2001:db8:1:2::1', '2001:db8:1:2:ffff::9'],
    ['2001:db8::1', '2001:db8:0:0:1:2:3:4'],
    ['::1', '::2'],
    ['fe80::1%eth0', 'fe80::2'],
  ])('%s and %s', (one, other) => {
    const creates = limits({ createBurst: 1 });
    expect(creates.takeCreate(one)).toBe(true);
    expect(creates.takeCreate(other)).toBe(false);
  });

  test.each([
    ['10.0.0.1', '10.0.0.2'],
    ['2001:db8:1:2::1', '2001:db8:1:3::1'],
    ['2001:db8::1', '2001:db8:0:1::1'],
  ])('but not %s and %s', (one, other) => {
    const creates = limits({ createBurst: 1 });
    expect([creates.takeCreate(one), creates.takeCreate(other)]).toEqual([true, true]);
  });
});

test('what is used up comes back with time', async () => {
  const creates = limits({ createBurst: 1, createsPerMinute: 60_000 });
  creates.takeCreate('a');
  await expect.poll(() => creates.takeCreate('a')).toBe(true);
});

test('failures with a known key count for that key only', () => {
  const failures = limits({ failedProofsPerMinute: 1 });
  failures.countFailure('a', 'key');
  expect(failures.hasFailedTooOften('a', 'key')).toBe(true);
  expect(failures.hasFailedTooOften('a', 'other')).toBe(false);
  expect(failures.hasFailedTooOften('a')).toBe(false);
  expect(failures.hasFailedTooOften('b', 'key')).toBe(false);
});

describe('places', () => {
  function visitors(addresses: AddressLimits, count: number, entered: number[]) {
    return Array.from({ length: count }, (_, i) => {
      const place = addresses.placeFor('a');
      place.wait(() => entered.push(i));
      return place;
    });
  }

  test('are given at once, then to whoever came last', () => {
    const entered: number[] = [];
    const places = visitors(limits({ maxUnproved: 2 }), 5, entered);
    expect(entered).toEqual([0, 1]);
    places[0]?.leave();
    expect(entered).toEqual([0, 1, 4]);
    places[3]?.leave();
    places[1]?.leave();
    expect(entered).toEqual([0, 1, 4, 2]);
  });

  test('are given back once, however often that is said', () => {
    const addresses = limits({ maxUnproved: 1 });
    const first: number[] = [];
    const [place] = visitors(addresses, 1, first);
    place?.leave();
    const second: number[] = [];
    visitors(addresses, 1, second);
    place?.leave();
    visitors(addresses, 1, second);
    expect([first, second]).toEqual([[0], [0]]);
  });
});

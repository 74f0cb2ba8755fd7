import { describe, expectTypeOf, test } from 'vitest';
import type { Conn } from './conn.ts';
import { attach } from './attach.ts';
import { Server } from './server.ts';

interface App {
  server: { 'add-one'(x: number): void; incr(x: number): number };
  page: { 'added-one'(x: number): void; confirm(text: string): boolean };
  data: { lastValue?: number };
}

declare const server: Server<App>;

describe('Server<App>', () => {
  test('gives a listener its connection and arguments', () => {
    server.on('add-one', (conn, x) => {
      expectTypeOf(conn).toEqualTypeOf<Conn<App>>();
      expectTypeOf(x).toEqualTypeOf<number>();
      expectTypeOf(conn.sessionData.lastValue).toEqualTypeOf<number | undefined>();
      expectTypeOf(conn.sessionData._sessionID).toEqualTypeOf<number>();
      conn.send('added-one', x + 1);
      // @ts-expect-error a system field is read-only
      conn.sessionData._sessionID = 1;
      // @ts-expect-error no such message
      conn.send('added-two', x);
      // @ts-expect-error another argument
      conn.send('added-one', 'x');
      // @ts-expect-error it has a result: ask only
      conn.send('confirm', 'x');
    });
    // @ts-expect-error no such message
    server.on('add-two', () => undefined);
    // @ts-expect-error another argument
    server.on('add-one', (conn, x: string) => [conn, x]);
  });

  test('gives events their arguments', () => {
    server.on('$session-active', (conn) => {
      expectTypeOf(conn).toEqualTypeOf<Conn<App>>();
    });
    server.once('$save', (_conn, { changed }) => {
      expectTypeOf(changed).toEqualTypeOf<string[]>();
    });
    server.on('$closed', (_conn, reason) => {
      expectTypeOf(reason).toEqualTypeOf<string>();
    });
    server.on('$new-device', (conn, { label, isFirst }) => {
      expectTypeOf(conn).toEqualTypeOf<Conn<App>>();
      expectTypeOf(label).toEqualTypeOf<string>();
      expectTypeOf(isFirst).toEqualTypeOf<boolean>();
    });
    // @ts-expect-error no such event
    server.on('$opend', () => undefined);
  });

  test('takes an answer of the right result, now or later', () => {
    server.answer.incr = (_conn, x) => x + 1;
    server.answer.incr = async (_conn, x) => x + 1;
    // @ts-expect-error another result
    server.answer.incr = () => 'x';
    // @ts-expect-error no such ask
    server.answer.decr = () => 1;
  });

  test('comes from attach as well', () => {
    expectTypeOf(attach<App>).returns.toEqualTypeOf<Server<App>>();
  });
});

describe('Server', () => {
  test('without a type argument takes everything', () => {
    const loose = new Server({ manualStart: true });
    loose.on('anything', (conn, x: string) => {
      conn.sessionData['lastValue'] = x;
      conn.send('whatever', x, 1);
    });
    loose.answer['incr'] = (_conn, x: number) => x + 1;
    loose.answer.incr = (_conn, x: number) => x + 1;
  });

  test('sends to people what pages take, with or without options', () => {
    expectTypeOf(server.account('alice').send('added-one', 1)).toEqualTypeOf<number>();
    server.send('added-one', 1, { deliver: 'visible' });
    server.on('add-one', (conn, x) => conn.session.send('added-one', x, { deliver: 'one' }));
    // @ts-expect-error no such delivery
    server.send('added-one', 1, { deliver: 'pigeon' });
    // @ts-expect-error another argument
    server.account('alice').send('added-one', 'x');
  });

  test('asks the application where a device is, and whether one may be revoked', () => {
    void (() =>
      new Server({ locate: () => ({ country: 'LV' }), mayRevoke: (_conn, { proof }) => proof === 1 }));
    // @ts-expect-error a number is no place
    void (() => new Server({ locate: () => 1 }));
    // @ts-expect-error a word is no decision
    void (() => new Server({ mayRevoke: () => 'yes' }));
  });

  test('refuses options that it does not know', () => {
    // @ts-expect-error no such option
    void (() => new Server({ prot: 1 }));
    // @ts-expect-error no such limit
    void (() => new Server({ limits: { maxFrames: 1 } }));
  });
});

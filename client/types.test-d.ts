import { expectTypeOf, test } from 'vitest';
import { Devices, type DeviceSession } from './devices.ts';
import { Client } from './index.ts';
import type { ClientState, SessionActive } from './index.ts';

interface App {
  server: {
    'add-one'(x: number): void;
    incr(x: number): number;
    find(name: string, options?: { exact: boolean }): Promise<{ id: number } | undefined>;
  };
  page: {
    'added-one'(x: number): void;
    confirm(question: string): boolean;
  };
  data: { lastValue?: number };
}

const client = new Client<App>();

test('send takes messages without a result, with their arguments', () => {
  expectTypeOf(client.send('add-one', 1)).toEqualTypeOf<boolean>();
  // @ts-expect-error an argument of another type
  client.send('add-one', '1');
  // @ts-expect-error a missing argument
  client.send('add-one');
  // @ts-expect-error one argument too many
  client.send('add-one', 1, 2);
  // @ts-expect-error a message with a result can only be asked
  client.send('incr', 1);
  // @ts-expect-error a misspelt type
  client.send('add-two', 1);
  // @ts-expect-error what the server sends
  client.send('added-one', 1);
  client.volatile.send('add-one', 1);
  // @ts-expect-error the same holds for volatile messages
  client.volatile.send('incr', 1);
});

test('ask takes every message of the server and gives its result', () => {
  expectTypeOf(client.ask('incr', 1)).toEqualTypeOf<Promise<number>>();
  expectTypeOf(client.ask('add-one', 1)).toEqualTypeOf<Promise<void>>();
  expectTypeOf(client.ask('find', 'x', { exact: true })).toEqualTypeOf<Promise<{ id: number } | undefined>>();
  expectTypeOf(client.with({ timeoutMs: 1 }).ask('incr', 1)).toEqualTypeOf<Promise<number>>();
  // @ts-expect-error an argument of another type
  void client.ask('incr', 'x');
  // @ts-expect-error the wrong shape of an option
  void client.ask('find', 'x', { exact: 1 });
  // @ts-expect-error a misspelt type
  void client.with({}).ask('decr', 1);
  // @ts-expect-error no such option
  client.with({ timeout: 1 });
});

test('on knows the arguments of messages and events', () => {
  expectTypeOf(client.on('added-one', (x) => expectTypeOf(x).toEqualTypeOf<number>())).toEqualTypeOf<
    () => void
  >();
  client.once('$session-active', (session) => expectTypeOf(session).toEqualTypeOf<SessionActive>());
  client.on('$state', (state) => expectTypeOf(state).toEqualTypeOf<ClientState>());
  // @ts-expect-error what this page sends
  client.on('add-one', () => undefined);
  // @ts-expect-error a listener of other arguments
  client.on('added-one', (x: string) => x);
  // @ts-expect-error a misspelt event
  client.on('$session-actve', () => undefined);
});

test('answers have the arguments and the result of their message', () => {
  client.answer.confirm = (question) => {
    expectTypeOf(question).toEqualTypeOf<string>();
    return true;
  };
  client.answer.confirm = async () => true;
  // @ts-expect-error another result
  client.answer.confirm = () => 'yes';
  // @ts-expect-error a message that the server does not ask
  client.answer.incr = () => 1;
});

test('devices are those of any client', () => {
  const devices = new Devices(client);
  expectTypeOf(devices.list()).toEqualTypeOf<Promise<DeviceSession[]>>();
  expectTypeOf(devices.revoke(1, { password: 'x' })).toEqualTypeOf<Promise<boolean>>();
  expectTypeOf(devices.revokeOthers()).toEqualTypeOf<Promise<number>>();
  expectTypeOf(new Devices(new Client()).rename(1, 'Till')).toEqualTypeOf<Promise<boolean>>();
  // @ts-expect-error a session is named by its number
  void devices.revoke('1');
  // @ts-expect-error it asks nothing
  void new Devices({});
});

test('without a type argument everything goes', () => {
  const loose = new Client();
  loose.send('anything', 1, 'two', { three: 3 });
  loose.on('anything', (...args) => args);
  loose.answer['anything'] = (x: number) => x + 1;
  void loose.ask('anything');
  // @ts-expect-error a type is a string all the same
  loose.send(1);
});

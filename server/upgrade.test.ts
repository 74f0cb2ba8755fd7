import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { afterEach, expect, test } from 'vitest';
import { jsonCodec } from 'webgram';
import { Scene } from './testing/scene.ts';

const scene = new Scene();

afterEach(() => scene.close());

test('the 101 and the hello come in one piece', async () => {
  const { port } = await scene.start({ hostname: '127.0.0.1' });
  const socket = connect(port, '127.0.0.1');
  const lines = [
    'GET / HTTP/1.1',
    `Host: 127.0.0.1:${port}`,
    'Connection: Upgrade',
    'Upgrade: websocket',
    'Sec-WebSocket-Version: 13',
    'Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==',
    `Sec-WebSocket-Protocol: ${jsonCodec.subprotocol}`,
  ];
  socket.write(`${lines.join('\r\n')}\r\n\r\n`);
  const [first] = (await once(socket, 'data')) as [Buffer];
  socket.destroy();
  expect(first.toString('latin1')).toMatch(/^HTTP\/1\.1 101 [^]*\["hello",/);
});

test('the answer to a proof and what the session says first come in one piece', async () => {
  await scene.start();
  const link = await scene.connect();
  const pieces: string[] = [];
  const { _socket: raw } = link.socket as unknown as { _socket: Socket };
  raw.on('data', (piece: Buffer) => pieces.push(piece.toString('latin1')));
  await link.enter(scene.identity());
  expect(pieces).toHaveLength(1);
  expect(pieces[0]).toMatch(/\["session-ok",[^]*\[11,"profile"/);
});

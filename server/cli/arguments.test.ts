import { describe, expect, test } from 'vitest';
import { HELP, parseCommand, UsageError } from './arguments.ts';

test('the help fits a screen of 80 by 24', () => {
  const lines = HELP.split('\n');
  expect(lines.length).toBeLessThanOrEqual(24);
  for (const line of lines) expect(line.length).toBeLessThanOrEqual(80);
});

test.each([[[]], [['--help']], [['-h']], [['serve', '--help']]])('%j asks for help', (args) => {
  expect(parseCommand(args, {})).toEqual({ name: 'help' });
});

describe('serve', () => {
  test('has its own default port and leaves other defaults to the server', () => {
    expect(parseCommand(['serve'], {})).toEqual({
      name: 'serve',
      app: undefined,
      options: { port: 5678, origins: [], hosts: [] },
    });
  });

  test('takes every flag', () => {
    const args = [
      'serve',
      'app.js',
      '--port',
      '0',
      '--db',
      './d',
      '--root=./r',
      '--listen',
      '127.0.0.1',
      '--path',
      '/ws',
    ];
    const more = ['--origin', 'https://a.example', '--origin', 'https://b.example', '--host', 'a.example'];
    const rest = ['--public-url', 'https://a.example', '--allow-no-origin', '--key', './k'];
    const options = {
      port: 0,
      db: './d',
      root: './r',
      hostname: '127.0.0.1',
      path: '/ws',
      origins: ['https://a.example', 'https://b.example'],
      hosts: ['a.example'],
      publicUrl: 'https://a.example',
      allowNoOrigin: true,
      keyFile: './k',
    };
    expect(parseCommand([...args, ...more, ...rest], { PORT: '1', DB: 'x', ORIGIN: 'x' })).toEqual({
      name: 'serve',
      app: 'app.js',
      options,
    });
    const environment = {
      PORT: '0',
      DB: './d',
      ROOT: './r',
      LISTEN: '127.0.0.1',
      WS_PATH: '/ws',
      ORIGIN: 'https://a.example, https://b.example',
      HOSTS: 'a.example',
      PUBLIC_URL: 'https://a.example',
      ALLOW_NO_ORIGIN: '1',
      KEY_FILE: './k',
    };
    expect(parseCommand(['serve', 'app.js'], environment)).toEqual({ name: 'serve', app: 'app.js', options });
  });

  test('takes what is for the store alone', () => {
    expect(parseCommand(['serve', '--repair', '--accept-loss', '--backups', './b'], {})).toMatchObject({
      options: { repair: true, acceptLoss: true },
      backups: './b',
    });
    expect(parseCommand(['serve'], { BACKUPS: './b' })).toMatchObject({ backups: './b' });
  });

  test('names every flag and variable in the help', () => {
    for (const name of [
      'port',
      'db',
      'root',
      'listen',
      'path',
      'origin',
      'host',
      'public-url',
      'allow-no-origin',
      'key',
      'backups',
      'repair',
      'accept-loss',
    ]) {
      expect(HELP).toContain(`--${name} `);
    }
    for (const name of [
      'PORT',
      'DB',
      'ROOT',
      'LISTEN',
      'WS_PATH',
      'ORIGIN',
      'HOSTS',
      'PUBLIC_URL',
      'KEY_FILE',
      'BACKUPS',
    ]) {
      expect(HELP).toMatch(new RegExp(`\\b${name}\\b`));
    }
  });

  test('treats an empty variable as none', () => {
    expect(parseCommand(['serve'], { PORT: '', DB: '', ALLOW_NO_ORIGIN: '' })).toMatchObject({
      options: { port: 5678 },
    });
  });
});

test.each<[string[], NodeJS.ProcessEnv, string]>([
  [['serve', '--prot', '1'], {}, "Unknown option '--prot'"],
  [['serve', '--port', 'x'], {}, "--port must be a number from 0 to 65535, got 'x'"],
  [['serve', '--port', '70000'], {}, '--port must be'],
  [['serve', '--port'], {}, '--port'],
  [['serve'], { PORT: 'x' }, '--port must be'],
  [['serve'], { ALLOW_NO_ORIGIN: 'yes' }, 'ALLOW_NO_ORIGIN must be 1 or 0'],
  [['serve', 'a.js', 'b.js'], {}, 'one app.js at most'],
  [['run'], {}, "unknown command 'run'"],
])('%j is refused', (args, environment, message) => {
  expect(() => parseCommand(args, environment)).toThrow(UsageError);
  expect(() => parseCommand(args, environment)).toThrow(message);
});

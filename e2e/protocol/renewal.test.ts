import { describe, expect, test } from 'vitest';
import {
  ClientRenewal,
  ServerRenewal,
  closeCodeOf,
  concat,
  fromBase64url,
  isRenewal,
  parseDown,
  parseRenewal,
  parseUp,
  renewInput,
  renewalEnvelope,
  toBase64url,
  toWire,
  utf8,
  type Bytes,
  type IdentityEnvelope,
  type SigningKey,
} from 'webgram';
import { implementations, node, pairs, type Implementation } from './implementations.ts';

const badFrame = expect.objectContaining({ code: 'WEBGRAM_BAD_FRAME' });
const ONE_BYTE = new Uint8Array(1);

/** A link with one renewal on it. */
class Scene {
  readonly server: ServerRenewal;
  readonly exporter: Bytes;
  readonly current: SigningKey;
  readonly next: SigningKey;

  private constructor(side: Implementation, current: SigningKey, next: SigningKey) {
    this.exporter = side.crypto.randomBytes(32);
    this.current = current;
    this.next = next;
    this.server = this.newServer(side);
  }

  static async set(server: Implementation, client: Implementation = server): Promise<Scene> {
    return new Scene(server, await client.newKey(), await client.newKey());
  }

  newServer(side: Implementation): ServerRenewal {
    const { exporter, current } = this;
    return new ServerRenewal({ crypto: side.crypto, exporter, publicKey: current.publicKey });
  }

  newClient(renew: IdentityEnvelope, exporter = this.exporter, publicKey = this.current.publicKey) {
    return new ClientRenewal(renew, { exporter, publicKey });
  }
}

const down = (envelope: IdentityEnvelope) => parseDown(toWire(envelope)) as IdentityEnvelope;
const up = (envelope: IdentityEnvelope) => parseUp(toWire(envelope)) as IdentityEnvelope;

describe.each(pairs)('$server.name server, $client.name client', ({ server, client }) => {
  test('renew, renew-key, renew-ok', async () => {
    const scene = await Scene.set(server, client);
    const renew = down(scene.server.open());
    expect(renew).toEqual({
      kind: 'identity',
      what: 'renew',
      args: [expect.stringMatching(/^[\w-]{22}$/) as string],
    });
    const renewal = scene.newClient(renew);
    const key = up(await renewal.answer(scene.next));
    expect(key.args[1]).toBe(toBase64url(scene.next.publicKey));
    expect(await scene.server.receive(key)).toEqual({
      publicKey: scene.next.publicKey,
      keyID: toBase64url((await client.crypto.sha256(scene.next.publicKey)).slice(0, 16)),
    });
    const ok = down(scene.server.ok());
    expect(ok).toEqual({ kind: 'identity', what: 'renew-ok', args: renew.args });
    renewal.receiveOk(ok);
    expect(() => renewal.receiveOk(ok)).toThrow(badFrame);
    expect(() => scene.server.ok()).toThrow(TypeError);
  });
});

describe.each(implementations)('$name', (side) => {
  const refused = async (scene: Scene, envelope: IdentityEnvelope) => {
    const failure: unknown = await scene.server.receive(envelope).catch((error: unknown) => error);
    expect(failure).toEqual(badFrame);
    expect(closeCodeOf(failure)).toBe(4400);
    // It is over: the right key comes too late.
    expect(() => scene.server.ok()).toThrow(TypeError);
  };

  test('a signature of another link, renewal or old key is refused', async () => {
    for (const change of ['exporter', 'renewID', 'C', 'signer'] as const) {
      const scene = await Scene.set(side);
      const renew = scene.server.open();
      const foreign = side.crypto.randomBytes(32);
      const other = await side.newKey();
      const client =
        change === 'exporter'
          ? scene.newClient(renew, foreign)
          : change === 'C'
            ? scene.newClient(renew, scene.exporter, other.publicKey)
            : change === 'renewID'
              ? scene.newClient(scene.newServer(side).open())
              : scene.newClient(renew);
      const key =
        change === 'signer'
          ? { publicKey: scene.next.publicKey, sign: (data: Bytes) => scene.current.sign(data) }
          : scene.next;
      await refused(scene, await client.answer(key));
    }
  });

  test('no bit of a renew-key may change', async () => {
    const scene = await Scene.set(side);
    const crypto = { ...side.crypto, randomBytes: (length: number) => new Uint8Array(length).fill(5) };
    const options = { crypto, exporter: scene.exporter, publicKey: scene.current.publicKey };
    const { args } = await scene.newClient(new ServerRenewal(options).open()).answer(scene.next);
    const verdict = async (changed: readonly unknown[]) => {
      const server = new ServerRenewal(options);
      server.open();
      return server.receive({ kind: 'identity', what: 'renew-key', args: [...changed] });
    };
    expect(await verdict(args)).toMatchObject({ publicKey: scene.next.publicKey });
    for (let i = 0; i < args.length; i++) {
      const bytes = fromBase64url(args[i] as string);
      for (let bit = 0; bit < bytes.length * 8; bit += side === node ? 1 : 7) {
        const changed = bytes.with(bit >> 3, bytes[bit >> 3]! ^ (1 << (bit & 7)));
        await expect(verdict(args.with(i, toBase64url(changed))), `${i}: ${bit}`).rejects.toEqual(badFrame);
      }
    }
  });

  test('a key without an open renewal is refused, before and after one', async () => {
    const scene = await Scene.set(side);
    const renew = renewalEnvelope({ what: 'renew', renewID: new Uint8Array(16) });
    const key = await scene.newClient(renew).answer(scene.next);
    await refused(scene, key);
    const other = await Scene.set(side);
    const good = await other.newClient(other.server.open()).answer(other.next);
    await other.server.receive(good);
    await refused(other, good);
  });

  test('a second key while the first is being checked ends it', async () => {
    const scene = await Scene.set(side);
    const renew = scene.server.open();
    const [one, two] = await Promise.all(
      [scene.next, await side.newKey()].map((key) => scene.newClient(renew).answer(key)),
    );
    const verdicts = await Promise.allSettled([scene.server.receive(one!), scene.server.receive(two!)]);
    expect(verdicts.map(({ status }) => status)).toEqual(['rejected', 'rejected']);
    expect(() => scene.server.ok()).toThrow(TypeError);
  });

  test('the same key again is none', async () => {
    const scene = await Scene.set(side);
    await refused(scene, await scene.newClient(scene.server.open()).answer(scene.current));
  });

  test('a point that is not on the curve is refused', async () => {
    const scene = await Scene.set(side);
    const publicKey = concat(Uint8Array.of(4), new Uint8Array(64).fill(1));
    const sign = (data: Bytes) => scene.next.sign(data);
    await refused(scene, await scene.newClient(scene.server.open()).answer({ publicKey, sign }));
  });
});

test('what sig_n is made over', () => {
  const parts = {
    exporter: new Uint8Array(32).fill(1),
    renewID: new Uint8Array(16).fill(2),
    publicKey: new Uint8Array(65).fill(3),
    nextPublicKey: new Uint8Array(65).fill(4),
  };
  const { exporter, renewID, publicKey, nextPublicKey } = parts;
  const label = utf8('webgram-sessions/2 renew\0');
  expect(renewInput(parts)).toEqual(concat(label, exporter, renewID, publicKey, nextPublicKey));
  for (const name of ['exporter', 'renewID', 'publicKey', 'nextPublicKey'] as const) {
    expect(() => renewInput({ ...parts, [name]: concat(parts[name], ONE_BYTE) })).toThrow(RangeError);
  }
});

describe('shapes', () => {
  const id = toBase64url(new Uint8Array(16));
  const point = toBase64url(new Uint8Array(65).fill(4));
  const signature = toBase64url(new Uint8Array(64));
  const wrong: [what: string, args: unknown[]][] = [
    ['renew', []],
    ['renew', [id, id]],
    ['renew', [1]],
    ['renew', [`${id.slice(0, 21)}B`]],
    ['renew', [toBase64url(new Uint8Array(15))]],
    ['renew', ['A'.repeat(1_000_000)]],
    ['renew-ok', []],
    ['renew-ok', [null]],
    ['renew-key', [id, point]],
    ['renew-key', [id, point, signature, 0]],
    ['renew-key', [id, toBase64url(new Uint8Array(65).fill(2)), signature]],
    ['renew-key', [id, toBase64url(new Uint8Array(33).fill(4)), signature]],
    ['renew-key', [id, point, toBase64url(new Uint8Array(63))]],
    ['renew-key', [id, new Uint8Array(65).fill(4), signature]],
    ['Renew', [id]],
    ['upgrade', [id]],
  ];
  test.each(wrong)('%s %j', (what, args) => {
    expect(() => parseRenewal({ kind: 'identity', what, args })).toThrow(badFrame);
  });

  test('every word comes back', () => {
    const words = [
      { what: 'renew', renewID: fromBase64url(id) },
      { what: 'renew-ok', renewID: fromBase64url(id) },
      {
        what: 'renew-key',
        renewID: fromBase64url(id),
        publicKey: fromBase64url(point),
        signature: fromBase64url(signature),
      },
    ] as const;
    for (const word of words) {
      const envelope = renewalEnvelope(word);
      expect(isRenewal(envelope)).toBe(true);
      expect(parseRenewal(envelope)).toEqual(word);
    }
    expect(isRenewal({ kind: 'identity', what: 'upgrade', args: [] })).toBe(false);
  });
});

describe('the client', () => {
  test('takes a renew-ok only of its own renewal, behind its key', async () => {
    const scene = await Scene.set(node);
    const renew = scene.server.open();
    const ok: IdentityEnvelope = { ...renew, what: 'renew-ok' };
    const client = scene.newClient(renew);
    expect(() => client.receiveOk(ok)).toThrow(badFrame);
    await client.answer(scene.next);
    await expect(client.answer(scene.next)).rejects.toThrow(TypeError);
    expect(() => client.receiveOk(renew)).toThrow(badFrame);
    expect(() => client.receiveOk({ ...ok, args: [toBase64url(new Uint8Array(16))] })).toThrow(badFrame);
    client.receiveOk(ok);
  });

  test('begins with nothing but a renew', () => {
    for (const what of ['renew-ok', 'renew-key', 'profile']) {
      const envelope: IdentityEnvelope = { kind: 'identity', what, args: [toBase64url(new Uint8Array(16))] };
      const begin = () =>
        new ClientRenewal(envelope, { exporter: new Uint8Array(32), publicKey: new Uint8Array(65) });
      expect(begin).toThrow(badFrame);
    }
  });
});

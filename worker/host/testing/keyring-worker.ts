import { toBase64url } from 'webgram';
import { IdbKeyStore } from '../idb-key-store.ts';
import type { Identity } from '../identity.ts';
import { canKeepKeys } from '../key-proof.ts';
import { Keyring } from '../keyring.ts';
import { webCrypto } from '../web-crypto.ts';
import { webKeys } from '../web-keys.ts';
import { systemClock } from '../web-platform.ts';
import { answerCalls } from './worker-calls.ts';

declare const self: SharedWorkerGlobalScope;

const ADDRESS = 'wss://server.example/';
const STORE_ID = 'c3RvcmVzdG9yZXN0b3JlcQ';

let keyring: Keyring;
let store: IdbKeyStore;
let identity: Identity;

const calls = {
  open(database: string, limitMs?: number): void {
    store = new IdbKeyStore(database, limitMs);
    keyring = new Keyring({
      address: ADDRESS,
      keyStore: store,
      keys: webKeys,
      crypto: webCrypto,
      clock: systemClock,
    });
  },
  async identity(): Promise<unknown> {
    identity = await keyring.identity(STORE_ID);
    const { key, next: _next, ...rest } = identity;
    return { ...rest, publicKey: toBase64url(key.publicKey) };
  },
  async confirmed(sessionID: number): Promise<void> {
    await keyring.confirmed(identity, identity.key, sessionID, [identity.key.publicKey]);
  },
  async signs(): Promise<boolean> {
    const data = webCrypto.randomBytes(40);
    return webCrypto.verify(identity.key.publicKey, await identity.key.sign(data), data);
  },
  pins: async () => (await keyring.pins()).map(toBase64url),
  canKeepKeys: () => canKeepKeys({ store, keys: webKeys, crypto: webCrypto }),
  /** The browser refuses to store keys, as some modes of iOS do. */
  refusePuts(): void {
    IDBObjectStore.prototype.put = () => {
      throw new DOMException('no keys here', 'DataCloneError');
    };
  },
  /** What is read back is no key, as in WebKit's SharedWorker. */
  loseKeys(): void {
    const { put } = IDBObjectStore.prototype as {
      put: (this: IDBObjectStore, value: unknown, key?: IDBValidKey) => IDBRequest<IDBValidKey>;
    };
    IDBObjectStore.prototype.put = function (value: Record<string, unknown>, key) {
      return put.call(this, 'privateKey' in value ? { ...value, privateKey: null } : value, key);
    };
  },
  /** The next so many databases never open. */
  hangOpens(count: number): void {
    const open = indexedDB.open.bind(indexedDB);
    let left = count;
    IDBFactory.prototype.open = function (name) {
      return left-- > 0 ? ({} as IDBOpenDBRequest) : open(name);
    };
  },
};

self.onconnect = ({ ports: [port] }) => {
  answerCalls(port!, calls);
};

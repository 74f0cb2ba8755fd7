import { randomBytes, scrypt, timingSafeEqual } from 'node:crypto';
import { AskError } from 'webgram-sessions/server';
import type { Database } from './database.ts';

/** What a try costs; see `crypto.scrypt`. Kept with each user, so that it can be raised. */
export interface Cost {
  N: number;
  r: number;
  p: number;
}

/** 32 MiB and some 0.2 s. */
export const DEFAULT_COST: Cost = { N: 2 ** 15, r: 8, p: 3 };
const HASH_BYTES = 32;

/** Bytes are in base64. */
interface UserRow {
  salt: string;
  hash: string;
  cost: Cost;
  createdMs: number;
}

export class Users {
  readonly #database: Database;
  readonly #clock: () => number;
  readonly #cost: Cost;
  /** Who is not there is checked against this, for as long as the others take. */
  readonly #nobody: UserRow;

  constructor(database: Database, clock: () => number, cost: Cost) {
    this.#database = database;
    this.#clock = clock;
    this.#cost = cost;
    this.#nobody = this.#rowOf(randomBytes(16), randomBytes(HASH_BYTES));
  }

  /** @throws {AskError} `name-taken` */
  async create(name: string, password: string): Promise<void> {
    const salt = randomBytes(16);
    const row = this.#rowOf(salt, await derive(password, salt, this.#cost));
    await this.#database.inTurn(async () => {
      if (await this.exists(name)) throw new AskError('name-taken', 'Somebody has this name already.');
      await this.#database.write([[keyOf(name), row]]);
    });
  }

  /** @returns Whether there is such a user with this password; which of the two is wrong takes as long. */
  async check(name: string, password: string): Promise<boolean> {
    const user = await this.#database.get<UserRow>(keyOf(name));
    const { salt, hash, cost } = user ?? this.#nobody;
    const derived = await derive(password, Buffer.from(salt, 'base64'), cost);
    return timingSafeEqual(derived, Buffer.from(hash, 'base64')) && user !== undefined;
  }

  #rowOf(salt: Buffer, hash: Buffer): UserRow {
    const createdMs = this.#clock();
    return { salt: salt.toString('base64'), hash: hash.toString('base64'), cost: this.#cost, createdMs };
  }

  async exists(name: string): Promise<boolean> {
    return (await this.#database.get(keyOf(name))) !== undefined;
  }
}

function keyOf(name: string): string {
  return `user!${name}`;
}

function derive(password: string, salt: Buffer, { N, r, p }: Cost): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    // The same password from another keyboard is the same password.
    scrypt(
      password.normalize('NFKC'),
      salt,
      HASH_BYTES,
      { N, r, p, maxmem: 256 * r * (N + p + 2) },
      (error, key) => {
        if (error === null) resolve(key);
        else reject(error);
      },
    );
  });
}

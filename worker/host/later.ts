import type { QueueModule } from './queue/durable-queue.ts';
import { Queue } from './queue/queue.ts';
import { Renewal } from './renewal.ts';
import type { RenewalModule } from './renewal.ts';
import type { WalletModule } from './wallet/identity-wallet.ts';
import { Wallet } from './wallet/wallet.ts';

/** What hosts load behind their first link: nobody waits for it, and offline it could not be had. */
export type LaterModule = QueueModule & RenewalModule & WalletModule;

export { Queue, Renewal, Wallet };

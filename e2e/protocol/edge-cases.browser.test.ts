import { webCrypto } from '../../worker/host/web-crypto.ts';
import { describeEdgeCases } from './edge-suite.ts';

describeEdgeCases('browser', webCrypto);

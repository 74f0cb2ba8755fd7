import { describeEdgeCases } from './edge-suite.ts';
import { implementations } from './implementations.ts';

for (const { name, crypto } of implementations) describeEdgeCases(name, crypto);

import { describeVectors, webPlatform } from './vector-suite.ts';
import vectors from '../../webgram/vectors.json' with { type: 'json' };
import type { Vector } from '../../webgram/vectors.make.ts';

describeVectors('browser', webPlatform, vectors as unknown as Vector[]);
